"""Training on several devices and hosts: data parallelism on the engines of JAX, TensorFlow and PyTorch.

Every process runs the same program on its part of each batch. Process 0 alone writes into the run folder.
"""

import contextlib
import os
import pathlib
import sys
import tempfile
from collections.abc import Iterator, Sequence

import keras

from kseg import layers, zoo
from kseg.training.folder import FILES
from kseg.training.groups import Alone, OnJax, OnTensorFlow, OnTorch, checked
from kseg.training.hosts import is_in_torchrun, place_of, torchrun
from kseg.training.recipe import Recipe
from kseg.training.watch import Watch


def synchronize(model: keras.Model) -> None:
    """Makes batch normalization use the moments of the whole batch.

    Raises:
        ValueError: If a layer of Keras on PyTorch cannot.
    """
    backend = keras.backend.backend()
    for part in zoo.layers_of(model):
        if isinstance(part, keras.layers.BatchNormalization) and part.trainable:
            part.synchronized = backend == "tensorflow"
            if backend == "torch" and not isinstance(part, layers.BatchNormalization):
                raise ValueError(
                    f"{part.path} sees only the images of one process: build the encoder with "
                    "kseg.layers.BatchNormalization, or train on JAX"
                )


@contextlib.contextmanager
def joined(recipe: Recipe) -> Iterator[Alone]:
    """Joins the processes that train a recipe together, in the block.

    Yields:
        The group of this process.

    Raises:
        TimeoutError: If the other processes do not appear.
        ValueError: If the backend or the devices cannot do what `[distribution]` asks for, or the batch cannot be
            divided among them.
    """
    section = recipe.distribution
    place = place_of(section.hosts, section.processes, section.process)
    if place is None and section.devices in (None, 1):
        _check_parts(recipe, 1)
        yield Alone()
        return
    backend = keras.backend.backend()
    kind = {"jax": OnJax, "tensorflow": OnTensorFlow, "torch": OnTorch}[backend]
    with contextlib.ExitStack() as stack:
        watch = stack.enter_context(Watch(place)) if place is not None and backend != "tensorflow" else None
        group = kind(section.devices, place)
        group.watch = watch
        stack.callback(group.leave)
        _check_parts(recipe, group.processes * group.devices)
        if backend != "jax" and recipe.precision == "mixed_float16":
            raise ValueError("precision mixed_float16 trains on several devices only on JAX: choose mixed_bfloat16")
        if backend == "tensorflow" and recipe.optimizer.accumulate > 1:
            raise ValueError("accumulate works on several devices only on JAX and PyTorch: leave it out")
        yield group


def start_processes(recipe: Recipe, command: Sequence[str]) -> int:
    """Replaces this process by one per device, if the backend is PyTorch and the recipe asks for several devices.

    Args:
        recipe: The recipe.
        command: Python and its arguments, which each of these processes runs under torchrun.

    Returns:
        The number of this process, from 0, if it is not replaced.
    """
    section = recipe.distribution
    if keras.backend.backend() == "torch" and (section.devices or 1) > 1 and not is_in_torchrun(os.environ):
        launcher = torchrun(section.devices or 1, section.hosts, section.processes, section.process)
        import torch

        if torch.cuda.is_available():
            checked(section.devices, torch.cuda.device_count())
        threads = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))
        os.environ["OMP_NUM_THREADS"] = str(max(1, threads // (section.devices or 1)))
        sys.stdout.flush()
        os.execv(command[0], [command[0], *launcher, *command[1:]])
    place = place_of(section.hosts, section.processes, section.process)
    return 0 if place is None else place.process


@contextlib.contextmanager
def folder_of(group: Alone, folder: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Yields the run folder in process 0, and in the others a temporary copy of what it contains."""
    with contextlib.ExitStack() as stack:
        path = pathlib.Path(folder)
        if group.process:
            path = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
            if group.watch is not None:
                group.watch.scratch = path
        if group.processes > 1:
            for name in FILES:
                file = path / name
                content = group.send(file.read_bytes() if not group.process and file.is_file() else b"")
                if group.process and content:
                    file.write_bytes(content)
        yield path


def _check_parts(recipe: Recipe, devices: int) -> None:
    size, parts = recipe.data.batch_size, recipe.optimizer.accumulate
    if size % (devices * parts):
        terms = [f"{devices} devices"] * (devices > 1) + [f"accumulate = {parts}"] * (parts > 1)
        raise ValueError(f"batch_size = {size} cannot be divided by {' times '.join(terms)}: choose a multiple")
