"""Losses: pure functions first, thin `keras.losses.Loss` classes after; `LOSSES` names the classes."""

from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops


def pixel_cross_entropy(
    y_true: Any,
    y_pred: Any,
    *,
    ignore_class: int | None = 255,
    class_weights: Any = None,
    from_logits: bool = True,
    label_smoothing: float = 0.0,
) -> tuple[Any, Any]:
    """Weighted cross-entropy of each pixel and the weight it carries, for `cross_entropy` and for losses of your own.

    Args:
        y_true: integers `(N, H, W)` or `(N, H, W, 1)`, or (soft) one-hot `(N, H, W, C)` whose void pixels are all zero.
        y_pred: `(N, H, W, C)` logits, or probabilities without `from_logits`; C = 1 is a binary task with labels 0, 1.
        ignore_class: label of void pixels; None where there are none.
        class_weights: one number a class (two for a binary task), or None for 1.
        from_logits: whether `y_pred` holds logits.
        label_smoothing: 0..1, the share of the target that is spread evenly over all classes.

    Returns:
        Two float32 tensors `(N, H, W)`: the loss times its weight, and the weight (the class weight of the label).
        Void pixels are 0 in both. A label that is neither a class nor void is an error in the data, but a compiled
        function cannot raise: it is `nan` in both.

    Raises:
        ValueError: if the shapes don't fit one another, or the number of class weights.
    """
    y_true, y_pred = ops.convert_to_tensor(y_true), ops.cast(y_pred, "float32")
    channels = y_pred.shape[-1]
    classes = max(channels, 2)
    weights = np.ones(classes, "float32") if class_weights is None else np.asarray(class_weights, "float32")
    if weights.shape != (classes,):
        raise ValueError(f"class_weights has shape {weights.shape}; {classes} classes need ({classes},)")
    weights = ops.convert_to_tensor(weights)
    if len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] == 1:
        y_true = ops.squeeze(y_true, -1)
    one_hot = len(y_true.shape) == len(y_pred.shape)
    expected = tuple(y_pred.shape if one_hot else y_pred.shape[:-1])
    if len(y_true.shape) != len(expected) or any(
        None not in pair and pair[0] != pair[1] for pair in zip(y_true.shape, expected, strict=True)
    ):
        raise ValueError(f"labels of shape {tuple(y_true.shape)} do not fit y_pred of shape {tuple(y_pred.shape)}")

    if one_hot:
        target = ops.cast(y_true, "float32")
        if ignore_class is not None:
            target = target * ops.cast(ops.arange(classes) != ignore_class, "float32")
        weight = ops.sum(target * weights, axis=-1)
        valid = ops.sum(target, axis=-1)
        loss = -ops.sum(target * weights * _log_probabilities(y_pred, from_logits), axis=-1)
    else:
        label = ops.cast(y_true, "int32")
        inside = (label >= 0) & (label < classes)
        if ignore_class is None:
            valid = ops.where(inside, 1.0, float("nan"))
        else:
            void = label == ignore_class
            inside = inside & ops.logical_not(void)
            valid = ops.where(inside, 1.0, ops.where(void, 0.0, float("nan")))
        label = ops.where(inside, label, 0)
        weight = valid if class_weights is None else valid * ops.take(weights, label)
        if channels == 1:
            foreground = ops.cast(label, "float32")
            log_p = _log_probabilities(y_pred, from_logits)
            loss = -weight * (foreground * log_p[..., 1] + (1.0 - foreground) * log_p[..., 0])
        elif from_logits:
            # Fused on TensorFlow and PyTorch, where log_softmax and a one-hot copy of the labels would be held.
            loss = weight * ops.sparse_categorical_crossentropy(label, y_pred, from_logits=True)
        else:
            log_p = ops.take_along_axis(_log_probabilities(y_pred, from_logits), label[..., None], axis=-1)
            loss = -weight * log_p[..., 0]
    if label_smoothing:
        spread = -ops.sum(weights / classes * _log_probabilities(y_pred, from_logits), axis=-1)
        loss = (1.0 - label_smoothing) * loss + label_smoothing * valid * spread
    return loss, weight


def _log_probabilities(y_pred: Any, from_logits: bool) -> Any:
    """Log-probabilities `(N, H, W, max(C, 2))` of float32 predictions."""
    binary = y_pred.shape[-1] == 1
    if from_logits:
        if binary:
            return ops.concatenate([ops.log_sigmoid(-y_pred), ops.log_sigmoid(y_pred)], axis=-1)
        return ops.log_softmax(y_pred, axis=-1)
    if binary:
        y_pred = ops.concatenate([1.0 - y_pred, y_pred], axis=-1)
    return ops.log(ops.clip(y_pred, keras.config.epsilon(), 1.0))


def cross_entropy(
    y_true: Any,
    y_pred: Any,
    *,
    ignore_class: int | None = 255,
    class_weights: Any = None,
    from_logits: bool = True,
    label_smoothing: float = 0.0,
    sample_weight: Any = None,
) -> Any:
    """Cross-entropy over the labelled pixels of a batch: sum(w * ce) / sum(w).

    The weight w of a pixel is the class weight of its label times its sample weight, 0 where it is void. Dividing by
    the sum of the weights is PyTorch's rule (Caffe divides by the number of labelled pixels): scaling all the weights
    changes nothing, and neither does the amount of void. A batch that is all void has loss 0 and gradient 0.

    Args:
        y_true: see `pixel_cross_entropy`.
        y_pred: see `pixel_cross_entropy`; computed in float32, whatever its dtype.
        ignore_class: see `pixel_cross_entropy`.
        class_weights: see `pixel_cross_entropy`.
        from_logits: see `pixel_cross_entropy`.
        label_smoothing: see `pixel_cross_entropy`; the smoothed part is weighted as PyTorch does.
        sample_weight: weights `(N,)`, `(N, H, W)` or `(N, H, W, 1)`, or None for 1.

    Returns:
        A float32 scalar, >= 0; `nan` if a label is neither a class nor `ignore_class`.

    Raises:
        ValueError: if the shapes don't fit one another, or the number of class weights.

    Example:
        >>> import numpy as np
        >>> from kseg.losses import cross_entropy
        >>> logits = np.zeros((1, 1, 2, 4), "float32")
        >>> print(f"{float(cross_entropy(np.array([[[3, 255]]]), logits)):.4f}")       # log(4)
        1.3863
    """
    loss, weight = pixel_cross_entropy(
        y_true,
        y_pred,
        ignore_class=ignore_class,
        class_weights=class_weights,
        from_logits=from_logits,
        label_smoothing=label_smoothing,
    )
    if sample_weight is not None:
        sample_weight = ops.cast(sample_weight, "float32")
        if len(sample_weight.shape) > len(weight.shape):
            sample_weight = ops.squeeze(sample_weight, -1)
        missing = len(weight.shape) - len(sample_weight.shape)
        sample_weight = ops.reshape(sample_weight, (*ops.shape(sample_weight), *[1] * missing))
        loss, weight = loss * sample_weight, weight * sample_weight
    total = ops.sum(weight)
    return ops.sum(loss) / ops.where(total == 0, 1.0, total)


@keras.saving.register_keras_serializable(package="kseg")
class CrossEntropy(keras.losses.Loss):
    """`cross_entropy` for `compile`: one number a batch, sum(w * ce) / sum(w) over its labelled pixels.

    `sample_weight` given to `fit` may be one number a pixel. There is no `reduction`: the normaliser is part of the
    loss. Under `tf.distribute` each replica normalises by its own pixels.

    Args:
        ignore_class: label of void pixels; None where there are none.
        class_weights: one number a class (two for a binary task), for example from `class_weights`; None for 1.
        from_logits: whether the model's output is logits.
        label_smoothing: 0..1, the share of the target that is spread evenly over all classes.
        name: name of the loss.

    Example:
        >>> import keras
        >>> from kseg.losses import CrossEntropy
        >>> model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 3, padding="same")])
        >>> model.compile("adam", CrossEntropy(class_weights=[1.0, 5.0]))
    """

    def __init__(
        self,
        *,
        ignore_class: int | None = 255,
        class_weights: Any = None,
        from_logits: bool = True,
        label_smoothing: float = 0.0,
        name: str = "cross_entropy",
    ):
        super().__init__(name=name, dtype="float32")
        self.ignore_class = ignore_class
        self.class_weights = None if class_weights is None else [float(w) for w in class_weights]
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Loss of a batch, a float32 scalar; arguments as in `cross_entropy`."""
        # Keras would multiply by the weights after `call`, too late for the normaliser: they travel with the labels.
        labels = {"labels": y_true} if sample_weight is None else {"labels": y_true, "weights": sample_weight}
        return super().__call__(labels, y_pred)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The batch's loss, shape `(1,)`: Keras divides anything but scalars by the number of replicas."""
        loss = cross_entropy(
            y_true["labels"],
            y_pred,
            ignore_class=self.ignore_class,
            class_weights=self.class_weights,
            from_logits=self.from_logits,
            label_smoothing=self.label_smoothing,
            sample_weight=y_true.get("weights"),
        )
        return ops.reshape(loss, (1,))

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {
            "ignore_class": self.ignore_class,
            "class_weights": self.class_weights,
            "from_logits": self.from_logits,
            "label_smoothing": self.label_smoothing,
            "name": self.name,
        }


def class_weights(
    labels: Any, num_classes: int, *, method: str = "median", ignore_class: int | None = 255
) -> np.ndarray:
    """Weights that make up for rare classes, from the labels of a training set.

    - `median`: median(f) / f_c, where f_c is the share of class c among all pixels of the images in which c occurs;
    - `inverse`: all labelled pixels / (classes * pixels of c), so that each class weighs the same in total.

    Void counts as a pixel of its image for `median`, as in the paper. A class that never occurs gets 1.

    Args:
        labels: a data set of `(image, label)` pairs, or any finite iterable of such pairs or of labels; a label is
            integers `(H, W)`, or `(N, H, W)` for a batch.
        num_classes: number of classes; 1 is a binary task with two.
        method: `median` or `inverse`.
        ignore_class: label of void pixels.

    Returns:
        float32 `(max(num_classes, 2),)`.

    Raises:
        ValueError: if the method is unknown, or a label is neither a class nor void.

    Reference:
        Eigen and Fergus, Predicting Depth, Surface Normals and Semantic Labels with a Common Multi-Scale
        Convolutional Architecture, 2015, https://arxiv.org/abs/1411.4734 (median frequency balancing).

    Example:
        >>> import numpy as np
        >>> from kseg.losses import class_weights
        >>> label = np.array([[0, 0], [0, 1]])
        >>> [f"{w:.2f}" for w in class_weights([label], 2, method="inverse")]       # 4 / (2 * 3), 4 / (2 * 1)
        ['0.67', '2.00']
    """
    if method not in ("median", "inverse"):
        raise ValueError(f"unknown method {method!r} for class weights; there are 'median' and 'inverse'")
    classes = max(num_classes, 2)
    counts = np.zeros(classes, "int64")  # pixels of each class
    around = np.zeros(classes, "int64")  # pixels of the images in which it occurs
    for index, image in enumerate(_images(labels)):
        values = image.astype("int64").ravel()
        kept = values if ignore_class is None else values[values != ignore_class]
        if kept.size and (kept.min() < 0 or kept.max() >= classes):
            stray = kept[(kept < 0) | (kept >= classes)][0]
            raise ValueError(f"label {index} holds class {stray}; expected 0 to {classes - 1} or void {ignore_class}")
        found = np.bincount(kept, minlength=classes)
        counts += found
        around += np.where(found > 0, values.size, 0)
    seen = counts > 0
    weights = np.ones(classes)
    if method == "median" and seen.any():
        frequency = counts[seen] / around[seen]
        weights[seen] = np.median(frequency) / frequency
    else:
        weights[seen] = counts.sum() / (classes * counts[seen])
    return weights.astype("float32")


def _images(labels: Any) -> Iterator[np.ndarray]:
    """Label maps `(H, W)` of a data set, of pairs or of labels, batched or not."""
    items: Iterable = (labels[i] for i in range(len(labels))) if hasattr(labels, "__len__") else labels
    for item in items:
        label = np.asarray(item[1] if isinstance(item, tuple | list) else item)
        yield from label if label.ndim == 3 else [label]


def border_weights(
    instances: np.ndarray, *, class_weights: Iterable[float] | None = None, w0: float = 10.0, sigma: float = 5.0
) -> np.ndarray:
    """U-Net's weight map: pixels between two objects that nearly touch count more.

    The weight is `w_c + w0 exp(-(d1 + d2)^2 / (2 sigma^2))` where d1 and d2 are the distances, in pixels, to the
    nearest and the second nearest object; the second term is 0 inside objects and where there are fewer than two.

    Args:
        instances: integers `(H, W)`: 0 is background, every other number one object.
        class_weights: w_c of background and of object; None for 1.
        w0: height of the second term.
        sigma: its width, pixels.

    Returns:
        float32 `(H, W)`, for `sample_weight` in `fit`.

    Raises:
        ModuleNotFoundError: SciPy is not installed.

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
    instances = np.asarray(instances)
    background, foreground = (1.0, 1.0) if class_weights is None else class_weights
    nearest, second = (np.full(instances.shape, np.inf) for _ in range(2))
    for label in np.unique(instances[instances != 0]):
        distance = distance_transform_edt(instances != label)
        second = np.minimum(second, np.maximum(nearest, distance))
        nearest = np.minimum(nearest, distance)
    border = np.where(instances == 0, w0 * np.exp(-((nearest + second) ** 2) / (2 * sigma**2)), 0.0)
    return (np.where(instances == 0, background, foreground) + border).astype("float32")


LOSSES: dict[str, type[keras.losses.Loss]] = {"cross_entropy": CrossEntropy}
