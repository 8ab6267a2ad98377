"""The command `kseg`, one file a group of commands."""

from kseg.cli import datasets, training
from kseg.cli.application import application

__all__ = ["application", "datasets", "main", "training"]


def main() -> None:
    """Runs the command line."""
    application()
