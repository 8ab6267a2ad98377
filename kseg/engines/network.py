"""The network that an engine runs: a copy of the model for inference, with a last step for what is wanted."""

import weakref
import zlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from kseg.engines.runner import Loss
from kseg.layers import FoldedModel
from kseg.metrics import classes_of

ENDINGS = ("scores", "probabilities", "labels")
"""Outputs of a network: the model's own scores, probabilities (float32), or class ids (uint8; int32 above 256)."""


class Network:
    """A model without batch normalization after convolutions, for each ending; see `Network.of`."""

    def __init__(self, model: keras.Model, weights: int):
        # A model of its own: a copy of a compiled model would get an optimizer, and this object must not hold `model`.
        self.folded = FoldedModel(keras.Model(model.inputs[0], model.outputs[0]))
        self.nets: dict[tuple[str, bool], keras.Model] = {}
        self.kept: dict[Any, Any] = {}
        self.weights = weights

    @staticmethod
    def of(model: keras.Model) -> "Network":
        """Returns the network of a model with the model's present weights.

        It is kept as long as the model, since building and compiling it takes seconds. Its weights are copies, made
        again by each call if those of the model have changed.
        """
        weights = _checksum(model)
        network = _NETWORKS.get(model)
        if network is None:
            network = _NETWORKS[model] = Network(model, weights)
        elif weights != network.weights:
            network.folded.refresh()
            network.weights = weights
        return network

    def net(self, ending: str, *, from_logits: bool) -> keras.Model:
        """Returns the network as a Keras model with one of `ENDINGS`."""
        key = (ending, from_logits)
        if key not in self.nets:
            net = self.folded.net
            last = Ending(*key, name=f"{ending}_of_{net.name}", autocast=False)
            self.nets[key] = keras.Model(net.inputs[0], last(net.outputs[0]))
        return self.nets[key]

    def measuring(self, loss: Loss, *, from_logits: bool) -> keras.Model:
        """Returns the network as a Keras model of images and label maps, which gives class ids and the loss."""
        net = self.folded.net
        image, scores = net.inputs[0], net.outputs[0]
        truth = keras.Input(batch_shape=scores.shape[:-1], dtype="int32", name=f"truth_of_{net.name}")
        last = Measuring(loss, from_logits, name=f"loss_of_{net.name}", autocast=False)
        return keras.Model([image, truth], list(last(scores, truth)))

    def keep(self, key: Any, make: Callable[[], Any], state: Any = None) -> Any:
        """Returns what `make` made for this key, unless it was made in another `state`, such as other weights."""
        if key not in self.kept or self.kept[key][0] != state:
            self.kept[key] = state, make()
        return self.kept[key][1]


_NETWORKS: weakref.WeakKeyDictionary[keras.Model, Network] = weakref.WeakKeyDictionary()


class Ending(keras.layers.Layer):
    """The last step, as a layer: the names of bare operations may collide with those of a loaded model."""

    def __init__(self, ending: str, from_logits: bool, **kwargs: Any):
        super().__init__(**kwargs)
        self.ending, self.from_logits = ending, from_logits
        self.built = True

    def call(self, scores: Any) -> Any:
        if self.ending == "labels":
            return _labels(scores, self.from_logits)
        scores = ops.cast(scores, "float32")
        if self.ending == "scores" or not self.from_logits:
            return scores
        return ops.sigmoid(scores) if scores.shape[-1] == 1 else ops.softmax(scores)


class Measuring(keras.layers.Layer):
    """The last step, from scores and label maps to class ids and the loss, a scalar."""

    def __init__(self, loss: Loss, from_logits: bool, **kwargs: Any):
        super().__init__(**kwargs)
        self.loss, self.from_logits = loss, from_logits
        self.built = True

    def compute_output_spec(self, scores: Any, truth: Any) -> Any:
        labels = keras.KerasTensor(scores.shape[:-1], "uint8" if scores.shape[-1] <= 256 else "int32")
        return labels, keras.KerasTensor((), "float32")

    def call(self, scores: Any, truth: Any) -> Any:
        return _labels(scores, self.from_logits), ops.cast(self.loss(truth, scores), "float32")


def _labels(scores: Any, from_logits: bool) -> Any:
    return ops.cast(classes_of(scores, from_logits=from_logits), "uint8" if scores.shape[-1] <= 256 else "int32")


def _checksum(model: keras.Model) -> int:
    total = 0
    for weight in model.weights:
        total = zlib.crc32(np.ascontiguousarray(ops.convert_to_numpy(weight)).view("uint8").data, total)
    return total
