"""Trains in a process of its own, and kills itself with SIGKILL where it is told to.

python -m tests.training.worker RECIPE.json FOLDER[@checkpoint:N | @renaming:N] ...
"""

import json
import os
import pathlib
import signal
import sys

from kseg.training import Recipe, checkpoint, train
from tests.training import tiny


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def arm(point: str) -> None:
    """Sets the trap: in place of the process's Nth checkpoint, or right after it."""
    kind, left = point.split(":")[0], int(point.split(":")[1])
    original = checkpoint.save

    def save(*arguments):
        nonlocal left
        left -= 1
        if left == 0 and kind == "checkpoint":
            die()
        original(*arguments)
        if left == 0:
            die()

    checkpoint.save = save


if __name__ == "__main__":
    tiny.register()
    recipe = Recipe.from_dict(json.loads(pathlib.Path(sys.argv[1]).read_text("utf-8")))
    for task in sys.argv[2:]:
        folder, _, point = task.partition("@")
        if point:
            arm(point)
        train(recipe, folder, progress=False)
