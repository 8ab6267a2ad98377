"""The run folder: the files that a training run writes, and the checks of what is already there."""

import contextlib
import csv
import importlib
import importlib.metadata
import io
import json
import os
import pathlib
import platform
import re
from collections.abc import Mapping
from typing import Any, Self

import keras
import numpy as np
from PIL import Image

import kseg
from kseg import pretrained
from kseg.lock import held
from kseg.training.recipe import Recipe

CHECKPOINT = "checkpoint.safetensors"
BEST = "best.safetensors"
RECIPE, VERSIONS, DATA, RESULT = "recipe.json", "versions.json", "data.json", "result.json"
FILES = (
    RECIPE, VERSIONS, DATA, RESULT, CHECKPOINT, BEST,
    "log.csv", "confusion.csv", "confusion.png", "curves.png", "predictions.png",
)  # fmt: skip
"""Names of the files that a run writes."""
LEFTOVER = re.compile(rf"\.({'|'.join(map(re.escape, FILES))})\.kseg-[0-9a-f]{{16}}")
"""The name of a temporary file that an interrupted `pretrained.atomic_write` of one of these files leaves behind."""
Split = list[list[Any]]
"""One `[name, bytes of the image file, bytes of the mask file]` per image, in the order of the split."""


class RunFolder:
    """The folder of one run. In a `with` block, which creates it, this process is the only one that trains in it.

    Every file is written under a temporary name and renamed, so that it is either complete or absent. A folder with a
    run of another recipe or backend, or with files that no run wrote, is refused with a ValueError.
    """

    def __init__(self, path: str | os.PathLike, recipe: Recipe):
        self.path = pathlib.Path(path)
        self.recipe = recipe
        self._check()

    def __enter__(self) -> Self:
        self.path.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            busy = f"another process trains in {self.path}: wait for it, or name another folder"
            stack.enter_context(held(self.path, busy))
            self._check()  # again: another process may have begun since
            for file in self.path.iterdir():
                if LEFTOVER.fullmatch(file.name) and file.is_file() and not file.is_symlink():
                    file.unlink()
            if not self._trained():
                self.write(VERSIONS, json.dumps(versions(), indent=2))
                self.write(RECIPE, self.recipe.to_json())
            self._lock = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()

    def _check(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"{self.path} is a file: name a folder for the run")
        content = self._read(RECIPE) if (self.path / RECIPE).exists() else None
        # versions.json is written first: it is alone where the first start was killed at once.
        backend = self._read(VERSIONS).get("backend") if content is not None or (self.path / VERSIONS).exists() else ""
        if backend is None:
            raise ValueError(f"{self.path / VERSIONS} is not a file that a run wrote: name another folder")
        if content is None:
            if foreign := [name for name in FILES if name != VERSIONS and (self.path / name).exists()]:
                raise ValueError(f"{self.path} holds {foreign[0]} but no {RECIPE} of a run: name another folder")
            return
        try:
            there = Recipe.from_dict(content, source=str(self.path / RECIPE))
        except ValueError as error:
            raise ValueError(f"{error}; if no run wrote this file, name another folder") from None
        if not self._trained():  # an earlier start failed before its first checkpoint
            return
        if differences := there.differences(self.recipe):
            change = _first(differences, 1)
            raise ValueError(
                f"{self.path} holds a run of another recipe ({change}): name another folder{self._start()}"
            )
        if backend != keras.backend.backend():
            raise ValueError(
                f"{self.path} holds a run on {backend}, this is {keras.backend.backend()}: "
                f"set KERAS_BACKEND={backend} or name another folder"
            )

    def _trained(self) -> bool:
        return any((self.path / name).is_file() for name in (CHECKPOINT, RESULT))

    def other_versions(self) -> str:
        """Lists the packages whose versions have changed since the first start, as `"keras 3.14.0 -> 3.15.1"`."""
        before = self._read(VERSIONS)
        machine = ("platform", "processors")
        changed = {name: now for name, now in versions().items() if name not in machine and now != before.get(name)}
        return ", ".join(f"{name} {before.get(name)} -> {now}" for name, now in changed.items())

    def _start(self) -> str:
        """The end of an error message: how a run in another folder takes over the weights of this one."""
        best = self.path / BEST
        return f', with start = "{best.as_posix()}" in [model] to continue from its weights' if best.is_file() else ""

    def _read(self, name: str) -> dict[str, Any]:
        path = self.path / name
        try:
            content = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            raise ValueError(f"{path} is missing: put it back, or name another folder") from None
        except ValueError:
            content = None
        if not isinstance(content, dict):
            cure = "delete it, then repeat the command" if name == RESULT else "name another folder"
            raise ValueError(f"{path} is not a file that a run wrote: {cure}")
        return content

    def check_data(self, splits: Mapping[str, Split]) -> None:
        """Records the data at the first start; later, raises a ValueError if they have changed since."""
        current = {name: [list(image) for image in images] for name, images in splits.items()}
        if not self._trained():
            self.write(DATA, json.dumps(current))
        elif (self.path / DATA).is_file():
            before = self._read(DATA)
            for name, images in current.items():
                if change := _change(before.get(name, []), images):
                    raise ValueError(
                        f"{self.path} was trained on other data ({name}: {change}): "
                        f"put them back, or name another folder{self._start()}"
                    )

    def write(self, name: str, text: str) -> None:
        """Writes a text file."""
        pretrained.atomic_write(self.path / name, text.encode())

    def write_table(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Writes a CSV file with one column for every key, in order of first appearance."""
        columns = list(dict.fromkeys(key for row in rows for key in row))
        text = io.StringIO()
        table = csv.DictWriter(text, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        self.write(name, text.getvalue())

    def write_picture(self, name: str, picture: np.ndarray) -> None:
        """Writes a picture, uint8 `(H, W, 3)`, as a PNG file."""
        content = io.BytesIO()
        Image.fromarray(picture).save(content, "png")
        pretrained.atomic_write(self.path / name, content.getvalue())

    def best_epoch(self) -> int | None:
        """Returns the epoch, from 1, whose weights `best.safetensors` holds, or None if the file is missing."""
        path = self.path / BEST
        if not path.is_file():
            return None
        try:
            notes = pretrained.describe(path)
        except ValueError:
            raise ValueError(f"{path} is damaged: delete it, then repeat the command") from None
        if notes.get("recipe") != self.recipe.hash() or "epoch" not in notes:
            raise ValueError(f"{path} was not written by this run: move it elsewhere")
        return notes["epoch"]

    def result(self) -> dict[str, Any] | None:
        """Returns what the finished run returned, or None while it is unfinished or its weights have to be restored."""
        path = self.path / RESULT
        if not path.is_file():
            return None
        result = self._read(RESULT)
        if result.get("recipe") != self.recipe.hash() or not result.get("finished"):
            raise ValueError(f"{path} is not the result of this run: delete it, then repeat the command")
        kept, wanted = self.best_epoch(), result.get("epoch")
        if kept == wanted:
            return result
        if not (self.path / CHECKPOINT).is_file():
            state = "is missing" if kept is None else f"holds epoch {kept}"
            raise ValueError(
                f"{self.path} is finished, but its {BEST} {state}: put back the file of epoch {wanted}, or delete "
                f"{RESULT} to train again"
            )
        return None


def _change(before: Split, now: Split) -> str | None:
    """Describes how a split differs from an earlier state of it, or returns None if it does not."""
    if before == now:
        return None
    old, new = ({image[0]: image[1:] for image in split} for split in (before, now))
    found = [f"{len(before)} -> {len(now)} images"] if len(before) != len(now) else []
    changes = {
        "new": [name for name in new if name not in old],
        "gone": [name for name in old if name not in new],
        "other size": [name for name in new if name in old and new[name] != old[name]],
    }
    found += [f"{change}: {_first(names, 3)}" for change, names in changes.items() if names]
    return "; ".join(found or ["another order"])


def _first(items: list[str], count: int) -> str:
    return ", ".join(items[:count]) + (f" and {len(items) - count} more" if len(items) > count else "")


def versions() -> dict[str, Any]:
    """Returns what a run depends on besides its recipe: package versions, backend and machine."""
    backend = keras.backend.backend()
    packages = ("keras", "numpy", "albumentations", "grain")
    return {
        "kseg": kseg.__version__,
        "backend": backend,
        backend: importlib.import_module(backend).__version__,
        **{name: _version(name) for name in packages},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
    }


def _version(package: str) -> str | None:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(package)
    return None
