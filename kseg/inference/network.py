"""The network that an engine runs: a copy of the model for inference, with a last step for what is wanted."""

import weakref
import zlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

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

    def keep(self, key: Any, make: Callable[[], Any], *, frozen: bool) -> Any:
        """Returns what `make` made for this key; if it has frozen weights, for these weights."""
        weights = self.weights if frozen else None
        if key not in self.kept or self.kept[key][0] != weights:
            self.kept[key] = weights, make()
        return self.kept[key][1]


_NETWORKS: weakref.WeakKeyDictionary[keras.Model, Network] = weakref.WeakKeyDictionary()


class Ending(keras.layers.Layer):
    """The last step, as a layer: the names of bare operations may collide with those of a loaded model."""

    def __init__(self, ending: str, from_logits: bool, **kwargs: Any):
        super().__init__(**kwargs)
        self.ending, self.from_logits = ending, from_logits
        self.built = True

    def call(self, scores: Any) -> Any:
        channels = scores.shape[-1]
        if self.ending == "labels":
            labels = classes_of(scores, from_logits=self.from_logits)
            return ops.cast(labels, "uint8" if channels <= 256 else "int32")
        scores = ops.cast(scores, "float32")
        if self.ending == "scores" or not self.from_logits:
            return scores
        return ops.sigmoid(scores) if channels == 1 else ops.softmax(scores)


def _checksum(model: keras.Model) -> int:
    total = 0
    for weight in model.weights:
        total = zlib.crc32(np.ascontiguousarray(ops.convert_to_numpy(weight)).view("uint8").data, total)
    return total
