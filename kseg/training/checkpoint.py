"""The whole state of a training run in one file: every variable, and how far it has come."""

import json
import os
import pathlib
from typing import Any

import keras
import numpy as np
import safetensors
import safetensors.numpy

from kseg import pretrained


def variables_of(model: keras.Model) -> dict[str, keras.Variable]:
    """Every variable that decides how training goes on.

    `model.variables` holds what `model.weights` and saved files leave out: the states of the random seeds (dropout).
    The optimizer's hold its moments, its step, the averaged weights and a loss scale.

    Args:
        model: A compiled model.

    Returns:
        `{name: variable}`; names are places in Keras's order, the same for every model from one recipe.
    """
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    variables = {f"model/{place}": variable for place, variable in enumerate(model.variables)}
    return variables | {f"optimizer/{place}": variable for place, variable in enumerate(model.optimizer.variables)}


def save(model: keras.Model, path: str | os.PathLike, progress: dict[str, Any]) -> None:
    """Writes the state of a run; the file is replaced whole.

    Args:
        model: A compiled model.
        path: The file.
        progress: What else to remember, JSON types only.

    Raises:
        OSError: The file cannot be written; the one before it stays.
    """
    arrays = {name: _array(variable) for name, variable in variables_of(model).items()}
    pretrained.atomic_write(path, safetensors.numpy.save(arrays, {"progress": json.dumps(progress)}))


def _array(variable: keras.Variable) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable), order="C")  # ascontiguousarray turns () into (1,)


def restore(model: keras.Model, path: str | os.PathLike) -> dict[str, Any]:
    """Puts a run's state back.

    Args:
        model: A compiled model, built from the same recipe.
        path: A file that `save` wrote.

    Returns:
        The `progress` that was handed to `save`.

    Raises:
        ValueError: The file is broken, or of another model; nothing has been assigned then.
    """
    path = pathlib.Path(path)
    variables = variables_of(model)
    try:
        with safetensors.safe_open(os.fspath(path), framework="np") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            progress = json.loads(file.metadata()["progress"])
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is not a whole checkpoint ({error}): delete it to start over") from None
    fits = {name: array.shape for name, array in arrays.items()} == {
        name: tuple(variable.shape) for name, variable in variables.items()
    }
    if not fits:
        raise ValueError(f"{path} is of another model, or of another version of kseg: delete it to start over")
    for name, variable in variables.items():
        variable.assign(arrays[name])
    return progress
