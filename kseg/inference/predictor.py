"""Predictor: any image in, a label map of its size out."""

import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from PIL import Image

from kseg.data import Dataset, Pixels, WarnOnce, open_picture, read_picture
from kseg.inference.averaging import FLIPS, mean_probabilities
from kseg.inference.batching import Labeled, batches
from kseg.inference.calibration import calibration_images
from kseg.inference.exported import Exported, is_exported
from kseg.inference.input_shape import InputShape
from kseg.inference.loss import Loss
from kseg.inference.memory import is_out_of_memory
from kseg.inference.refinement import check_crf_size, refined
from kseg.inference.sources import as_image, list_images
from kseg.inference.tiling import blend, check_sizes
from kseg.inference.video import Frames, is_video
from kseg.progress import Reporter

if TYPE_CHECKING:
    import keras  # not needed for exported models

    from kseg.inference.runtimes import KerasRun

Run: TypeAlias = Callable[[np.ndarray], np.ndarray]
"""A function from images `(N, H, W, C)` to probabilities or labels."""

Place: TypeAlias = tuple[slice, slice]
"""The rows and columns of a part of an image."""


class Predictor:
    """Labels images with a model.

    Args:
        model: A model from images `(N, H, W, C)` to logits or probabilities `(N, H, W, num_classes)` at the same size,
            e.g. `kseg.zoo.load(file)`; or a file of `kseg export`, which runs without Keras. For a model of fixed size,
            smaller images and tiles are padded at their edges.
        tile: Side of the tiles into which larger images are cut, a multiple of 32. None and 0 predict whole images;
            None allows `predictions`, `compare` and `kseg.training.evaluate` to cut images above 2 megapixels, and
            cuts images that are larger than a model of fixed size. Tiles are never larger than such a model takes.
        overlap: Number of pixels that neighboring tiles share; None takes a quarter of a tile, at most 128.
        margin: Number of pixels at the inner sides of the tiles to discard; see `kseg.inference.tiling.blend`. Labels
            near seams may differ from those of the whole image; they are equal with a margin of half of
            `kseg.zoo.receptive_field(model)` and an overlap of twice the margin.
        flip: Mirrored copies of the image to predict as well; their probabilities are averaged. True or
            `"horizontal"` swaps left and right, which suits photos; `"vertical"` swaps top and bottom; `"both"`, for
            microscope and aerial images, uses all four combinations.
        scales: Scales at which the image is predicted; the probabilities are averaged.
        threshold: Probability above which a pixel belongs to class 1, for models with one output channel.
        crf: True, or options of `kseg.inference.dense_crf`, to refine the probabilities by the colors of the image.
            The CRF needs the whole image, at most 4 GB of memory; tiles are joined first.
        from_logits: Whether the model returns logits; None finds out with `kseg.metrics.gives_logits`.
        engine: What runs the network. `"keras"` uses the backend. `"openvino"` and `"onnxruntime"` run on the CPU; they
            convert the network in the first call, which takes a few seconds. `"auto"` is OpenVINO if it is installed
            and Keras runs on TensorFlow on a CPU, otherwise Keras.
        precision: `"float32"`, or `"int8"` for 8-bit integers on OpenVINO, which is faster and changes more labels;
            compare the scores of both with `kseg.training.evaluate`.
        calibration: For int8, images that set the ranges of the integers: a data set, e.g. the training split, of
            which 64 are used, or any images as in a call.
        pixels: What the numbers of image files and of integer arrays mean; None for what the model was trained on,
            which its weight file stores.

    The predictors of a model share a copy of its weights, which is made anew when one is constructed: after further
    training, construct another one, and do not use older ones.

    Raises:
        ModuleNotFoundError: If the engine needs a package that is not installed.
        TypeError: If the model is neither a Keras model nor an exported one.
        ValueError: If the file is damaged, if the model does not map one image to one score per class and pixel, or if
            an option is invalid.

    Example:
        >>> import keras
        >>> image = keras.Input((None, None, 3))
        >>> model = keras.Model(image, keras.layers.Conv2D(4, 1)(image))
        >>> Predictor(model)(np.zeros((5, 7, 3), "uint8")).shape
        (5, 7)
    """

    def __init__(
        self,
        model: "keras.Model | Exported | str | os.PathLike",
        *,
        tile: int | None = None,
        overlap: int | None = None,
        margin: int = 0,
        flip: bool | str = False,
        scales: Sequence[float] = (1.0,),
        threshold: float = 0.5,
        crf: bool | Mapping[str, Any] = False,
        from_logits: bool | None = None,
        engine: str = "keras",
        precision: str = "float32",
        calibration: Dataset | Iterable[Any] | None = None,
        pixels: Pixels | None = None,
    ):
        net = self.model = _opened(model)
        powers, exported = False, isinstance(net, Exported)
        if exported:
            net.check_options(engine=engine, precision=precision, calibration=calibration, from_logits=from_logits)
            from_logits = net.from_logits
        else:
            import keras

            from kseg.inference.engine import check_model
            from kseg.metrics import gives_logits

            check_model(net)
            from_logits = gives_logits(net) if from_logits is None else from_logits
            powers = keras.backend.backend() == "jax"
        if not scales or min(scales) <= 0:
            raise ValueError(f"scales must be positive numbers, got {tuple(scales)}")
        if flip not in FLIPS:
            raise ValueError(f'flip must be False, True, "horizontal", "vertical" or "both", got {flip!r}')
        self.flip, self.scales, self.threshold = flip, tuple(scales), threshold
        self.channels: int = net.outputs[0].shape[-1]
        self.dtype = "uint8" if self.channels <= 255 else "uint16"  # 255 is void
        if threshold != 0.5 and self.channels > 1:
            raise ValueError(
                f"threshold needs a model with one output channel, {net.name} has {self.channels}: leave it out, "
                "or compare predictor.probabilities(image)[..., 1] with it"
            )
        batch, *size, self.bands = net.inputs[0].shape
        self.shape = InputShape(net.name, batch, size, max(1.0, *scales), powers)
        if pixels is None:
            pixels = Pixels.from_json(getattr(net, "pixels", {}), self.bands)
        if pixels.bands is not None and pixels.channels != self.bands:
            raise ValueError(f"{net.name} takes {self.bands} bands, got bands = {list(pixels.bands)}")
        self.pixels = dataclasses.replace(pixels, channels=self.bands)
        self.warn: Callable[[str, str], None] = WarnOnce("python")
        self.tile, self.overlap, self.margin = self.shape.tile(tile), overlap, margin
        if self.tile:
            check_sizes(self.tile, overlap, margin)
        if crf is not False and self.bands not in (1, 3):
            raise ValueError(f"crf needs gray or RGB images, {net.name} takes {self.bands} channels: leave it out")
        self.crf = None if crf is False else {} if crf is True else dict(crf)
        if precision not in ("float32", "int8"):
            raise ValueError(f'precision must be "float32" or "int8", got {precision!r}')
        if (precision == "int8") != (calibration is not None):
            raise ValueError('give precision="int8" and calibration=, e.g. the training split, together')
        images = [] if calibration is None else calibration_images(calibration, self.read, size)
        self.from_logits = from_logits
        self._to_probabilities: Run
        self._to_labels: Run
        if exported:
            self._to_probabilities, self._to_labels = net.probabilities, net.labels
        else:
            from kseg.inference.engine import networks

            self._to_probabilities, self._to_labels = networks(
                net, from_logits=from_logits, engine=engine, calibration=images
            )
        self._measuring: tuple[Loss, KerasRun] | None = None
        self._plain = self.crf is None and self.scales == (1,) and len(FLIPS[flip]) == 1 and threshold == 0.5

    def __call__(self, source: Any) -> np.ndarray:
        """Labels one image.

        With tiles, an image of 20,000 x 20,000 needs less than 4 GB, of which a memory map saves 1.2 GB. Of a TIFF file
        of more than 32 megapixels only windows are read, if rasterio is installed (`pip install "kseg[geo]"`), so that
        it may be larger than memory: the result needs a byte per pixel.

        Args:
            source: Anything that `kseg.data.read_picture` reads: a file, a PIL image, an array, a memory map. Arrays of
                floats, and arrays with the channels of the model, are images as data sets give them: `pixels.range` is
                not applied to the former, `pixels.bands` to neither, and `pixels.page` to no array.

        Returns:
            uint8 `(H, W)` (uint16 for 256 classes and more), at the size of the image.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is not an image, or does not fit the model or the CRF.
        """
        return self._labels_of(self._open(source))

    def _labels_of(self, image: Any) -> np.ndarray:
        return (self.labels(image[None]) if isinstance(image, np.ndarray) else self._labels([image]))[0]

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
        if not inside or isinstance(self.model, Exported):
            return None
        from kseg.inference.engine import measuring
        from kseg.inference.runtimes import KerasRun

        if not isinstance(self._to_labels, KerasRun):
            return None
        if self._measuring is None or self._measuring[0] is not loss:
            self._measuring = loss, measuring(self.model, loss, from_logits=self.from_logits)
        return self._measuring[1]

    def _labels(self, images: Any) -> np.ndarray:
        """Labels a batch `(N, H, W, C)`, or a list of one image of which windows are read."""
        if self._plain and self._is_whole(images[0]):
            return self.run(self._to_labels, images).astype(self.dtype, copy=False)
        found = np.empty((len(images), *images[0].shape[:2]), self.dtype)
        if self.crf is not None or self._is_whole(images[0]):
            for label, p in zip(found, self._whole(images), strict=True):
                label[:] = self.decide(p)
            return found
        for label, image in zip(found, images, strict=True):
            for place, p in self._blocks(image):
                label[place] = self.decide(p)
        return found

    def probabilities(self, source: Any) -> np.ndarray:
        """Returns the probabilities of one image, float32 `(H, W, num_classes)`; the argument is that of a call."""
        image = self._open(source)
        return next(self._whole(image[None] if isinstance(image, np.ndarray) else [image]))

    def many(
        self, sources: str | os.PathLike | Iterable[Any], *, batch_size: int = 1, progress: bool = False
    ) -> Iterator[Labeled]:
        """Labels many images; an image that fails does not stop the others.

        Args:
            sources: A folder, a pattern such as `"photos/*.jpg"`, a video file, one image, or any iterable of images as
                in a call.
            batch_size: Largest number of consecutive images of one size that pass through the network together; no
                more are held in memory. Useful on accelerators: on a CPU, one at a time is as fast.
            progress: Whether to show a bar on stderr, if that is a terminal.

        Yields:
            `(source, image, label, error)` in the order of the sources: `(H, W, C)`, values 0 to 255 (a
            `kseg.data.Raster` for a large TIFF file), the label map as in a call, and None; or None, None and the error
            if the image could not be read or does not fit.

        Raises:
            FileNotFoundError: If the folder holds no images, or no file matches the pattern.
            ValueError: If `batch_size` is below 1.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, got {batch_size}")
        if isinstance(sources, Image.Image) or (isinstance(sources, np.ndarray) and sources.ndim < 4):
            sources = [sources]
        listed: Any = sources
        if isinstance(sources, str | os.PathLike):
            listed = Frames(sources) if is_video(sources) else list_images(sources)
        total = len(listed) if hasattr(listed, "__len__") else None
        with Reporter(quiet=not progress).task("predicting", total) as advance:
            for group in batches(listed, self._open, self._is_whole, batch_size):
                found = self._labeled(group)
                group.clear()  # an image that the caller has dropped is not held while the next one is read
                while found:
                    advance()
                    yield found.pop(0)

    def read(self, source: Any) -> np.ndarray:
        """Reads an image with the channels of the model; the argument is that of a call, the result `(H, W, C)`."""
        source, pixels = as_image(source, self.pixels)
        return read_picture(source, pixels, on_warning=self.warn)

    def _open(self, source: Any) -> Any:
        """Reads an image, or opens it to read windows of it if it is large and cut into tiles."""
        found = open_picture(source, self.pixels, self.warn) if self.tile and self.crf is None else None
        return self.read(source) if found is None or self._is_whole(found) else found

    def _whole(self, images: Any) -> Iterator[np.ndarray]:
        """Yields the probabilities of each image, refined by the CRF."""
        if self.crf is not None:
            check_crf_size(images[0, ..., 0].size, self.channels)
        found = self._predict(images) if self._is_whole(images[0]) else map(self._joined, images)
        for image, p in zip(images, found, strict=True):
            yield p if self.crf is None else refined(image, p, self.crf)

    def _is_whole(self, image: Any) -> bool:
        return not self.tile or max(image.shape[:2]) <= self.tile or self.shape.holds(image.shape)

    def _labeled(self, group: list[Labeled]) -> list[Labeled]:
        images = [item.image for item in group if item.image is not None]
        if not images:
            return list(group)
        try:
            labels = [self._labels_of(images[0])] if len(images) == 1 else self._labels(np.stack(images))
            return [item._replace(label=label) for item, label in zip(group, labels, strict=True)]
        except Exception as error:  # backends have error types of their own
            if len(images) == 1:
                return [Labeled(group[0].source, error=error)]
            return [each for item in group for each in self._labeled([item])]

    def _blocks(self, image: np.ndarray) -> Iterator[tuple[Place, np.ndarray]]:
        """Yields the probabilities of finished parts of an image, and their place in it."""
        assert self.tile
        for row, column, p in blend(self._predict, image, tile=self.tile, overlap=self.overlap, margin=self.margin):
            yield np.s_[row : row + p.shape[0], column : column + p.shape[1]], p

    def _joined(self, image: np.ndarray) -> np.ndarray:
        whole = np.empty((*image.shape[:2], self.channels), "float32")
        for place, p in self._blocks(image):
            whole[place] = p
        return whole

    def _predict(self, images: np.ndarray) -> np.ndarray:
        return mean_probabilities(functools.partial(self.run, self._to_probabilities), images, self.scales, self.flip)


def _opened(model: Any) -> Any:
    """Returns a model, which may be the path of an exported one."""
    return Exported(model) if is_exported(model) else model
