"""The class that the layers of kseg share."""

from typing import Any, ClassVar

import keras


class ConfiguredLayer(keras.layers.Layer):
    """A layer whose configuration consists of its attributes named in `OPTIONS`, the arguments of the constructor."""

    OPTIONS: ClassVar[tuple[str, ...]] = ()

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **{name: _serialized(getattr(self, name)) for name in self.OPTIONS}}


def _serialized(option: Any) -> Any:
    if isinstance(option, keras.initializers.Initializer):
        return keras.initializers.serialize(option)
    return keras.activations.serialize(option) if callable(option) else option
