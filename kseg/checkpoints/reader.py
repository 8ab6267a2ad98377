"""Weight files of PyTorch (both formats) and safetensors, read with NumPy, without running code that they contain."""

import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import safetensors

from kseg.checkpoints import archive, pickle_stream
from kseg.checkpoints.json_file import pointer_fault
from kseg.checkpoints.pickle_guard import BROKEN, Refused, widened


def read(path: str | os.PathLike, part: str = "", *, without: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Reads the tensors of a weight file; the first bytes decide the format.

    Args:
        path: A safetensors file, or a dictionary of tensors written by `torch.save`. Nested dictionaries and lists are
            flattened, their keys joined by dots. Arguments, scores, paths and the like beside the tensors are left out.
        part: The key of the tensors to read, with dots, e.g. `"state_dict_ema"`, where a file holds a model several
            times; it is removed from their names. By default all tensors are read. A prefix that the tensors of one
            model share, such as `module.`, need not be named: `rename` removes it.
        without: Keys of tensors to leave out, with dots, e.g. `["ema"]` if a copy lies beside those of the model. They
            begin below `part`.

    Returns:
        Name -> array, in the order of the file. bfloat16 becomes float32, all other types stay.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is truncated, has another format, contains objects of unknown classes, or no tensor,
            or has none below `part` or below a key of `without`.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp(), "weights.pth")
        >>> _ = file.write_bytes(b"not a checkpoint")
        >>> read(file)
        Traceback (most recent call last):
        ...
        ValueError: weights.pth was refused: it begins neither as a PyTorch file nor as safetensors.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weight file at {path}")
    try:
        return _part(_format(path)(path), part, [without] if isinstance(without, str) else without)
    except Refused as error:
        raise ValueError(f"{path.name} was refused: {error}.") from None
    except (*BROKEN, zipfile.BadZipFile, NotImplementedError, safetensors.SafetensorError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path.name} is truncated or damaged ({reason}).") from None


def _part(arrays: dict[str, np.ndarray], part: str, without: Sequence[str]) -> dict[str, np.ndarray]:
    if not arrays:
        raise Refused("it contains no tensor")
    if part:
        begin = _beginning(arrays, part)
        arrays = {name.removeprefix(begin): array for name, array in arrays.items() if name.startswith(begin)}
    unwanted = tuple(_beginning(arrays, key) for key in without)
    return {name: array for name, array in arrays.items() if not name.startswith(unwanted)}


def _beginning(arrays: dict[str, np.ndarray], key: str) -> str:
    """Returns how the names of the tensors below a key begin.

    Raises:
        Refused: If there are none.
    """
    begin = f"{key.rstrip('.')}."
    if not any(name.startswith(begin) for name in arrays):
        deeper = next((name.partition(f".{begin}")[0] for name in arrays if f".{begin}" in name), None)
        parts = dict.fromkeys(name.partition(".")[0] for name in arrays)
        others = f"{deeper}.{key}" if deeper else ", ".join(list(parts)[:5])
        raise Refused(f"it has no tensor below {key!r}, only below {others}")
    return begin


def _format(path: Path) -> Callable[[Path], dict[str, np.ndarray]]:
    with path.open("rb") as file:
        start = file.read(15)
    if start.startswith(b"PK"):
        return archive.read
    if start[:1] == b"\x80" and start[2:] == pickle_stream.BEGIN:
        return pickle_stream.read
    if start[8:9] == b"{":  # JSON after eight bytes of length
        return _safetensors
    if fault := pointer_fault(start):
        raise Refused(f"it {fault}")
    raise Refused("it begins neither as a PyTorch file nor as safetensors")


def _safetensors(path: Path) -> dict[str, np.ndarray]:
    arrays = {}
    with safetensors.safe_open(os.fspath(path), framework="np") as file:
        for name in file.offset_keys():
            if (dtype := file.get_slice(name).get_dtype()).split("_")[0] in ("F8", "F6", "F4"):
                raise Refused(f"it holds tensors of the type {dtype}, which is not read: convert them, tensor.float()")
            array = file.get_tensor(name)
            # bfloat16 is a type that NumPy alone does not know.
            arrays[name] = widened(array.view("<u2")) if array.dtype.name == "bfloat16" else array
    return arrays
