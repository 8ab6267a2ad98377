"""What a process needs to know to label images of a run, wherever it runs."""

import dataclasses
import hashlib
import os
import pathlib
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from kseg.inference import Details, Exported, Format, is_exported


@dataclasses.dataclass(frozen=True)
class Item:
    """An image to label.

    Attributes:
        name: The name of its results.
        shown: Its name in tables and messages.
        source: A path, or a `kseg.inference.StoredImage`.
        key: A hash of its names and its content; size and time of change stand for the content of a file.
    """

    name: str
    shown: str
    source: Any
    key: str

    @classmethod
    def of(cls, name: str, shown: str, source: Any) -> "Item":
        """Returns an item with its key."""
        stamp = getattr(source, "stamp", "")
        if isinstance(source, str | os.PathLike) and os.path.exists(source):
            found = os.stat(source)
            stamp = f"{found.st_size} {found.st_mtime_ns}"
        text = "\n".join([name, shown, stamp])
        return cls(name, shown, source, hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32])


@dataclasses.dataclass(frozen=True)
class Job:
    """What all workers of a run share.

    Attributes:
        files: The contents of the files of the model, by their names.
        entry: The name of the file to load; `.` for all files of a folder.
        options: Arguments of `kseg.inference.Predictor`.
        formats: What to write.
        classes: Names of the classes.
        palette: Colors of the classes.
        details: What formats leave out, and in which units they measure.
        out: The place of the results.
        folder: The folder to which relative paths refer.
        batch_size: Largest number of images per batch.
        spread: Number of pixels from which the tiles of an image are left to several workers; 0 for never.
        environment: The version of kseg, and the backend.
        token: What tells this run from all others, also from those with the same options.
    """

    files: Mapping[str, bytes]
    entry: str
    options: Mapping[str, Any]
    formats: tuple[type[Format], ...]
    classes: Sequence[str]
    palette: Sequence[Sequence[int]]
    details: Details
    out: str
    folder: str
    batch_size: int
    spread: int
    environment: tuple[str, str]
    token: str

    def load(self) -> Any:
        """Returns the model."""
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            for name, content in self.files.items():
                path = pathlib.Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            place = os.path.join(folder, "") if self.entry == "." else os.path.join(folder, self.entry)
            if is_exported(place):
                return Exported(place)
            from kseg import zoo  # needs Keras, which exported models do not

            return zoo.load(place)

    def written(self) -> list[Format]:
        """Returns the formats to write."""
        return [kind(self.classes, self.palette, self.details) for kind in self.formats]

    def description(self) -> dict[str, str]:
        """Returns the options that the results depend on; a run is continued by one with the same description."""
        digest = hashlib.sha256()
        for name, content in sorted(self.files.items()):
            digest.update(f"{name} {len(content)}\n".encode())
            digest.update(content)
        version, backend = self.environment
        found = {"model": digest.hexdigest(), "kseg": version, "backend": backend}
        found |= {name: repr(value) for name, value in sorted(self.options.items())}
        found |= {"format": ", ".join(kind.path for kind in self.formats), "batch_size": str(self.batch_size)}
        return found | {name: repr(value) for name, value in dataclasses.asdict(self.details).items()}


def model_files(weights: str) -> tuple[str, dict[str, bytes]]:
    """Returns the name of the file that is loaded, and the contents of all files that belong to a model.

    Raises:
        OSError: If a file cannot be read.
    """
    path = pathlib.Path(weights)
    if not is_exported(weights):
        from kseg import zoo  # needs Keras

        path = pathlib.Path(zoo.locate(weights))
    if path.is_dir():
        files = [each for each in sorted(path.rglob("*") if is_exported(path) else path.glob("*")) if each.is_file()]
        return ".", {each.relative_to(path).as_posix(): each.read_bytes() for each in files}
    beside = [path.with_suffix(".bin")] * (path.suffix == ".xml") + [path.with_name(path.name + ".json")]
    return path.name, {each.name: each.read_bytes() for each in [path, *beside] if each.is_file()}
