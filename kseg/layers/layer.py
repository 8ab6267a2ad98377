"""The class that the layers of kseg share."""

import inspect
from typing import Any

import keras


class ConfiguredLayer(keras.layers.Layer):
    """A layer whose configuration consists of the attributes that have the names of its constructor's arguments."""

    def get_config(self) -> dict[str, Any]:
        kinds = [kind for kind in type(self).__mro__ if issubclass(kind, ConfiguredLayer) and "__init__" in vars(kind)]
        arguments = [each for kind in kinds for each in inspect.signature(kind).parameters.values()]
        names = [each.name for each in arguments if each.kind is not each.VAR_KEYWORD]
        return {**{name: _serialized(getattr(self, name)) for name in names}, **super().get_config()}


def _serialized(option: Any) -> Any:
    if isinstance(option, keras.initializers.Initializer):
        return keras.initializers.serialize(option)
    return keras.activations.serialize(option) if callable(option) else option
