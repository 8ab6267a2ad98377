"""Augmentation of an image together with its label map, selected by name.

Scaling and cropping are one step that resizes only the pixels inside the crop; albumentations does the rest. Label maps
are sampled by nearest neighbor and padded with the ignored class, so augmentation creates no new labels.
"""

import contextlib
import difflib
import importlib.metadata
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kseg.data.dataset import Dataset
from kseg.data.masks import label_map

PADDING = 114  # gray, the mean of natural images: close to zero after an encoder's normalization
INSTALL = 'pip install "kseg[train]"'

Augmentation = Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Pipeline:
    """An entry of `PIPELINES`.

    Args:
        scale: Smallest and largest scale; the scale is drawn uniformly.
        quarter_turns: Whether to rotate by a random multiple of 90 degrees.
        transforms: Function that takes the module `albumentations` and returns a list of transforms. Transforms that
            move pixels must fill masks with 255.
        colors: Like `transforms`, for what makes sense only for gray and RGB images; it comes after them.
    """

    scale: tuple[float, float] = (1.0, 1.0)
    quarter_turns: bool = False
    transforms: Callable[[Any], list[Any]] = lambda albumentations: []
    colors: Callable[[Any], list[Any]] = lambda albumentations: []


PIPELINES: dict[str, Pipeline] = {
    "none": Pipeline(),
    "flip": Pipeline(transforms=lambda A: [A.HorizontalFlip(p=0.5)]),
    "street": Pipeline(
        scale=(0.5, 2.0),
        transforms=lambda A: [A.HorizontalFlip(p=0.5)],
        colors=lambda A: [
            A.ColorJitter(brightness=(0.7, 1.3), contrast=(0.7, 1.3), saturation=(0.7, 1.3), hue=(-0.1, 0.1), p=1.0)
        ],
    ),
    "microscope": Pipeline(
        scale=(0.75, 1.5),
        quarter_turns=True,
        transforms=lambda A: [
            A.HorizontalFlip(p=0.5),
            A.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=1.0),
        ],
    ),
}


def pipeline(
    name: str,
    *,
    crop: tuple[int, int] | None = None,
    scale: tuple[float, float] | None = None,
    ignore_class: int = 255,
) -> Augmentation:
    """Builds an augmentation: a deterministic function of image, label and seed.

    Args:
        name: A name in `PIPELINES`: `"none"` (crop only), `"flip"`, `"street"` (scale, flip, and color if the images
            are gray or RGB) or `"microscope"` (scale, rotation and flip, brightness).
        crop: Height and width of the random crop; `None` keeps the size of each image.
        scale: Smallest and largest scale; `None` uses the pipeline's default.
        ignore_class: The label of pixels outside the image.

    Returns:
        A function `(image, label, seed) -> (image, label)` on an image `(H, W, C)` with any number of channels, uint8,
        16-bit integers or float (0 to 255), and a label `(H, W)`, whole numbers of any type. It keeps the type
        of the image and returns the label as uint8. Threads can share it.

    Raises:
        ValueError: If there is no pipeline of that name or an option is invalid.
        ImportError: If albumentations is missing or replaced by its successor albumentationsx.

    Reference:
        Buslaev et al.: Albumentations, https://doi.org/10.3390/info11020125

    Example:
        >>> augmentation = pipeline("street", crop=(24, 32))
        >>> image, label = augmentation(np.zeros((48, 64, 3), "uint8"), np.zeros((48, 64), "uint8"), 7)
        >>> image.shape, label.shape
        ((24, 32, 3), (24, 32))
    """
    if name not in PIPELINES:
        near = difflib.get_close_matches(name, PIPELINES, n=1)
        hint = f" did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"unknown augmentation {name!r};{hint} there are {', '.join(PIPELINES)}")
    chosen = PIPELINES[name]
    low, high = chosen.scale if scale is None else scale
    if not 0 < low <= high:
        raise ValueError(f"scale must be (smallest, largest), both above 0, got {scale}")
    if crop is not None and (len(crop) != 2 or min(crop) < 1):
        raise ValueError(f"crop must be (height, width), both above 0, got {crop}")
    albumentations = _albumentations()
    per_thread = threading.local()

    def augment(image: np.ndarray, label: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        if image.shape[:2] != label.shape:
            raise ValueError(f"the image is {image.shape[:2]} but its label is {label.shape}")
        label = label_map(label, 255, "the label")
        rng = np.random.default_rng(seed)
        size = image.shape[:2] if crop is None else crop
        if chosen.quarter_turns:
            turns = int(rng.integers(4))
            image, label = np.rot90(image, turns), np.rot90(label, turns)
        image, label = scaled_crop(
            image, label, rng, scale=float(rng.uniform(low, high)), size=size, ignore_class=ignore_class
        )
        colored = image.shape[2] in (1, 3)
        # A Compose has its own random state, so each thread has one; building one is slow.
        composed = per_thread.__dict__.setdefault("composed", {})
        if colored not in composed:
            more = chosen.colors(albumentations) if colored else []
            composed[colored] = albumentations.Compose([*chosen.transforms(albumentations), *more])
        composed[colored].set_random_seed(int(rng.integers(2**31)))
        kind = image.dtype
        if kind != np.uint8:  # albumentations takes floats from 0 to 1
            image = image.astype("float32") / _white(kind)
        result = composed[colored](image=image, mask=label)
        image = result["image"]
        if kind != np.uint8:
            image = image * _white(kind)
            image = (image if kind.kind == "f" else np.clip(np.rint(image), 0, np.iinfo(kind).max)).astype(kind)
        return np.ascontiguousarray(image), np.ascontiguousarray(result["mask"])

    return augment


def copy_paste(augment: Augmentation, dataset: Dataset, classes: Sequence[int], *, share: float = 0.5) -> Augmentation:
    """Extends an augmentation: pixels of some classes are copied from another image, for classes that are rare.

    The other image is drawn at random from the data set and augmented by a seed of its own. Its pixels of these classes
    then replace image and label at the same place.

    Args:
        augment: The augmentation of both images. It must return images of one size: give `pipeline` a crop, unless all
            images have the same size.
        dataset: The data set to draw from, usually the training images themselves.
        classes: The ids of the classes to copy.
        share: The share of the images that are pasted into, from 0 to 1.

    Returns:
        A function `(image, label, seed) -> (image, label)`, like that of `pipeline`.

    Raises:
        ValueError: If `classes` is empty or has an id that the data set does not have, or `share` is not in 0 to 1.

    Reference:
        Ghiasi et al.: Simple Copy-Paste is a Strong Data Augmentation Method for Instance Segmentation, 2021,
        https://arxiv.org/abs/2012.07177 (there whole objects; here all pixels of a class)

    Example:
        >>> from kseg import data
        >>> train = data.load("streets", "train")
        >>> cars = copy_paste(pipeline("flip"), train, [train.classes.index("car")], share=1.0)
        >>> image, label = cars(*train[0], 7)
        >>> image.shape, label.shape
        ((128, 160, 3), (128, 160))
    """
    count = len(dataset.classes)
    if not classes or not set(classes) <= set(range(count)):
        raise ValueError(f"classes must be ids from 0 to {count - 1}, at least one, got {list(classes)}")
    if not 0 <= share <= 1:
        raise ValueError(f"share must be from 0 to 1, got {share}")

    def augment_and_paste(image: np.ndarray, label: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        image, label = augment(image, label, seed)
        rng = np.random.default_rng([seed, 1])  # apart from the numbers of `augment`
        if rng.random() < share:
            other_image, other_label = augment(*dataset[int(rng.integers(len(dataset)))], int(rng.integers(2**63)))
            if other_image.shape != image.shape:
                raise ValueError(f"images of {image.shape} and {other_image.shape} cannot be pasted; set a crop size")
            pasted = np.isin(other_label, classes)
            image[pasted], label[pasted] = other_image[pasted], other_label[pasted]
        return image, label

    return augment_and_paste


def scaled_crop(
    image: np.ndarray,
    label: np.ndarray,
    rng: np.random.Generator,
    *,
    scale: float,
    size: tuple[int, int],
    ignore_class: int = 255,
) -> tuple[np.ndarray, np.ndarray]:
    """Scales an image and cuts a random crop of this size, resizing only the pixels inside the crop."""
    spans = [_span(length, out, scale, rng) for length, out in zip(image.shape[:2], size, strict=True)]
    (source_y, target_y, rows), (source_x, target_x, columns) = spans
    new_image = np.full((*size, image.shape[2]), PADDING / 255 * _white(image.dtype), image.dtype)
    new_label = np.full(size, ignore_class, label.dtype)
    new_image[target_y, target_x] = _resize(image[source_y, source_x], len(rows), len(columns))
    new_label[target_y, target_x] = label.take(rows, axis=0).take(columns, axis=1)
    return new_image, new_label


def _span(length: int, out: int, scale: float, rng: np.random.Generator) -> tuple[slice, slice, np.ndarray]:
    """Returns, for one axis, the source slice, the target slice and the nearest source index of each target pixel."""
    taken = min(length, max(1, round(out / scale)))
    seen = out if taken < length else min(out, max(1, round(length * scale)))
    start, offset = int(rng.integers(length - taken + 1)), int(rng.integers(out - seen + 1))
    nearest = start + ((np.arange(seen) + 0.5) * (taken / seen)).astype(np.intp)  # pixel centers
    return slice(start, start + taken), slice(offset, offset + seen), nearest


def _resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    if image.shape[:2] == (height, width):
        return image
    import cv2

    smaller = height * width < image.shape[0] * image.shape[1]
    method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    kind, count = image.dtype, image.shape[2]
    image = image.astype("float32") if kind not in (np.uint8, np.uint16, np.float32) else image
    parts = [image] if count <= 4 else [image[..., band] for band in range(count)]
    parts = [cv2.resize(np.ascontiguousarray(part), (width, height), interpolation=method) for part in parts]
    # cv2 drops a single channel
    return np.concatenate([part.reshape(height, width, -1) for part in parts], axis=-1).astype(kind, copy=False)


def _white(kind: np.dtype[Any]) -> float:
    """The brightest value of an image of this type."""
    return 255.0 if kind.kind == "f" else float(np.iinfo(kind).max)


def _albumentations() -> Any:
    """Imports albumentations, not its successor, which has the same import name and another license."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        importlib.metadata.distribution("albumentationsx")
        raise ImportError(
            "albumentationsx (AGPL) is installed and replaces albumentations (MIT): "
            f"pip uninstall albumentationsx, then {INSTALL}"
        )
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # otherwise its import opens a network connection
    try:
        import albumentations
    except ImportError as error:
        raise ImportError(f"augmentation needs albumentations: {INSTALL} ({error})") from error
    return albumentations
