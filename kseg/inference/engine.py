"""Running a network on arrays, to probabilities or to class ids."""

import functools
import weakref
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from kseg.metrics import classes_of

Run = Callable[[np.ndarray], np.ndarray]


def check_model(model: Any) -> None:
    """Raises an error with the cure if a model does not map one image to one score per class and pixel."""
    if not isinstance(model, keras.Model):
        raise TypeError(f"a model must be a keras.Model, got {model!r}: kseg.zoo.load reads weight files")
    try:
        inputs, outputs = model.inputs, model.outputs
    except (AttributeError, ValueError):
        inputs = outputs = None
    if not inputs or not outputs:
        raise ValueError(
            f"{model.name} is a subclassed or unbuilt model, its input and output are unknown: wrap it, "
            "x = keras.Input((None, None, 3)); model = keras.Model(x, model(x))"
        )
    if len(inputs) > 1:
        raise ValueError(
            f"{model.name} has {len(inputs)} inputs: give it one image that is split inside, e.g. "
            "x = keras.Input((None, None, 4)); model = keras.Model(x, model([x[..., :3], x[..., 3:]]))"
        )
    if len(outputs) > 1:
        raise ValueError(
            f"{model.name} has several outputs: build it without auxiliary or outputs_per_scale, or keep one, "
            "keras.Model(model.inputs, model.outputs[0])"
        )
    if len(inputs[0].shape) != 4 or len(outputs[0].shape) != 4 or None in (inputs[0].shape[-1], outputs[0].shape[-1]):
        raise ValueError(
            f"{model.name} maps {inputs[0].shape} to {outputs[0].shape}: "
            "a segmentation model maps images (N, H, W, C) to scores (N, H, W, num_classes)"
        )


def network(model: keras.Model, ending: str, *, from_logits: bool) -> Run:
    """Returns a function that runs a model up to `"probabilities"`, float32 `(N, H, W, num_classes)`, or `"labels"`.

    Class ids are uint8, or int32 for more than 256 classes. The function is kept as long as the model, because most
    backends compile it.
    """
    kept = _NETWORKS.setdefault(model, {})
    if (ending, from_logits) not in kept:
        last = _Ending(ending, from_logits, name=f"{ending}_of_{model.name}", autocast=False)
        kept[ending, from_logits] = _run(keras.Model(model.inputs[0], last(model.outputs[0])))
    return kept[ending, from_logits]


_NETWORKS: weakref.WeakKeyDictionary[keras.Model, dict[tuple[str, bool], Run]] = weakref.WeakKeyDictionary()


def _run(net: keras.Model) -> Run:
    if keras.backend.backend() != "tensorflow":
        return net.predict_on_batch
    import tensorflow

    # Keras traces its graph anew for many image sizes and warns of it; this graph is traced once, for all sizes.
    spec = tensorflow.TensorSpec(net.inputs[0].shape, net.inputs[0].dtype)
    function = tensorflow.function(functools.partial(net, training=False), input_signature=[spec], autograph=False)
    return lambda images: function(images.astype(spec.dtype.as_numpy_dtype)).numpy()


class _Ending(keras.layers.Layer):
    """The last step, as a layer: the names of bare operations may collide with those of a loaded model."""

    def __init__(self, ending: str, from_logits: bool, **kwargs: Any):
        super().__init__(**kwargs)
        self.ending, self.from_logits = ending, from_logits

    def call(self, scores: Any) -> Any:
        channels = scores.shape[-1]
        if self.ending == "labels":
            labels = classes_of(scores, from_logits=self.from_logits)
            return ops.cast(labels, "uint8" if channels <= 256 else "int32")
        scores = ops.cast(scores, "float32")
        if not self.from_logits:
            return scores
        return ops.sigmoid(scores) if channels == 1 else ops.softmax(scores)


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an error of any backend means that memory ran out."""
    text = f"{type(error).__name__} {error}".lower().replace("_", "")
    return isinstance(error, MemoryError) or any(
        phrase in text for phrase in ("out of memory", "resourceexhausted", "allocate memory")
    )
