"""Images that are no local files: at addresses such as `s3://bucket/photo.jpg`, by fsspec, and in Parquet files."""

import dataclasses
import functools
import glob
import io
import os
import posixpath
from collections.abc import Iterator, Mapping
from typing import Any

from kseg.data import SUFFIXES
from kseg.inference.packages import load_fsspec, load_pyarrow

PARQUET = ".parquet"
COLUMNS = ("image", "path")
"""Columns of Parquet files that hold images: files as bytes, `{"bytes", "path"}`, or paths and addresses."""


@dataclasses.dataclass(frozen=True)
class StoredImage:
    """An image that is read when it is needed, by any process.

    Attributes:
        name: Its name in messages and tables.
        address: Where it is.
        stamp: What changes with its content, such as its size and its time.
    """

    name: str
    address: str
    stamp: str = ""

    def open(self) -> io.BytesIO:
        """Returns its file, with the attribute `name`; raises an OSError if it cannot be read."""
        return _named(self._content(), self.name)

    def _content(self) -> bytes:
        files, path = filesystem(self.address)
        try:
            return files.cat_file(path)
        except FileNotFoundError:
            raise FileNotFoundError(f"no image at {self.name}") from None
        except Exception as error:  # each store has error types of its own
            raise OSError(f"{self.name}: cannot be read ({_reason(error)})") from None


@dataclasses.dataclass(frozen=True)
class StoredRow(StoredImage):
    """An image in a Parquet file, which is the `address`.

    Attributes:
        group: The group of rows.
        row: The row in this group.
        column: The column that holds the image.
    """

    group: int = 0
    row: int = 0
    column: str = ""

    def _content(self) -> bytes:
        value = _column(self.address, self.stamp, self.group, self.column)[self.row].as_py()
        content = value.get("bytes") if isinstance(value, dict) else value
        if content is not None:
            return bytes(content)
        if isinstance(value, dict) and value.get("path"):
            return StoredImage(self.name, beside(self.address, value["path"]))._content()
        raise OSError(f"{self.name}: the row has no image")


@functools.lru_cache(maxsize=1)  # rows are read one after another
def _column(address: str, stamp: str, group: int, column: str) -> Any:
    with _parquet(address) as file:
        return file.read_row_group(group, columns=[column]).column(column)


def filesystem(address: str) -> tuple[Any, str]:
    """Returns the file system of an address or of a local path, and the path in it; errors are one line."""
    fsspec = load_fsspec(address)
    try:
        return fsspec.core.url_to_fs(address)
    except ImportError as error:  # of the package of a store, such as s3fs
        raise ImportError(f"{address}: {error}") from None
    except Exception as error:
        raise ValueError(f"{address} is no address that fsspec can open ({_reason(error)})") from None


def list_stored(place: str) -> tuple[dict[str, Any], list[str]]:
    """Lists the images at an address or in Parquet files.

    Args:
        place: An address of a file, of a folder (without its subfolders) or with a pattern; or a Parquet file, local or
            at an address, or a pattern of them.

    Returns:
        The images by their names, and the addresses of other files of the folder. An image is a `StoredImage`, or the
        path of a local file that a Parquet file names.

    Raises:
        FileNotFoundError: If there are none.
        ImportError: If a package is missing.
        ValueError: If the place cannot be read, or a Parquet file has no column of images.
    """
    found = _listed(place) if "://" in place else dict.fromkeys(sorted(glob.glob(place, recursive=True)), "")
    images: dict[str, Any] = {}
    for address, stamp in found.items():
        if address.lower().endswith(PARQUET):
            images.update(_rows(address, stamp or _stamp(os.stat(address))))
        elif address.lower().endswith(SUFFIXES):
            images[address] = StoredImage(address, address, stamp)
    if not images:
        raise FileNotFoundError(
            f"no images at {place}: name a file, a folder that holds {', '.join(SUFFIXES)}, {PARQUET}, or a pattern "
            "with *"
        )
    return images, [each for each in found if not each.lower().endswith((*SUFFIXES, PARQUET))]


def _listed(place: str) -> dict[str, str]:
    """Returns the addresses of files, and a stamp of each."""
    files, path = filesystem(place)
    try:
        if glob.has_magic(path):
            found = files.glob(path, detail=True).values()
        else:
            found = files.ls(path, detail=True) if files.isdir(path) else [files.info(path)]
    except FileNotFoundError:
        found = []
    except Exception as error:  # each store has error types of its own
        raise ValueError(f"{place} cannot be listed ({_reason(error)})") from None
    chosen = [each for each in found if each["type"] == "file" and posixpath.basename(each["name"])[:1] != "."]
    return {
        files.unstrip_protocol(each["name"]): _stamp(each) for each in sorted(chosen, key=lambda each: each["name"])
    }


def _stamp(info: Any) -> str:
    if isinstance(info, os.stat_result):
        return f"{info.st_size} {info.st_mtime_ns}"
    keys = ("size", "ETag", "etag", "md5Hash", "mtime", "LastModified", "created")
    return " ".join(str(info[key]) for key in keys if info.get(key) is not None)


def beside(address: str, path: str) -> str:
    """Returns a path or an address in a Parquet file, which may be relative to the folder of this file."""
    if "://" in path or os.path.isabs(path):
        return path
    folder = address.rpartition("/")[0] if "://" in address else os.path.dirname(address)
    return f"{folder}/{path}" if folder else path


def _parquet(address: str) -> Any:
    arrow = load_pyarrow(address)
    try:
        files, path = filesystem(address) if "://" in address else (None, address)
        return arrow.parquet.ParquetFile(files.open(path) if files else path)
    except FileNotFoundError:
        raise
    except (OSError, arrow.ArrowException) as error:
        raise ValueError(f"{address} cannot be read as a Parquet file ({_reason(error)})") from None


def _rows(address: str, stamp: str) -> Iterator[tuple[str, Any]]:
    """Yields the names and images of the rows of a Parquet file: names are the paths in it, or numbers."""
    arrow = load_pyarrow(address)
    with _parquet(address) as file:
        fields: Mapping[str, Any] = {each.name: each.type for each in file.schema_arrow}
        if (column := next((name for name in COLUMNS if name in fields), None)) is None:
            raise ValueError(f"{address} has no column {' or '.join(COLUMNS)}, only {', '.join(fields)}: rename one")
        kind = fields[column]
        is_text = arrow.types.is_string(kind) or arrow.types.is_large_string(kind)
        named = column if is_text else "path" if "path" in fields else None
        if arrow.types.is_struct(kind) and any(each.name == "path" for each in kind):
            named = f"{column}.path"
        names: list[str | None] = []
        places = []
        for group in range(file.metadata.num_row_groups):
            count = file.metadata.row_group(group).num_rows
            if named:
                names += file.read_row_group(group, columns=[named]).flatten().column(0).to_pylist()
            else:
                names += [None] * count
            places += [(group, row) for row in range(count)]
    if is_text:
        for path in names:
            if path is None:
                raise ValueError(f"{address} has rows without a path: leave them out")
            full = beside(address, path)
            yield full, StoredImage(full, full) if "://" in full else full
        return
    unique = None not in names and len(set(names)) == len(names)
    for number, (name, (group, row)) in enumerate(zip(names, places, strict=True)):
        shown = f"{address}/{name}" if unique else f"{address}/{number:06d}"
        yield shown, StoredRow(shown, address, stamp, group, row, column)


def _named(content: bytes, name: str) -> io.BytesIO:
    file = io.BytesIO(content)
    file.name = name  # for messages
    return file


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
