"""The keys of weight files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


def weight_keys(model: keras.Model) -> dict[str, keras.Variable]:
    """Returns all variables of a model by paths that are unique and stable, the keys of weight files.

    Keras's own `variable.path` lacks the names of sub-models, so that it may occur twice.

    Args:
        model: A functional model, with or without sub-models.

    Returns:
        `{path: variable}` in the order of the model, e.g. `"encoder/stem/conv/kernel"`.

    Raises:
        ValueError: If two variables have the same path.

    Example:
        >>> import keras
        >>> image = keras.Input((8, 8, 3))
        >>> list(weight_keys(keras.Model(image, keras.layers.Conv2D(2, 1, name="score")(image))))
        ['score/kernel', 'score/bias']
    """
    keys: dict[str, keras.Variable] = {}
    for path, variable in _walk(model):
        if path in keys:
            raise ValueError(f"two variables of {model.name!r} have the path {path!r}: name their layers differently")
        keys[path] = variable
    return keys


def _walk(model: keras.Model) -> Iterator[tuple[str, keras.Variable]]:
    import keras

    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from ((f"{layer.name}/{path}", variable) for path, variable in _walk(layer))
        else:
            yield from ((variable.path, variable) for variable in layer.weights)
