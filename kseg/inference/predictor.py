"""Predictor: any image in, a label map of its size out."""

import collections.abc
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops
from PIL import Image

from kseg.inference.dense_crf import dense_crf
from kseg.inference.picture import read_image
from kseg.inference.sources import list_images
from kseg.inference.tiling import STEP, blend, check_sizes
from kseg.metrics import gives_logits
from kseg.progress import Reporter

FLIPS: dict[bool | str, tuple[tuple[int, int], ...]] = {
    False: ((1, 1),),
    "horizontal": ((1, 1), (1, -1)),
    "vertical": ((1, 1), (-1, 1)),
    "both": ((1, 1), (1, -1), (-1, 1), (-1, -1)),
}
"""The directions, of rows and of columns, in which an image is predicted."""
FLIPS[True] = FLIPS["horizontal"]

CRF_BYTES = 2**32
"""What the CRF may need, by an estimate: 450 bytes a pixel and 25 more a class. Noisy images need 2.5 times that."""


class Labelled(NamedTuple):
    """One image of many: where it came from, and either its pixels and labels or what was wrong with it."""

    source: Any
    image: np.ndarray | None = None
    label: np.ndarray | None = None
    error: Exception | None = None


class Predictor:
    """Labels images with a model.

    Args:
        model: From RGB or gray images `(N, H, W, 3 or 1)` to logits or probabilities `(N, H, W, C)` at the same size,
            e.g. `kseg.zoo.load(file)`.
        tile: Side of the tiles into which larger images are cut, a multiple of 32; None predicts them whole.
        overlap: Pixels that neighbouring tiles share; None for a quarter of a tile, at most 128.
        margin: Pixels at the tiles' inner sides that count for nothing; see `kseg.inference.tiling.blend`. Labels near
            seams may differ from those of the whole image; a margin of half of `kseg.zoo.receptive_field(model)`, with
            an overlap of twice that, gives the same.
        flip: Whether mirrored images are predicted too; all are averaged. True or `"horizontal"` swaps left and right,
            as suits photos; `"vertical"` above and below; `"both"`, for microscopes and from the air, does all four.
        scales: Sizes at which the image is predicted; all are averaged.
        threshold: Of the probability of class 1, for models of one class.
        crf: True, or options of `kseg.inference.dense_crf`, to refine the probabilities by the image's colours. It
            looks at whole images, as far as `CRF_BYTES` reach; the net's tiles are put together first.
        from_logits: Whether the model gives logits; None sees it by `kseg.metrics.gives_logits`.

    Raises:
        ValueError: The model has several outputs or takes neither RGB nor gray images, there is no scale, or the
            sizes of the tiles contradict one another.

    Example:
        >>> image = keras.Input((None, None, 3))
        >>> model = keras.Model(image, keras.layers.Conv2D(4, 1)(image))
        >>> Predictor(model)(np.zeros((5, 7, 3), "uint8")).shape
        (5, 7)
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        tile: int | None = None,
        overlap: int | None = None,
        margin: int = 0,
        flip: bool | str = False,
        scales: Sequence[float] = (1.0,),
        threshold: float = 0.5,
        crf: bool | Mapping[str, Any] = False,
        from_logits: bool | None = None,
    ):
        if isinstance(model.output, dict | list | tuple):
            raise ValueError(f"{model.name} has several outputs: build it without auxiliary or outputs_per_scale")
        if model.input_shape[-1] not in (1, 3):
            raise ValueError(f"{model.name} takes images of {model.input_shape[-1]} channels: Predictor knows 3 and 1")
        if not scales or min(scales) <= 0:
            raise ValueError(f"scales must be positive numbers, got {tuple(scales)}")
        if flip not in FLIPS:
            raise ValueError(f'flip is False, True, "horizontal", "vertical" or "both", got {flip!r}')
        self.model, self.flip, self.scales, self.threshold = model, flip, tuple(scales), threshold
        self.tile, self.margin = tile, margin
        if tile is not None:
            self.overlap = max(0, min(128, tile // 4, tile - STEP)) if overlap is None else overlap
            check_sizes(tile, self.overlap, margin)
        self.crf = None if crf is False else {} if crf is True else dict(crf)
        self.channels: int = model.output_shape[-1]
        self.dtype = "uint8" if self.channels <= 255 else "uint16"  # 255 is void
        from_logits = gives_logits(model) if from_logits is None else from_logits
        to_probabilities: Callable[[Any], Any] = ops.sigmoid if self.channels == 1 else ops.softmax
        self.to_probabilities = to_probabilities if from_logits else ops.convert_to_tensor

    def __call__(self, source: Any) -> np.ndarray:
        """Labels one image.

        With tiles, an image of 20,000 x 20,000 stays below 4 GB: 1.2 GB for itself, 0.4 GB for the labels, 0.15 GB for
        the sums of 12 classes (see `blend`), and what the backend needs for a tile; a memory map spares the first.

        Args:
            source: What `read_image` takes: a file, a PIL image, an array, a memory map.

        Returns:
            uint8 `(H, W)` (uint16 from 256 classes on), at the image's size.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It is no image, or does not fit the model or the CRF.
        """
        return self._label(self._image(source))

    def probabilities(self, source: Any) -> np.ndarray:
        """The probabilities of one image, float32 `(H, W, C)`; arguments as in a call."""
        image = self._image(source)
        return self._assembled(image, self._blocks(image))

    def many(
        self, sources: str | os.PathLike | Iterable[Any], *, batch_size: int = 1, progress: bool = False
    ) -> Iterator[Labelled]:
        """Labels many images; a broken one stops nothing.

        Args:
            sources: A folder, a pattern such as `"photos/*.jpg"`, or any iterable of what a call takes; one image too.
            batch_size: Images of one size that follow one another go through the net together, so many at most, and so
                many are held. For accelerators: on a CPU, one at a time is as quick.
            progress: Whether to show a bar on stderr, if that is a terminal.

        Yields:
            In the order of the sources, `(source, image, label, error)`: uint8 `(H, W, 3 or 1)` and what a call
            returns, and None; or None, None, and the error of an image that could not be read or does not fit.

        Raises:
            FileNotFoundError: The folder holds no images, or nothing fits the pattern.
            ValueError: `batch_size` is below 1.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, got {batch_size}")
        if isinstance(sources, Image.Image) or (isinstance(sources, np.ndarray) and sources.ndim < 4):
            sources = [sources]
        listed = list_images(sources) if isinstance(sources, str | os.PathLike) else sources
        total = len(listed) if isinstance(listed, collections.abc.Sized) else None
        with Reporter(quiet=not progress).task("predicting", total) as advance:
            for group in self._groups(listed, batch_size):
                found = self._labelled(group)
                group.clear()  # an image that has been handed on is not held while the next one is read
                while found:
                    advance(1)
                    yield found.pop(0)

    def _image(self, source: Any) -> np.ndarray:
        """Reads an image with the model's channels."""
        image = read_image(source)
        most = CRF_BYTES // (450 + 25 * max(2, self.channels))
        if self.crf is not None and (count := image.shape[0] * image.shape[1]) > most:
            told = f"at most {most:,} pixels of {self.channels} classes, got {count:,}"
            raise ValueError(f"the CRF takes {told}: leave it out, or shrink the image")
        if self.model.input_shape[-1] == 1:
            image = np.asarray(Image.fromarray(image).convert("L"))[..., None]
        return image

    def _whole(self, image: np.ndarray) -> bool:
        return self.tile is None or max(image.shape[:2]) <= self.tile

    def _groups(self, sources: Iterable[Any], batch_size: int) -> Iterator[list[Labelled]]:
        """Consecutive images of one size; what was not read, and what is cut into tiles, alone."""
        group: list[Labelled] = []
        shape = None
        for source in sources:
            item = self._read(source)
            alone = item.image is None or not self._whole(item.image)
            size = None if item.image is None else item.image.shape
            if group and (alone or size != shape):
                yield group
                group = []
            group.append(item)
            shape = size
            del item
            if alone or len(group) == batch_size:
                yield group
                group = []
        if group:
            yield group

    def _read(self, source: Any) -> Labelled:
        try:
            return Labelled(source, self._image(source))
        except (ValueError, OSError) as error:
            return Labelled(source, error=error)

    def _labelled(self, group: list[Labelled]) -> list[Labelled]:
        images = [item.image for item in group if item.image is not None]
        if not images:
            return list(group)
        try:
            if len(images) == 1:
                return [group[0]._replace(label=self._label(images[0]))]
            found = self._predict(_filled(np.stack(images)))
            labels = [self._decide(self._refined(image, p)) for image, p in zip(images, found, strict=False)]
            return [item._replace(label=label) for item, label in zip(group, labels, strict=True)]
        except Exception as error:  # backends have errors of their own for what does not fit, memory among it
            if len(images) == 1:
                return [Labelled(group[0].source, error=error)]
            return [labelled for item in group for labelled in self._labelled([item])]

    def _label(self, image: np.ndarray) -> np.ndarray:
        label = np.empty(image.shape[:2], self.dtype)
        for row, column, found in self._blocks(image):
            label[row : row + found.shape[0], column : column + found.shape[1]] = self._decide(found)
        return label

    def _blocks(self, image: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
        if self.tile is None or self._whole(image):
            return iter([(0, 0, self._refined(image, self._predict(image[None])[0]))])
        blocks = blend(self._predict, image, tile=self.tile, overlap=self.overlap, margin=self.margin)
        return blocks if self.crf is None else iter([(0, 0, self._refined(image, self._assembled(image, blocks)))])

    def _assembled(self, image: np.ndarray, blocks: Iterator[tuple[int, int, np.ndarray]]) -> np.ndarray:
        whole = np.empty((*image.shape[:2], self.channels), "float32")
        for row, column, found in blocks:
            whole[row : row + found.shape[0], column : column + found.shape[1]] = found
        return whole

    def _predict(self, images: np.ndarray) -> np.ndarray:
        """Mean of the probabilities over scales and flips, each undone before: `(N, H, W, C)`."""
        height, width = images.shape[1:3]
        total: Any = None
        share = np.float32(1 / (len(self.scales) * len(FLIPS[self.flip])))
        for scale in self.scales:
            size = (max(1, round(height * scale)), max(1, round(width * scale)))
            scaled = images if size == (height, width) else _resized(images, size)
            for down, along in FLIPS[self.flip]:
                x = np.array(scaled[:, ::down, ::along], order="C")  # a copy: Keras holds it for a while, on PyTorch
                p = ops.convert_to_numpy(self.to_probabilities(self.model.predict_on_batch(x)))
                if p.shape[1:3] != size:
                    told = f"{p.shape[1]}x{p.shape[2]} labels for {size[0]}x{size[1]} pixels"
                    raise ValueError(f"{self.model.name} gives {told}: Predictor needs a label for every pixel")
                p = p if size == (height, width) else _resized(p, (height, width))
                p = p[:, ::down, ::along] * share
                total = p if total is None else np.add(total, p, out=total)
        return total

    def _refined(self, image: np.ndarray, p: np.ndarray) -> np.ndarray:
        if self.crf is None:
            return p
        image = np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image
        if self.channels > 1:
            return dense_crf(image, p, **self.crf)
        return dense_crf(image, np.concatenate([1 - p, p], axis=-1), **self.crf)[..., 1:]

    def _decide(self, probabilities: np.ndarray) -> np.ndarray:
        if self.channels == 1:
            return (probabilities[..., 0] > self.threshold).astype(self.dtype)
        return probabilities.argmax(axis=-1).astype(self.dtype)


def _resized(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    images = ops.cast(images, "float32")
    return ops.convert_to_numpy(ops.image.resize(images, size, interpolation="bilinear", data_format="channels_last"))


def _filled(images: np.ndarray) -> np.ndarray:
    """Fills a batch to a power of two on JAX, which compiles each batch size anew."""
    if keras.backend.backend() != "jax":
        return images
    missing = (1 << (len(images) - 1).bit_length()) - len(images)
    return np.pad(images, [(0, missing), (0, 0), (0, 0), (0, 0)])
