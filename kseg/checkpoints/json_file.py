"""JSON files beside weights."""

import json
import os
from pathlib import Path
from typing import Any

POINTER = "version https://git-lfs"
"""How a file begins that Git LFS has left in the place of another one."""
FETCH = "is a pointer of Git LFS, not the file itself: run git lfs pull"


def read_object(path: str | os.PathLike) -> dict[str, Any]:
    """Reads a file that holds a JSON object.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds something else.
    """
    content = Path(path).read_bytes()
    if content.startswith(POINTER.encode()):
        raise ValueError(f"{path} {FETCH}")
    try:
        found = json.loads(content)
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error})") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path} is damaged (it is not a JSON object)")
    return found
