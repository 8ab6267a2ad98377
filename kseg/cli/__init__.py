"""The command `kseg`, one file per group of commands."""

from kseg.cli import (  # noqa: F401
    _datasets,
    _export,
    _init,
    _packing,
    _weights,
    comparison,
    demonstration,
    prediction,
    serving,
    training,
)
from kseg.cli._application import application

__all__ = ["application", "main"]


def main() -> None:
    """Runs the command line."""
    application()
