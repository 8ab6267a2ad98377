"""The steps from arrays to probabilities and labels: tiles, mirror images, scales, the CRF."""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from kseg.engines import Loss, Runner, is_out_of_memory
from kseg.inference.averaging import FLIPS, mean_probabilities
from kseg.inference.input_shape import InputShape
from kseg.inference.refinement import check_crf_size, refined
from kseg.inference.tiling import blend, check_sizes, joined, places

if TYPE_CHECKING:
    from kseg.engines import KerasRun

Place: TypeAlias = tuple[slice, slice]
"""The rows and columns of a part of an image."""


class ArrayPredictor:
    """Labels arrays with the channels of a model; `Predictor` has these arguments too, and reads images of any kind.

    Args:
        model: A Keras model or an exported one.
        runner: What runs it.
        tile: Side of the tiles.
        overlap: Number of pixels that neighboring tiles share.
        margin: Number of pixels at the inner sides of the tiles to discard.
        flip: Mirrored copies of the image to predict as well.
        scales: Scales at which the image is predicted.
        threshold: Probability above which a pixel belongs to class 1.
        crf: True, or options of `kseg.inference.dense_crf`.

    Raises:
        ValueError: If an option is invalid, or if the model gives labels only and an option needs probabilities.
    """

    def __init__(
        self,
        model: Any,
        runner: Runner,
        *,
        tile: int | None,
        overlap: int | None,
        margin: int,
        flip: bool | str,
        scales: Sequence[float],
        threshold: float,
        crf: bool | Mapping[str, Any],
    ):
        if not scales or min(scales) <= 0:
            raise ValueError(f"scales must be positive numbers, got {tuple(scales)}")
        if flip not in FLIPS:
            raise ValueError(f'flip must be False, True, "horizontal", "vertical" or "both", got {flip!r}')
        self.model, self.runner = model, runner
        self.flip, self.scales, self.threshold = flip, tuple(scales), threshold
        self.channels: int = model.outputs[0].shape[-1]
        self.dtype = "uint8" if self.channels <= 255 else "uint16"  # 255 is void
        if threshold != 0.5 and self.channels > 1:
            raise ValueError(
                f"threshold needs a model with one output channel, {model.name} has {self.channels}: leave it out, "
                "or compare predictor.probabilities(image)[..., 1] with it"
            )
        batch, *size, self.bands = model.inputs[0].shape
        if crf is not False and self.bands not in (1, 3):
            raise ValueError(f"crf needs gray or RGB images, {model.name} takes {self.bands} channels: leave it out")
        self.crf = None if crf is False else {} if crf is True else dict(crf)
        averaged = self.scales != (1,) or len(FLIPS[flip]) > 1
        self._plain = self.crf is None and not averaged and threshold == 0.5
        if runner.gives_labels and not self._plain:
            given = {"flip= and scales= (--tta)": averaged, "crf= (--crf)": crf is not False}
            names = [name for name, is_given in given.items() if is_given] or ["threshold="]
            raise ValueError(
                f"{model.name} gives labels only, which is too little for {', '.join(names)}: leave this out, or "
                "export the model without --labels"
            )
        self.shape = InputShape(
            model.name, batch, size, max(1.0, *scales), runner.step, powers=runner.powers, tiles=not runner.gives_labels
        )
        self.tile, self.overlap, self.margin = self.shape.tile(tile), overlap, margin
        if self.tile:
            check_sizes(self.tile, overlap, margin)

    @property
    def from_logits(self) -> bool:
        """Whether the model returns logits."""
        return self.runner.from_logits

    def labels(self, images: np.ndarray) -> np.ndarray:
        """Labels a batch `(N, H, W, C)`, one by one if memory runs out; returns uint8 or uint16 `(N, H, W)`."""
        try:
            return self._labels(images)
        except Exception as error:  # backends have error types of their own
            if len(images) == 1 or not is_out_of_memory(error):
                raise
        return np.concatenate([self._labels(image[None]) for image in images])

    def parts(self, image: np.ndarray) -> Iterator[tuple[Place, np.ndarray]]:
        """Yields the probabilities of the finished parts of an image `(H, W, C)`, and the place of each part in it."""
        if self.crf is None and not self._is_whole(image):
            yield from self._blocks(image)
        else:
            yield np.s_[:, :], next(self._whole(image[None]))

    def tiles(self, image: Any) -> list[Place]:
        """Returns the places of the tiles into which an image `(H, W, C)` is cut; none if it is predicted whole."""
        if self.crf is not None or self._is_whole(image):
            return []
        return places(image.shape[:2], **self._tiling())

    def tile_probabilities(self, image: Any, place: Place) -> np.ndarray:
        """Returns the probabilities of a tile of an image, float32 `(h, w, num_classes)`."""
        return self._predict(image[place][None])[0]

    def label_of_tiles(self, tiles: Iterable[np.ndarray], image: Any) -> np.ndarray:
        """Returns the label map of an image from the probabilities of its tiles, in the order of `tiles`."""
        label = np.empty(image.shape[:2], self.dtype)
        for row, column, p in joined(tiles, image.shape[:2], **self._tiling()):
            label[row : row + p.shape[0], column : column + p.shape[1]] = self.decide(p)
        return label

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        """Returns the label map `(H, W)` of probabilities `(H, W, num_classes)`."""
        if self.channels == 1:
            return (probabilities[..., 0] > self.threshold).astype(self.dtype)
        return probabilities.argmax(axis=-1).astype(self.dtype)

    def run(self, network: Callable[[np.ndarray], np.ndarray], images: np.ndarray) -> np.ndarray:
        """Runs a network of this model on images that are padded to its size; see `InputShape.run`."""
        return self.shape.run(network, images)

    def network_with(self, loss: Loss, images: np.ndarray) -> "KerasRun | None":
        """Returns a network that computes labels and a loss, or None if a loss of these images needs other steps."""
        inside = self._plain and self._is_whole(images[0]) and not self.shape.batch
        return self.runner.with_loss(loss) if inside else None

    def _labels(self, images: Any) -> np.ndarray:
        """Labels a batch `(N, H, W, C)`, or a list of one image of which windows are read."""
        if self._plain and self._is_whole(images[0]):
            return self.run(self.runner.labels, images).astype(self.dtype, copy=False)
        found = np.empty((len(images), *images[0].shape[:2]), self.dtype)
        if self.crf is not None or self._is_whole(images[0]):
            for label, p in zip(found, self._whole(images), strict=True):
                label[:] = self.decide(p)
            return found
        for label, image in zip(found, images, strict=True):
            for place, p in self._blocks(image):
                label[place] = self.decide(p)
        return found

    def _whole(self, images: Any) -> Iterator[np.ndarray]:
        """Yields the probabilities of each image, refined by the CRF."""
        if self.crf is not None:
            check_crf_size(images[0, ..., 0].size, self.channels)
        found = self._predict(images) if self._is_whole(images[0]) else map(self._joined, images)
        for image, p in zip(images, found, strict=True):
            yield p if self.crf is None else refined(image, p, self.crf)

    def _is_whole(self, image: Any) -> bool:
        return not self.tile or max(image.shape[:2]) <= self.tile or self.shape.holds(image.shape)

    def _blocks(self, image: np.ndarray) -> Iterator[tuple[Place, np.ndarray]]:
        """Yields the probabilities of finished parts of an image, and their place in it."""
        for row, column, p in blend(self._predict, image, **self._tiling()):
            yield np.s_[row : row + p.shape[0], column : column + p.shape[1]], p

    def _tiling(self) -> dict[str, Any]:
        """Returns the options of tiles; raises a ValueError if the model gives labels only."""
        if self.runner.gives_labels:
            raise ValueError(
                f"{self.model.name} gives labels only, and tiles are joined by their probabilities: leave tiles out "
                "(--tile 0, tile=0), or export the model without --labels"
            )
        return {"tile": self.tile, "overlap": self.overlap, "margin": self.margin}

    def _joined(self, image: np.ndarray) -> np.ndarray:
        whole = np.empty((*image.shape[:2], self.channels), "float32")
        for place, p in self._blocks(image):
            whole[place] = p
        return whole

    def _predict(self, images: np.ndarray) -> np.ndarray:
        return mean_probabilities(
            functools.partial(self.run, self.runner.probabilities), images, self.scales, self.flip
        )
