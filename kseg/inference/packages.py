"""Packages that are needed for data in buckets and in tables."""

from typing import Any


def load_fsspec(place: str) -> Any:
    """Returns the module fsspec, or raises an ImportError with the command that installs it."""
    try:
        import fsspec
    except ImportError as error:
        raise ImportError(f"{place} needs fsspec: pip install 'kseg[scale]' ({error})") from None
    return fsspec


def load_pyarrow(purpose: str) -> Any:
    """Returns the module pyarrow, or raises an ImportError with the command that installs it."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(f"{purpose} needs pyarrow: pip install 'kseg[scale]' ({error})") from None
    return pyarrow
