"""JSON files beside weights."""

import json
import os
from pathlib import Path
from typing import Any


def pointer_fault(start: bytes) -> str | None:
    """Returns what is wrong with a file that begins so if Git LFS has left it in the place of another one.

    Example:
        >>> pointer_fault(b"version https://git-lfs.github.com/spec/v1")
        'is a pointer of Git LFS, not the file itself: run git lfs pull'
    """
    is_pointer = start.startswith(b"version https:/")
    return "is a pointer of Git LFS, not the file itself: run git lfs pull" if is_pointer else None


def read_object(path: str | os.PathLike) -> dict[str, Any]:
    """Reads a file that holds a JSON object.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds something else.
    """
    content = Path(path).read_bytes()
    if fault := pointer_fault(content):
        raise ValueError(f"{path} {fault}")
    try:
        found = json.loads(content)
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error})") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path} is damaged (it is not a JSON object)")
    return found
