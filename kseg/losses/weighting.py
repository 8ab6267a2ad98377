"""Weights for losses: of classes, from their frequencies; of pixels, from gaps between objects."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from kseg.classes import class_ids


def class_weights(
    labels: Any,
    num_classes: int | None = None,
    *,
    method: str = "median",
    beta: float | None = None,
    ignore_class: int | None = 255,
) -> np.ndarray:
    """Computes class weights from the labels of a training set, so that rare classes count more.

    - `median`: median(f) / f_c, where f_c is the fraction of class c among the pixels of the images that contain c;
    - `inverse`: number of labeled pixels / (classes * pixels of c), so that all classes have the same total weight;
    - `effective`: (1 - beta) / (1 - beta^n_c), where n_c is the number of pixels of c, scaled to a mean of 1 over the
      classes present: between equal weights (small beta) and inverse frequencies (beta near 1).

    For `median`, void pixels count as pixels of their image, as in the paper. A class that never occurs gets weight 1.

    Args:
        labels: A data set of `(image, label)` pairs, or any finite iterable of such pairs or of labels. A label is an
            integer array `(H, W)`, or `(N, H, W)` for a batch.
        num_classes: Number of classes; 1 is a binary task with two. None uses the number of the data set.
        method: "median", "inverse" or "effective".
        beta: Parameter of "effective". None stands for 1 - 1/N with N labeled pixels, as in the paper.
        ignore_class: Label of void pixels. None if there are none.

    Returns:
        float32 `(max(num_classes, 2),)`.

    Raises:
        ValueError: If the method is unknown, the number of classes is missing, a label is neither a class nor void, or
            255 is the only label above 0, so that it is probably the foreground.

    Reference:
        Eigen and Fergus, Predicting Depth, Surface Normals and Semantic Labels with a Common Multi-Scale
        Convolutional Architecture, 2015, https://arxiv.org/abs/1411.4734 (median frequency balancing). Cui et al.,
        Class-Balanced Loss Based on Effective Number of Samples, 2019, https://arxiv.org/abs/1901.05555

    Example:
        >>> import numpy as np
        >>> from kseg.losses import class_weights
        >>> label = np.array([[0, 0], [0, 1]])
        >>> [f"{w:.2f}" for w in class_weights([label], 2, method="inverse")]       # 4 / (2 * 3), 4 / (2 * 1)
        ['0.67', '2.00']
    """
    if method not in ("median", "inverse", "effective"):
        raise ValueError(f"unknown method {method!r} for class weights: use 'median', 'inverse' or 'effective'")
    num_classes = getattr(labels, "num_classes", None) if num_classes is None else num_classes
    if num_classes is None:
        raise ValueError("num_classes is missing: pass it, or a data set of kseg")
    classes = max(num_classes, 2)
    counts = np.zeros(classes, "int64")  # pixels of each class
    around = np.zeros(classes, "int64")  # pixels of the images that contain it
    total = 0
    known = _known(labels, classes) if ignore_class == 255 else None
    if known is not None:
        counts, around, total = known
    for index, image in enumerate(() if known is not None else _images(labels)):
        values = class_ids(image, f"label {index}")
        if values.ndim == 4 and values.shape[-1] > 1:
            raise ValueError(f"label {index} has the shape {values.shape}: pass class ids, one_hot.argmax(axis=-1)")
        values = values.astype("int64").ravel()
        total += values.size
        kept = values if ignore_class is None else values[values != ignore_class]
        if kept.size and (kept.min() < 0 or kept.max() >= classes):
            stray = kept[(kept < 0) | (kept >= classes)][0]
            raise ValueError(
                f"label {index} contains {stray}, expected 0 to {classes - 1} or void {ignore_class}: correct the label"
            )
        found = np.bincount(kept, minlength=classes)
        counts += found
        around += np.where(found > 0, values.size, 0)
    only_void = ignore_class == 255 and 0 < counts[0] < total and not counts[1:].any()
    if only_void and not getattr(labels, "marks_void", False):
        raise ValueError("255, which means void, is the only label above 0: if it is a class, give labels // 255")
    seen = counts > 0
    weights = np.ones(classes)
    if method == "median" and seen.any():
        frequency = counts[seen] / around[seen]
        weights[seen] = np.median(frequency) / frequency
    elif method == "effective" and seen.any():
        rate = 1 - 1 / counts.sum() if beta is None else beta
        effective = (1 - rate) / -np.expm1(counts[seen] * np.log(rate)) if rate else np.ones(seen.sum())
        weights[seen] = effective / effective.mean()
    else:
        weights[seen] = counts.sum() / (classes * counts[seen])
    return weights.astype("float32")


def _known(labels: Any, classes: int) -> tuple[np.ndarray, np.ndarray, int] | None:
    """What a data set knows about its labels without reading them, as packed ones do, see `kseg.data.ClassCounts`."""
    found = labels.class_counts() if hasattr(labels, "class_counts") else None
    return found if found is not None and len(found[0]) == classes else None


def _images(labels: Any) -> Iterator[np.ndarray]:
    """Labels `(H, W)` of a data set, of pairs or of labels, single or in batches."""
    indexed = hasattr(labels, "__len__") and hasattr(labels, "__getitem__")
    items: Iterable[Any] = (labels[i] for i in range(len(labels))) if indexed else labels
    for item in items:
        label = np.asarray(item[1] if isinstance(item, tuple | list) else item)
        yield from label if label.ndim == 3 else [label]


def border_weights(
    instances: np.ndarray, *, class_weights: Iterable[float] | None = None, w0: float = 10.0, sigma: float = 5.0
) -> np.ndarray:
    """Computes the weight map of U-Net, in which pixels between two objects that nearly touch count more.

    The weight is `w_c + w0 exp(-(d1 + d2)^2 / (2 sigma^2))`, where d1 and d2 are the distances in pixels to the nearest
    and to the second nearest object. The second term is 0 inside objects and if there are fewer than two.

    Args:
        instances: Integers `(H, W)`: 0 is background, every other number is one object.
        class_weights: w_c of background and of objects. None stands for 1.
        w0: Height of the second term.
        sigma: Width of the second term, in pixels.

    Returns:
        float32 `(H, W)`, for `sample_weight` of `fit`.

    Raises:
        ModuleNotFoundError: If SciPy is not installed.

    Reference:
        Ronneberger et al., U-Net, 2015, section 3, https://arxiv.org/abs/1505.04597

    Example:
        >>> border_weights(np.array([[1, 0, 2]])).round(2).tolist()
        [[1.0, 10.229999542236328, 1.0]]
    """
    try:
        from scipy.ndimage import distance_transform_edt
    except ModuleNotFoundError:
        raise ModuleNotFoundError("border_weights needs SciPy: pip install 'kseg[train]'") from None
    instances = class_ids(instances, "instances")
    background, foreground = (1.0, 1.0) if class_weights is None else class_weights
    nearest, second = (np.full(instances.shape, np.inf) for _ in range(2))
    for label in np.unique(instances[instances != 0]):
        distance = distance_transform_edt(instances != label)
        second = np.minimum(second, np.maximum(nearest, distance))
        nearest = np.minimum(nearest, distance)
    border = np.where(instances == 0, w0 * np.exp(-((nearest + second) ** 2) / (2 * sigma**2)), 0.0)
    return (np.where(instances == 0, background, foreground) + border).astype("float32")
