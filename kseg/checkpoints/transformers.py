"""Folders of transformers: what each class of models there corresponds to here, and how a folder is read."""

import json
import os
import re
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kseg.checkpoints.json_file import read_object
from kseg.checkpoints.names import Rules, rename, revert
from kseg.checkpoints.processor import PROCESSOR, flips_channels, read_processor
from kseg.checkpoints.reader import read

CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""Names of the weights, the preferred one first; each may be in parts, which `{name}.index.json` lists."""

NO_CLASS = ("background", "unlabeled", "unlabelled", "void", "other")
"""Names of what is left out of the masks if labels are reduced."""


class Config(dict[str, Any]):
    """The fields of `config.json`; what kseg cannot build raises a ValueError that names the field."""

    def __init__(self, fields: Mapping[str, Any], name: str = CONFIG):
        super().__init__(fields)
        self.name = name

    def only(self, field: str, *allowed: Any) -> None:
        """Checks that a field, if it is given, has one of the values that kseg builds."""
        if self.get(field, allowed[0]) not in allowed:
            raise ValueError(
                f"{self.name}: kseg cannot build {field} = {json.dumps(self[field])}, "
                f"only {' or '.join(map(json.dumps, allowed))}"
            )

    def numbers(self, field: str, default: Iterable[float], *, whole: bool = True) -> list[Any]:
        """Returns a list of positive numbers, with as many entries as the default."""
        default = list(default)
        found = self.get(field, default)
        if not isinstance(found, list | tuple) or not all(_is_number(n, whole) and n > 0 for n in found):
            raise ValueError(f"{self.name}: {field} must be a list of positive numbers, got {json.dumps(found)}")
        if len(found) != len(default):
            raise ValueError(f"{self.name}: {field} has {len(found)} entries, kseg builds {len(default)} stages")
        return list(found)

    def number(self, field: str, default: float, *, whole: bool = True) -> Any:
        """Returns a number, which is not negative."""
        found = self.get(field, default)
        if not _is_number(found, whole) or found < 0:
            raise ValueError(f"{self.name}: {field} must be a number, got {json.dumps(found)}")
        return found

    def side(self, field: str, default: int) -> int:
        """Returns a positive number, which may be given as a list of two equal ones."""
        found = self.get(field, default)
        if isinstance(found, list) and len(set(found)) == 1:
            found = found[0]
        if not isinstance(found, int) or found < 1:
            raise ValueError(f"{self.name}: {field} must be a positive whole number, got {json.dumps(found)}")
        return found

    def part(self, field: str) -> "Config":
        """Returns the fields of a configuration inside this one."""
        if not isinstance(found := self.get(field), Mapping):
            raise ValueError(f"{self.name}: {field} must be an object, got {json.dumps(found)}")
        return Config(found, f"{self.name}: {field}")

    def classes(self) -> tuple[int, tuple[str, ...]]:
        """Returns the number of classes and their names; no names if they are transformers' placeholders."""
        labels = self.get("id2label") or {str(index): f"LABEL_{index}" for index in range(self.get("num_labels", 2))}
        try:
            names = {int(index): str(name).strip() for index, name in labels.items()}
        except (AttributeError, ValueError):
            raise ValueError(f"{self.name}: id2label must map class ids to names") from None
        if sorted(names) != list(range(len(names))):
            raise ValueError(f"{self.name}: id2label must have the ids 0 to {len(names) - 1}, got {sorted(names)}")
        listed = [names[index] for index in range(len(names))]
        if all(name == f"LABEL_{index}" for index, name in enumerate(listed)):
            return len(listed), ()
        if len(listed) == 1:  # binary: class 0 has no name
            listed.insert(0, "background")
        unique = [
            name if name and listed.count(name) == 1 else f"{name or 'class'} {index}"
            for index, name in enumerate(listed)
        ]
        return len(names), tuple(unique)


@dataclass(frozen=True)
class Architecture:
    """What a class of models of transformers corresponds to.

    Attributes:
        builder: A builder of `kseg.zoo`.
        arguments: Returns the arguments of the builder, without `num_classes` and `input_shape`, for the fields of
            `config.json` and for the mean and the standard deviation of each channel, from 0 to 255.
        config: Returns the fields, the mean and the standard deviation for all arguments of a model.
        rules: From the modules there to the layers here.
        unused: An expression for the whole names of tensors that prediction does not need; they are not read.
        enlarges: Whether the model there enlarges its scores to the resized image, which SegFormer leaves to the image
            processor.
        encoders: Names of the encoders of the models here, if the builder stands for several classes there; empty for
            all.
        first: Key of the kernel that is applied to the image. It is reversed where the image processor gives the model
            there blue, green, red; images for models here stay red, green, blue. Empty if no processor does so.
        reordered: Changes the arrays here to the order of channels there, or back; None if they have the same order.
        loaded: Changes the renamed tensors to the arrays here; None if they differ by their names only.
        stored: Changes the renamed arrays to the tensors there, for the fields of `config.json`; None likewise.
        processor: The class of image processors that is written.
        meant: The class that a file means which does not name it, by the type of the model; empty for `processor`.
        logarithms: Whether the logits are the logarithms of the scores there, which the image processor averages.
    """

    builder: str
    arguments: Callable[[Config, list[float], list[float]], dict[str, Any]]
    config: Callable[[Mapping[str, Any]], tuple[dict[str, Any], list[float], list[float]]]
    rules: Rules
    unused: str = ""
    enlarges: bool = False
    encoders: Collection[str] = ()
    first: str = ""
    reordered: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]] | None = None
    loaded: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]] | None = None
    stored: Callable[[dict[str, np.ndarray], Mapping[str, Any]], dict[str, np.ndarray]] | None = None
    processor: str = "SegformerImageProcessor"
    meant: str = ""
    logarithms: bool = False

    @property
    def kind(self) -> str:
        """The class of image processors that is read from a file which does not name it."""
        return self.meant or self.processor

    def arrays(self, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Converts the tensors there, `{name: array}`, to the arrays here, `{key: array}`."""
        unused = re.compile(self.unused)
        arrays = rename({name: array for name, array in state.items() if not unused.fullmatch(name)}, self.rules)
        arrays = self.loaded(arrays) if self.loaded else arrays
        return self.reordered(arrays) if self.reordered else arrays

    def tensors(self, arrays: Mapping[str, np.ndarray], fields: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Converts the arrays here to the tensors there, for the fields of `config.json`."""
        state = revert(self.reordered(dict(arrays)) if self.reordered else arrays, self.rules)
        return self.stored(state, fields) if self.stored else state


ARCHITECTURES: dict[str, Architecture] = {}
"""The classes that kseg reads and writes; `kseg.zoo` fills this table."""


def read_config(folder: str | os.PathLike) -> Config:
    """Reads `config.json`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a JSON object.
    """
    path = Path(folder, CONFIG)
    return Config(read_object(path), str(path))


def read_transformers(folder: str | os.PathLike) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Reads a folder that `save_pretrained` of transformers wrote.

    Args:
        folder: The folder, with `config.json`, the weights (`model.safetensors` or `pytorch_model.bin`, whole or in
            parts) and, usually, `preprocessor_config.json`.

    Returns:
        The description of the model, see `describe_transformers`, and `{key: array}`, the arrays of the model of the
        builder.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is damaged, or the configuration has no counterpart in kseg; the message names the field.
    """
    architecture = _architecture(read_config(folder))
    description, arrays = describe_transformers(folder), architecture.arrays(_tensors(Path(folder)))
    if flips_channels(folder, architecture.kind) and architecture.first in arrays:
        arrays[architecture.first] = arrays[architecture.first][:, :, ::-1]
    return description, arrays


def describe_transformers(folder: str | os.PathLike) -> dict[str, Any]:
    """Reads the description of the model in a folder of transformers, without its weights.

    Args:
        folder: As in `read_transformers`.

    Returns:
        The description, with `builder`, `arguments`, `classes` and `processor`.

    Raises:
        FileNotFoundError: If there is no `config.json`.
        ValueError: As in `read_transformers`.
    """
    config = read_config(folder)
    architecture = _architecture(config)
    nested = isinstance(config.get("backbone_config"), Mapping)
    channels = (config.part("backbone_config") if nested else config).number("num_channels", 3)
    mean, std, rule = read_processor(folder, channels, architecture.kind)
    if flips_channels(folder, architecture.kind) and not architecture.first:
        raise ValueError(
            f"{Path(folder, PROCESSOR)}: kseg cannot build do_flip_channel_order = true with {config.name}"
        )
    if "size" in rule:
        rule |= {"enlarged": True} if architecture.enlarges else {}
        rule |= {"logarithms": True} if architecture.logarithms else {}
    num_classes, classes = config.classes()
    if rule.get("reduces_labels") and classes and classes[0].casefold() in NO_CLASS:
        warnings.warn(
            f"{config.name} names class 0 {classes[0]!r}, but do_reduce_labels (of EoMT, ignore_index) in {PROCESSOR} "
            "leaves class 0 of the masks out and lowers the others by 1: the names may belong to the ids above",
            stacklevel=2,
        )
    arguments = {
        "num_classes": num_classes,
        **architecture.arguments(config, mean, std),
        "input_shape": [None, None, channels],
    }
    return {"builder": architecture.builder, "arguments": arguments, "classes": classes, "processor": rule}


def weight_parts(index: Path) -> list[str]:
    """Returns the names of the files that an index of weights in parts lists; a ValueError if it is damaged."""
    parts = read_object(index).get("weight_map")
    if not isinstance(parts, dict) or not all(isinstance(part, str) for part in parts.values()):
        raise ValueError(f"{index} is damaged: it does not list the parts of the weights")
    return sorted({os.path.basename(part) for part in parts.values()})


def _architecture(config: Config) -> Architecture:
    if not ARCHITECTURES:
        raise ValueError(f"{config.name}: kseg.zoo knows the models of transformers: import kseg.zoo first")
    named = config.get("architectures")
    name = named[0] if isinstance(named, list) and named else named
    if name not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise ValueError(f"{config.name}: kseg cannot build architectures = {json.dumps(named)}, only {known}")
    return ARCHITECTURES[name]


def _is_number(value: Any, whole: bool) -> bool:
    return isinstance(value, int) or (isinstance(value, float) and not whole)


def _tensors(folder: Path) -> dict[str, np.ndarray]:
    for name in WEIGHTS:
        if (folder / name).is_file():
            return read(folder / name)
        if (index := folder / f"{name}.index.json").is_file():
            return {key: array for part in weight_parts(index) for key, array in read(folder / part).items()}
    raise FileNotFoundError(f"{folder} has neither {' nor '.join(WEIGHTS)}")
