"""Predictor: any image in, a label map of its size out."""

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from kseg import engines
from kseg.data import Dataset, Pixels, WarnOnce, is_georeferenced, open_picture, read_picture
from kseg.engines import Exported, Runner, opened, runner_of
from kseg.inference.array_predictor import ArrayPredictor
from kseg.inference.batching import Labeled, batches
from kseg.inference.calibration import calibration_images
from kseg.inference.sources import as_image, list_images
from kseg.inference.stored import StoredImage
from kseg.inference.video import Frames, is_video
from kseg.progress import Reporter

if TYPE_CHECKING:
    import keras  # not needed for exported models


class Predictor(ArrayPredictor):
    """Labels images with a model.

    Args:
        model: A model from images `(N, H, W, C)` to logits or probabilities `(N, H, W, num_classes)` at the same size,
            e.g. `kseg.zoo.load(file)`; or a file of `kseg export`, which runs without Keras. Images and tiles are
            padded at their edges for a model of fixed size, and for one that needs multiples of up to 128, as most
            U-Nets do.
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
        resize: `"processor"` resizes each image to the size that the `preprocessor_config.json` of a folder of
            transformers names, with Pillow, as its image processor does; None predicts images at their own size. The
            published scores of a checkpoint may come from other sizes: its card says so. Images are never cut then.

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
        resize: str | None = None,
    ):
        model = opened(model)
        if resize not in (None, "processor"):
            raise ValueError(f'resize must be None or "processor", got {resize!r}')
        if resize and (tile or tuple(scales) != (1,)):
            raise ValueError(
                'resize="processor" (--resize) predicts whole images at one size: leave out tile= (--tile) and scales= '
                "(--tta)"
            )
        size, bands = model.inputs[0].shape[1:3], model.inputs[0].shape[-1]
        if pixels is None:
            pixels = Pixels.from_json(getattr(model, "pixels", {}), bands)
        if pixels.bands is not None and pixels.channels != bands:
            raise ValueError(f"{model.name} takes {bands} bands, got bands = {list(pixels.bands)}")
        self.pixels = dataclasses.replace(pixels, channels=bands)
        self.warn: Callable[[str, str], None] = WarnOnce("python")
        if precision not in ("float32", "int8"):
            raise ValueError(f'precision must be "float32" or "int8", got {precision!r}')
        if (precision == "int8") != (calibration is not None):
            raise ValueError('give precision="int8" and calibration=, e.g. the training split, together')
        images = None
        if calibration is not None:
            # `step_of` needs Keras, which exported models do not: it is imported here.
            step = model.step if isinstance(model, Exported) else engines.step_of(model)
            images = calibration_images(calibration, self.read, size, step)
        options: dict[str, Any] = {"from_logits": from_logits, "engine": engine, "calibration": images}
        runner: Runner
        if resize:
            from kseg.engines import ProcessorRunner

            runner, tile = ProcessorRunner(model, **options), 0
        else:
            runner = runner_of(model, **options)
        super().__init__(
            model, runner, tile=tile, overlap=overlap, margin=margin, flip=flip, scales=scales, threshold=threshold,
            crf=crf,
        )  # fmt: skip

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
        return self._labels_of(self.open(source))

    def _labels_of(self, image: Any) -> np.ndarray:
        return (self.labels(image[None]) if isinstance(image, np.ndarray) else self._labels([image]))[0]

    def probabilities(self, source: Any) -> np.ndarray:
        """Returns the probabilities of one image, float32 `(H, W, num_classes)`; the argument is that of a call."""
        image = self.open(source)
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
            for group in batches(listed, self.open, self._is_whole, batch_size):
                found = self._labeled(group)
                group.clear()  # an image that the caller has dropped is not held while the next one is read
                while found:
                    advance()
                    yield found.pop(0)

    def read(self, source: Any) -> np.ndarray:
        """Reads an image with the channels of the model; the argument is that of a call, the result `(H, W, C)`."""
        stored = isinstance(source, StoredImage)
        source, pixels = as_image(source, self.pixels)
        if stored and is_georeferenced(source):
            self.warn(source.name, "the georeference is ignored: copy the file to a local folder, and give that")
        return read_picture(source, pixels, on_warning=self.warn)

    def open(self, source: Any) -> Any:
        """Reads an image, or opens it to read windows of it if it is large and cut into tiles."""
        found = open_picture(source, self.pixels, self.warn) if self.tile and self.crf is None else None
        return self.read(source) if found is None or self._is_whole(found) else found

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
