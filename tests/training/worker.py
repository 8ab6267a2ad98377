"""A process that trains the builder `tiny`: `python -m tests.training.worker RECIPE.json FOLDER [EPOCH]`.

With EPOCH, it kills itself after the checkpoint of that epoch.
"""

import json
import os
import pathlib
import signal
import sys

from kseg import zoo
from kseg.training import Recipe, run, train
from tests.training import tiny


def main(recipe, folder, epoch=None):
    zoo.BUILDERS["tiny"] = tiny.tiny
    if epoch is not None:
        keep = run.Run._checkpoint

        def checkpoint(self):
            keep(self)
            if len(self.rows) == int(epoch):
                os.kill(os.getpid(), signal.SIGKILL)

        run.Run._checkpoint = checkpoint
    train(Recipe.from_dict(json.loads(pathlib.Path(recipe).read_text())), folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
