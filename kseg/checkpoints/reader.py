"""Weight files of PyTorch (both of its formats) and safetensors, read with NumPy alone and without running anything."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import safetensors

from kseg.checkpoints import archive, pickle_stream
from kseg.checkpoints.pickle_guard import BROKEN, Refused, widened


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Reads the tensors of a weight file, whose format shows in its first bytes.

    Args:
        path: A safetensors file; or a file that `torch.save` wrote, holding a dictionary of tensors: nested
            dictionaries and lists are flattened, their keys joined by dots, and anything but tensors is left out.

    Returns:
        Name -> array, in the order of the file. bfloat16 arrives as float32, every other type as it is.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is truncated, of another format, or asks for anything but tensors and plain containers.

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
        return _format(path)(path)
    except Refused as error:
        raise ValueError(f"{path.name} was refused: {error}.") from None
    except (*BROKEN, zipfile.BadZipFile, NotImplementedError, safetensors.SafetensorError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path.name} is truncated or damaged ({reason}).") from None


def _format(path: Path) -> Callable[[Path], dict[str, np.ndarray]]:
    with path.open("rb") as file:
        start = file.read(9)
    if start.startswith(b"PK"):
        return archive.read
    # Eight bytes of length, then JSON. No pickle has a brace there: PyTorch's begin with a number of ten bytes.
    return _safetensors if start[8:] == b"{" else pickle_stream.read


def _safetensors(path: Path) -> dict[str, np.ndarray]:
    arrays = {}
    with safetensors.safe_open(os.fspath(path), framework="np") as file:
        for name in file.offset_keys():
            array = file.get_tensor(name)
            # bfloat16 comes as a type that NumPy alone does not know.
            arrays[name] = widened(array.view("<u2")) if array.dtype.name == "bfloat16" else array
    return arrays
