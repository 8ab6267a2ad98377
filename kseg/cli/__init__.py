"""The command `kseg`, one file per group of commands."""

from kseg.cli import _datasets, _export, _init, _packing, _weights, comparison, prediction, serving, training  # noqa: F401
from kseg.cli._application import application

__all__ = ["application", "main"]


def main() -> None:
    """Runs the command line."""
    application()
