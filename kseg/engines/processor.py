"""Image processors of transformers: images are resized before the network, and its scores after it."""

import weakref
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
from PIL import Image

from kseg.engines.exported import as_labels, as_probabilities
from kseg.engines.runner import ArrayFunction, Loss, runner_of
from kseg.layers import SegmentationHead, layer_calls
from kseg.metrics import gives_logits

BAND = 2**24
"""Number of enlarged scores that are in memory at once to label an image."""


class ProcessorRunner:
    """Runs a model on images at the size to which the image processor of its checkpoint resizes them.

    Images are resized by Pillow, as transformers' image processors that use it do. The scores are taken from the head
    before its activation, and before it enlarges them to the resized image unless the checkpoint's model does that too.
    A resized image may be cut into overlapping windows, whose scores are averaged.
    They are enlarged to the image itself, as `post_process_semantic_segmentation` does. Labels are made in bands of
    rows, so that a large image does not need memory for the scores of all its pixels. See `kseg.engines.Runner`.

    Args:
        model: A model with a `processor`, see `kseg.pretrained.SegmentationModel`.
        from_logits: Whether the model returns logits; None finds out.
        **options: The other ones of `kseg.engines.runner_of`.

    Raises:
        ValueError: If the model does not store how its images are resized.
    """

    gives_labels = False
    powers = False
    step = 1

    def __init__(self, model: Any, *, from_logits: bool | None = None, **options: Any):
        rule: Mapping[str, Any] = getattr(model, "processor", {})
        if "size" not in rule:
            raise ValueError(
                f'{model.name} does not store how a processor resizes images: leave out resize="processor" (--resize), '
                "which is for folders of transformers with a preprocessor_config.json that resizes and does not crop"
            )
        self.sides = rule["size"]
        self.keeps_ratio = rule.get("keep_aspect_ratio", False)
        self.multiple = rule.get("ensure_multiple_of", 1)
        self.resample = Image.Resampling[rule["resample"].upper()]
        self.window: int | None = rule.get("window")
        self.from_logits = gives_logits(model) if from_logits is None else from_logits
        small, head = (model, None) if rule.get("enlarged") else _before_enlarging(model)
        self._is_scores = head is not None or self.from_logits
        self._logarithms = bool(rule.get("logarithms")) and self.from_logits and model.outputs[0].shape[-1] > 1
        self._is_sigmoid = getattr(head, "activation", None) == "sigmoid"
        # The runner leaves the scores as they are, since it takes them for probabilities.
        self._scores: ArrayFunction = runner_of(small, from_logits=False, **options).probabilities
        self.probabilities: ArrayFunction = self._probabilities
        self.labels: ArrayFunction = self._labels

    def with_loss(self, loss: Loss) -> None:
        """Returns None: a loss needs the scores at the size of the image."""

    def _labels(self, images: np.ndarray) -> np.ndarray:
        """Returns class ids `(N, H, W)`."""
        found = np.empty(images.shape[:3], "uint16")
        for index, rows, scores in self._bands(images):
            found[index, rows] = as_labels(scores, from_logits=self._is_scores)
        return found

    def _probabilities(self, images: np.ndarray) -> np.ndarray:
        """Returns the probabilities of images `(N, H, W, C)` at their size, `(N, H, W, num_classes)`."""
        found: Any = None
        for index, rows, scores in self._bands(images):
            if self._is_scores:
                scores = as_probabilities(scores[..., None])[..., 0] if self._is_sigmoid else as_probabilities(scores)
            found = np.empty((*images.shape[:3], scores.shape[-1]), "float32") if found is None else found
            found[index, rows] = scores
        return found

    def _bands(self, images: np.ndarray) -> Iterator[tuple[int, slice, np.ndarray]]:
        """Yields the index of an image, some of its rows, and the scores there, `(rows, W, num_classes)`."""
        height, width = images.shape[1:3]
        for index, image in enumerate(images):
            coarse = self._coarse(self._resized(image))
            below, share = _places(coarse.shape[0], height)
            step = max(1, BAND // (width * coarse.shape[-1]))
            for top in range(0, height, step):
                rows = slice(top, min(top + step, height))
                band = _between(coarse, 0, below[rows], share[rows])
                scores = _between(band, 1, *_places(band.shape[1], width))
                yield index, rows, np.log(scores) if self._logarithms else scores

    def _coarse(self, image: np.ndarray) -> np.ndarray:
        """Returns the scores of a resized image: of the whole image, or the means of those of overlapping windows."""
        axis = int(image.shape[0] <= image.shape[1])
        total: Any = 0.0
        counts = np.zeros(image.shape[axis], "float32")
        for start, stop in windows(image.shape[axis], self.window):
            part = np.s_[start:stop] if axis == 0 else np.s_[:, start:stop]
            scores = self._scores(np.ascontiguousarray(image[part])[None])[0]
            scores = np.exp(scores) if self._logarithms else scores
            if stop - start == len(counts):
                return scores
            total = np.zeros((*image.shape[:2], scores.shape[-1]), "float32") if counts.sum() == 0 else total
            total[part] += scores
            counts[start:stop] += 1
        return total / (counts[:, None, None] if axis == 0 else counts[:, None])

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Returns the height and width to which an image is resized."""
        if "height" in self.sides:
            down, across = self.sides["height"] / height, self.sides["width"] / width
            if self.keeps_ratio:  # the scale that is nearer to 1
                down = across = across if abs(1 - across) < abs(1 - down) else down
            return self._rounded(down * height), self._rounded(across * width)
        short, long = sorted((height, width))
        target: float = self.sides["shortest_edge"]
        most = self.sides.get("longest_edge")
        if most and long / short * target > most:
            target = most * short / long
        if round(target) == short:
            return height, width
        other = int(target * long / short)
        return (round(target), other) if height <= width else (other, round(target))

    def _rounded(self, side: float) -> int:
        return max(1, round(side / self.multiple)) * self.multiple

    def _resized(self, image: np.ndarray) -> np.ndarray:
        height, width = self.size(*image.shape[:2])
        size = (width, height)
        if image.dtype == np.uint8 and image.shape[-1] == 3:
            return np.asarray(Image.fromarray(image).resize(size, self.resample))
        if image.dtype != np.uint8:
            image = image.astype("float32", copy=False)
        bands = [Image.fromarray(np.ascontiguousarray(image[..., band])) for band in range(image.shape[-1])]
        return np.stack([np.asarray(band.resize(size, self.resample)) for band in bands], axis=-1)


def windows(length: int, window: int | None) -> list[tuple[int, int]]:
    """Returns the first and the last position of the windows along the longer side, at distances as equal as possible.

    Args:
        length: Number of pixels of the side.
        window: Side of the windows; None for a single one.

    Example:
        >>> windows(100, 64)
        [(0, 64), (36, 100)]
    """
    count = 1 if window is None else -(-length // window)
    if window is None or count == 1:
        return [(0, length)]
    step = window - (count * window - length) / (count - 1)
    return [(int(index * step), int(index * step) + window) for index in range(count)]


def _places(old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
    """For bilinear resizing: the index below each new position, and the share of the index above."""
    place = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, old - 1)
    below = np.minimum(place.astype(int), max(0, old - 2))
    return below, (place - below).astype("float32")


def _between(x: np.ndarray, axis: int, below: np.ndarray, share: np.ndarray) -> np.ndarray:
    low, high = x.take(below, axis), x.take(np.minimum(below + 1, x.shape[axis] - 1), axis)
    high -= low
    high *= share.reshape(-1, *[1] * (x.ndim - 1 - axis))
    high += low
    return high


_SMALL: weakref.WeakKeyDictionary[keras.Model, tuple[keras.Model, SegmentationHead | None]]
_SMALL = weakref.WeakKeyDictionary()


def _before_enlarging(model: keras.Model) -> tuple[keras.Model, SegmentationHead | None]:
    """Returns the model up to the scores at the size of the features, and the head, if it ends in one.

    Otherwise, it is the model itself and None. It is made once per model, so that its compiled network is kept too.
    """
    if model not in _SMALL:
        _SMALL[model] = _cut(model)
    small, head = _SMALL[model]
    return small, head


def _cut(model: keras.Model) -> tuple[keras.Model, SegmentationHead | None]:
    for layer, node in layer_calls(model):
        if node.output_tensors[0] is model.outputs[0]:
            if isinstance(layer, SegmentationHead) and layer.aligned_factor is None:
                return keras.Model(model.inputs[0], layer.conv(node.arguments.args[0]), name=model.name), layer
            break
    # A model of its own: the table must not hold `model`.
    return keras.Model(model.inputs[0], model.outputs[0], name=model.name), None
