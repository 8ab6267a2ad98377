"""Trains in a process of its own, and kills it with SIGKILL at a given point.

python -m tests.training.worker RECIPE.json FOLDER[@checkpoint:N | @validation:N | @best:N] ...
"""

import json
import os
import pathlib
import signal
import sys

from kseg.training import Recipe, run, train
from tests.training import tiny

POINTS = {"checkpoint": (run.checkpoint, "save"), "validation": (run, "evaluate"), "best": (run.pretrained, "save")}


def arm(point: str) -> None:
    """Kills the process in place of its Nth checkpoint or validation, or right after the Nth best weights."""
    kind, left = point.split(":")[0], int(point.split(":")[1])
    owner, name = POINTS[kind]
    original = getattr(owner, name)

    def call(*arguments, **options):
        nonlocal left
        left -= 1
        result = original(*arguments, **options) if left or kind == "best" else None
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, call)


if __name__ == "__main__":
    tiny.register()
    recipe = Recipe.from_dict(json.loads(pathlib.Path(sys.argv[1]).read_text("utf-8")))
    for task in sys.argv[2:]:
        folder, _, point = task.partition("@")
        if point:
            arm(point)
        train(recipe, folder, progress=False)
