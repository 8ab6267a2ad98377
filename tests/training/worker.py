"""Trains in a process of its own, and kills itself with SIGKILL where it is told to.

python -m tests.training.worker RECIPE.json FOLDER[@step:N | @checkpoint:N | @renaming:N] ...
"""

import json
import os
import pathlib
import signal
import sys

from kseg.training import Recipe, checkpoint, run, train
from tests.training import tiny


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def arm(point: str) -> None:
    """Sets the trap: after a number of steps, before a checkpoint is written, or right after."""
    kind, place = point.split(":")
    left = int(place)

    def counted(original):
        def call(*arguments, **options):
            nonlocal left
            left -= 1
            if left == 0:
                if kind == "renaming":
                    original(*arguments, **options)
                die()
            return original(*arguments, **options)

        return call

    if kind == "step":
        run._Epochs.on_train_batch_end = counted(run._Epochs.on_train_batch_end)
    else:
        checkpoint.save = counted(checkpoint.save)


if __name__ == "__main__":
    tiny.register()
    recipe = Recipe.from_dict(json.loads(pathlib.Path(sys.argv[1]).read_text("utf-8")))
    for task in sys.argv[2:]:
        folder, _, point = task.partition("@")
        if point:
            arm(point)
        train(recipe, folder, progress=False)
