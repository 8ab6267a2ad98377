"""The command `kseg`, one file a group of commands."""

from kseg.cli import datasets, training, weights
from kseg.cli.application import application

__all__ = ["application", "datasets", "main", "training", "weights"]


def main() -> None:
    """Runs the command line."""
    application()
