"""Predictor: any image in, a label map of its size out."""

import glob
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kseg.inference.picture import read_image
from kseg.inference.tiling import blend

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}


class Predictor:
    """Labels images with a model.

    Args:
        model: From images `(N, H, W, 3)` to logits or probabilities `(N, H, W, C)`, e.g. `kseg.zoo.load(file)`.
        tile: Side of the tiles into which larger images are cut, a multiple of 32; None predicts them whole.
        overlap: Pixels that neighbouring tiles share.
        margin: Pixels at the tiles' inner sides that count for nothing; see `kseg.inference.tiling.blend`.
        flip: Whether the mirrored image is predicted too; both are averaged.
        scales: Sizes at which the image is predicted; all are averaged.
        threshold: Of the probability of class 1, for models of one class.

    Raises:
        ValueError: The model has several outputs, or there is no scale.

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
        overlap: int = 128,
        margin: int = 0,
        flip: bool = False,
        scales: Sequence[float] = (1.0,),
        threshold: float = 0.5,
    ):
        if isinstance(model.output, dict | list | tuple):
            raise ValueError(f"{model.name} has several outputs: build it without auxiliary or outputs_per_scale")
        if not scales or min(scales) <= 0:
            raise ValueError(f"scales must be positive numbers, got {tuple(scales)}")
        self.model, self.flip, self.scales, self.threshold = model, flip, tuple(scales), threshold
        self.tiling = None if tile is None else {"tile": tile, "overlap": overlap, "margin": margin}
        activation = keras.activations.get(getattr(model.layers[-1], "activation", None))
        one = model.output_shape[-1] == 1
        to_probabilities: Callable[[Any], Any] = ops.sigmoid if one else ops.softmax
        self.to_probabilities = to_probabilities if activation == keras.activations.linear else ops.convert_to_tensor

    def __call__(self, source: Any) -> np.ndarray:
        """Labels one image.

        Args:
            source: A file, a PIL image or an array, see `read_image`; a NumPy memory map for the largest ones.

        Returns:
            uint8 `(H, W)` (uint16 from 257 classes on), at the image's size.
        """
        image = read_image(source) if not isinstance(source, np.memmap) else source
        label = np.empty(image.shape[:2], "uint8" if self.model.output_shape[-1] <= 256 else "uint16")
        for row, found in self._bands(image):
            label[row : row + len(found)] = self._decide(found)
        return label

    def probabilities(self, source: Any) -> np.ndarray:
        """The probabilities of one image, float32 `(H, W, C)`; arguments as in a call."""
        return np.concatenate([found for _, found in self._bands(read_image(source))])

    def many(self, sources: str | os.PathLike | Iterable[Any]) -> Iterator[tuple[Any, np.ndarray | Exception]]:
        """Labels many images; a broken one stops nothing.

        Args:
            sources: A folder, a pattern such as `"photos/*.jpg"`, or any iterable of what a call takes.

        Yields:
            `(source, label)`, or `(source, error)` for an image that could not be read.

        Raises:
            FileNotFoundError: The folder holds no images, or nothing fits the pattern.
        """
        for source in list_images(sources) if isinstance(sources, str | os.PathLike) else sources:
            try:
                yield source, self(source)
            except (ValueError, OSError) as error:
                yield source, error

    def _bands(self, image: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        if self.tiling is None:
            return iter([(0, self._predict(image[None])[0])])
        return blend(self._predict, image, **self.tiling)

    def _predict(self, images: np.ndarray) -> np.ndarray:
        """Mean of the probabilities over scales and flips, each undone before."""
        size = images.shape[1:3]
        found: list[np.ndarray] = []
        for scale in self.scales:
            scaled = images
            if scale != 1:
                target = tuple(max(1, round(side * scale)) for side in size)
                scaled = ops.image.resize(ops.cast(images, "float32"), target, interpolation="bilinear")
                scaled = ops.convert_to_numpy(scaled)
            for mirrored in (False, True) if self.flip else (False,):
                x = scaled[:, :, ::-1] if mirrored else scaled
                p = self.to_probabilities(self.model.predict_on_batch(np.ascontiguousarray(x)))
                p = p if scale == 1 else ops.image.resize(p, size, interpolation="bilinear")
                p = ops.convert_to_numpy(p)
                found.append(p[:, :, ::-1] if mirrored else p)
        return np.mean(found, axis=0)

    def _decide(self, probabilities: np.ndarray) -> np.ndarray:
        if probabilities.shape[-1] == 1:
            return probabilities[..., 0] > self.threshold
        return probabilities.argmax(axis=-1)


def list_images(place: str | os.PathLike) -> list[pathlib.Path]:
    """The images of a folder or of a pattern, in order.

    Args:
        place: A file, a folder (its image files, not those of folders below), or a pattern with `*`.

    Returns:
        Their paths.

    Raises:
        FileNotFoundError: There are none.
    """
    path = pathlib.Path(place)
    if path.is_dir():
        found = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
    else:
        found = [path] if path.is_file() else sorted(map(pathlib.Path, glob.glob(os.fspath(place))))
    if not found:
        raise FileNotFoundError(f"no images at {place}: it takes a file, a folder with {', '.join(sorted(SUFFIXES))}")
    return found
