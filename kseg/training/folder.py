"""The run folder: what a training run leaves on disk, and whose it is."""

import csv
import importlib
import importlib.metadata
import io
import json
import os
import pathlib
import platform
from typing import Any

import keras
import numpy as np
from PIL import Image

import kseg
from kseg import pretrained
from kseg.training.recipe import Recipe

CHECKPOINT = "checkpoint.safetensors"
BEST = "best.safetensors"
CANDIDATE = "candidate.safetensors"


class RunFolder:
    """The folder of one run; every file in it appears whole or not at all.

    Args:
        path: The folder; made if it is not there.
        recipe: The run's recipe.

    Raises:
        ValueError: The folder holds a run of another recipe or backend.
        OSError: The folder cannot be made.
    """

    def __init__(self, path: str | os.PathLike, recipe: Recipe):
        self.path = pathlib.Path(path)
        self.recipe = recipe
        if (self.path / "recipe.json").is_file():
            self._check()
        for leftover in self.path.glob(".*.*.*"):  # written halfway when the run was killed
            leftover.unlink()
        if not (self.path / "recipe.json").is_file():
            self.write("versions.json", json.dumps(versions(), indent=2))
            self.write("recipe.json", recipe.to_json())

    def _check(self) -> None:
        there = Recipe.from_dict(json.loads((self.path / "recipe.json").read_text("utf-8")), source=str(self.path))
        if differences := there.differences(self.recipe):
            more = f" and {len(differences) - 1} more" if len(differences) > 1 else ""
            raise ValueError(f"{self.path} holds a run of another recipe ({differences[0]}{more}): name another folder")
        backend = json.loads((self.path / "versions.json").read_text("utf-8"))["backend"]
        if backend != keras.backend.backend():
            raise ValueError(
                f"{self.path} holds a run on {backend}, this is {keras.backend.backend()}: "
                f"set KERAS_BACKEND={backend} or name another folder"
            )

    def write(self, name: str, text: str) -> None:
        """Writes a text file.

        Args:
            name: The file's name.
            text: Its content.
        """
        pretrained.atomic_write(self.path / name, text.encode())

    def write_table(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Writes a CSV file.

        Args:
            name: The file's name.
            rows: The rows; a column for every key that occurs, in order of appearance.
        """
        columns = list(dict.fromkeys(key for row in rows for key in row))
        text = io.StringIO()
        table = csv.DictWriter(text, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        self.write(name, text.getvalue())

    def write_picture(self, name: str, picture: np.ndarray) -> None:
        """Writes a PNG file.

        Args:
            name: The file's name.
            picture: `(H, W, 3)`, uint8.
        """
        content = io.BytesIO()
        Image.fromarray(picture).save(content, "png")
        pretrained.atomic_write(self.path / name, content.getvalue())

    def result(self) -> dict[str, Any] | None:
        """Returns what the finished run returned, or None while it is unfinished."""
        path = self.path / "result.json"
        return json.loads(path.read_text("utf-8")) if path.is_file() else None


def versions() -> dict[str, Any]:
    """Returns what a run depends on beside its recipe: versions, backend and machine."""
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
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
