"""The whole state of a training run in one file: every variable under a stable name, and the progress."""

import json
import os
from typing import Any

import keras
import numpy as np
import safetensors
import safetensors.numpy

import kseg
from kseg import pretrained

CURE = "delete it to train from the start, or name another folder"


def variables_of(model: keras.Model) -> dict[str, keras.Variable]:
    """Returns every variable that influences how the training of a compiled model continues, by a stable name.

    Examples are `encoder/conv/kernel`, as in weight files, `encoder/conv/kernel/momentum`, `dropout/seed_1`,
    `optimizer/iteration` and `loss_scale/dynamic_scale`.
    """
    weights = pretrained.weight_keys(model)
    key_of = {id(variable): key for key, variable in weights.items()}
    optimizer = model.optimizer
    inner = getattr(optimizer, "inner_optimizer", optimizer)  # mixed_float16 wraps the optimizer in a loss scale
    if not optimizer.built:
        optimizer.build(model.trainable_variables)
    own = {id(variable) for variable in inner.variables}
    state = weights | _seeds(model, set(key_of))
    for variable in optimizer.variables:
        if id(variable) in inner.slots:
            weight, slot = inner.slots[id(variable)]
            state[f"{key_of[weight]}/{slot}"] = variable
        else:
            state[f"{'optimizer' if id(variable) in own else 'loss_scale'}/{variable.name}"] = variable
    return state


def _seeds(model: keras.Model, weights: set[int], prefix: str = "") -> dict[str, keras.Variable]:
    """The states of random seeds, which `layer.weights` and weight files leave out."""
    found: dict[str, keras.Variable] = {}
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found |= _seeds(layer, weights, f"{prefix}{layer.name}/")
        else:
            seeds = [variable for variable in layer.variables if id(variable) not in weights]
            found |= {f"{prefix}{layer.name}/seed_{place}": seed for place, seed in enumerate(seeds, start=1)}
    return found


def save(model: keras.Model, path: str | os.PathLike, progress: dict[str, Any]) -> None:
    """Writes the state of a run and its `progress` (JSON types only); replaces the file as a whole."""
    # np.ascontiguousarray would turn the shape () into (1,).
    arrays = {
        name: np.asarray(keras.ops.convert_to_numpy(variable), order="C")
        for name, variable in variables_of(model).items()
    }
    header = {"progress": json.dumps(progress), "version": kseg.__version__, **pretrained.order_of(model, arrays)}
    pretrained.atomic_write(path, safetensors.numpy.save(arrays, header))


def restore(model: keras.Model, path: str | os.PathLike) -> dict[str, Any]:
    """Loads the state of a run, which is checked before any variable changes; returns the `progress` of `save`."""
    variables = variables_of(model)
    try:
        with safetensors.safe_open(os.fspath(path), framework="np") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            header = file.metadata() or {}
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is not a complete checkpoint ({error}): {CURE}") from None
    if "progress" not in header:
        raise ValueError(f"{path} is not the checkpoint of a run: move it elsewhere")
    if "version" not in header:
        raise ValueError(f"{path} was written by kseg 0.1, which did not name its tensors: {CURE}")
    progress = _progress(header["progress"])
    if progress is None:
        raise ValueError(f"the progress in {path} is damaged: {CURE}")
    places = pretrained.aligned(model, [*variables], [*arrays], pretrained.read_order(path, header))
    arrays = {name: arrays[given] for name, given in places.items()}
    shapes = {name: tuple(variable.shape) for name, variable in variables.items()}
    faults = [f"it lacks {name}" for name in shapes if name not in arrays]
    faults += [f"it has {name}, which the model lacks" for name in arrays if name not in shapes]
    faults += [
        f"{name} is {array.shape}, the model's is {shapes[name]}"
        for name, array in arrays.items()
        if name in shapes and array.shape != shapes[name]
    ]
    if faults:
        more = f", and {len(faults) - 2} more" if len(faults) > 2 else ""
        raise ValueError(
            f"{path}, written by kseg {header['version']}, belongs to another model "
            f"({'; '.join(faults[:2])}{more}): {CURE}"
        )
    for name, variable in variables.items():
        variable.assign(arrays[name])
    return progress


def _progress(text: str) -> dict[str, Any] | None:
    """Returns the progress in a header; None if it is damaged."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
