"""The class of the models that the builders return: a functional model that stores how it was built."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np


@keras.saving.register_keras_serializable(package="kseg")
class SegmentationModel(keras.Model):
    """A functional model that stores the call that built it, its classes and their colors.

    The description is part of the model's configuration: `model.save("model.keras")` keeps it, and
    `kseg.pretrained.save` writes it into the header of a weight file. `keras.models.clone_model` drops it.

    Attributes:
        builder: Name of the builder in `kseg.zoo.BUILDERS`; empty if unknown.
        arguments: Its keyword arguments as JSON values; `encoder` is None for an encoder that is not in the table.
        classes: Class names in the order of their ids; empty if unknown.
        palette: One (R, G, B) per class, 0 to 255; empty if unknown.
        pixels: What the numbers of the image files mean that the model was trained on, as `kseg.data.Pixels.to_json`
            returns it; empty for 8-bit images.
        processor: What the image processor of a checkpoint of transformers does to images and masks; empty if the
            model is not from there. `size` and `resample`, and `keep_aspect_ratio` and `ensure_multiple_of` where they
            are set, are those of `preprocessor_config.json`; `Predictor(resize="processor")` resizes images
            in this way.
            `enlarged` is True if the model there enlarges its scores to the resized image before they are enlarged to
            the original one; `window` is the side of the windows into which it is cut first; `logarithms` is True if
            the exponentials of the logits are averaged and enlarged. `reduces_labels` is True if class 0 of the masks
            was left out of the training and the other ids were lowered by 1: class 0 of the model is class 1 of these
            masks.
    """

    builder: str = ""
    arguments: Mapping[str, Any] = {}
    classes: tuple[str, ...] = ()
    palette: tuple[tuple[int, int, int], ...] = ()
    pixels: Mapping[str, Any] = {}
    processor: Mapping[str, Any] = {}

    @classmethod
    def of(cls, model: keras.Model, **description: Any) -> SegmentationModel:
        """Returns a model with the same layers, inputs, outputs and name, and with a description.

        What `description` leaves out is taken from `model`. Raises a ValueError for a model without symbolic inputs and
        outputs, i.e. a subclassed one.
        """
        if not getattr(model, "inputs", None) or not getattr(model, "outputs", None):
            raise ValueError(
                f"{model.name!r} is a subclassed model, or one that is not built, so its inputs are unknown: wrap it, "
                "x = keras.Input((None, None, 3)); model = keras.Model(x, model(x))"
            )
        sequential = isinstance(model, keras.Sequential)  # which has neither .input nor .output
        ends = (model.inputs[0], model.outputs[0]) if sequential else (model.input, model.output)
        described = cls(*ends, name=model.name)
        described._describe({**description_of(model), **description})
        return described

    def _describe(self, description: Mapping[str, Any]) -> None:
        self.builder = description["builder"]
        self.arguments = {name: as_json(value) for name, value in description["arguments"].items()}
        self.classes = tuple(description["classes"])
        self.palette = colors(description["palette"])
        self.pixels = dict(description.get("pixels", {}))
        self.processor = dict(description.get("processor", {}))

    def fit(self, x: Any = None, *arguments: Any, **options: Any) -> Any:
        """Trains as `keras.Model.fit` does; warns if the images lie in another range than 0 to 255."""
        warn_of_range(x)
        return super().fit(x, *arguments, **options)

    def evaluate(self, x: Any = None, *arguments: Any, **options: Any) -> Any:
        """Evaluates as `keras.Model.evaluate` does; warns if the images lie in another range than 0 to 255."""
        warn_of_range(x)
        return super().evaluate(x, *arguments, **options)

    def predict(self, x: Any, *arguments: Any, **options: Any) -> Any:
        """Predicts as `keras.Model.predict` does; warns if the images lie in another range than 0 to 255."""
        warn_of_range(x)
        return super().predict(x, *arguments, **options)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "description": description_of(self)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Any = None) -> SegmentationModel:
        config = dict(config)
        description = config.pop("description")
        model = super().from_config(config, custom_objects)
        model._describe(description)
        return model


def description_of(model: keras.Model) -> dict[str, Any]:
    """Returns what a model stores of its origin, as JSON values.

    Args:
        model: Any model.

    Returns:
        The keys `builder`, `arguments`, `classes`, `palette`, `pixels` and `processor`; empty values for what the model
        does not store.
    """
    arguments = getattr(model, "arguments", {})
    return {
        "builder": getattr(model, "builder", ""),
        "arguments": {name: as_json(value) for name, value in arguments.items()},
        "classes": list(getattr(model, "classes", ())),
        "palette": [list(color) for color in colors(getattr(model, "palette", ()))],
        "pixels": dict(getattr(model, "pixels", {})),
        "processor": dict(getattr(model, "processor", {})),
    }


def warn_of_range(images: Any) -> None:
    """Warns if the first images of an array have another range than 0 to 255, which the first layer expects."""
    if not isinstance(images, np.ndarray) and not keras.ops.is_tensor(images):
        return
    first = keras.ops.convert_to_numpy(images[:8])
    if not first.size or first.dtype.kind not in "iuf":
        return
    lowest, highest, cure = first.min(), first.max(), ""
    if -5 <= lowest < 0 and highest <= 5:
        cure = "leave out the normalization, which is a layer of the model"
    elif lowest < 0:
        span = f"({math.floor(lowest)}, {math.ceil(highest)})"
        cure = f"scale each by kseg.data.read_picture(image, kseg.data.Pixels(range={span}))"
    elif first.dtype.kind == "f" and 0 < highest <= 1:
        cure = "leave out the division by 255, since normalization is a layer of the model"
    elif highest > 255:
        cure = "divide 16-bit images by 257, or read them with kseg.data.read_picture"
    if cure:
        warnings.warn(
            f"the images have values from {lowest:g} to {highest:g}, where 0 is black and 255 is white: {cure}",
            stacklevel=3,
        )


def colors(palette: Iterable[Iterable[int]]) -> tuple[tuple[int, int, int], ...]:
    """Returns a palette as tuples of plain integers."""
    return tuple((int(red), int(green), int(blue)) for red, green, blue in palette)


def as_json(value: Any) -> Any:
    """Returns a value as JSON stores it (tuples and arrays become lists), or None for what JSON cannot store."""
    try:
        return json.loads(json.dumps(value, default=lambda array: array.tolist()))
    except (TypeError, AttributeError):
        return None
