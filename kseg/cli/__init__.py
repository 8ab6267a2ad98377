"""The command `kseg`, one file a group of commands."""

from kseg.cli import comparison, datasets, prediction, training, weights
from kseg.cli.application import application

__all__ = ["application", "comparison", "datasets", "main", "prediction", "training", "weights"]


def main() -> None:
    """Runs the command line."""
    application()
