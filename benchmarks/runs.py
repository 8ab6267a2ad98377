"""Find the runs that a suite still lacks and carry them out in order, each in a process of its own."""

import dataclasses
import functools
import json
import math
import pathlib
import time
from collections.abc import Collection, Iterator
from typing import Any

import keras
import pandas as pd

from benchmarks import leaderboard, machine, tables
from benchmarks.process import ChildError, apart
from benchmarks.suite import Suite
from kseg import data, pretrained, zoo
from kseg.inference import FLIPS
from kseg.progress import Reporter
from kseg.training import Recipe, dataset, evaluate, train

STORED = "model.safetensors"
"""The file of the tested weights in half precision."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of a suite: the name of a model, its recipe with a seed, and its run folder."""

    name: str
    recipe: Recipe
    folder: pathlib.Path

    def state(self, board: pd.DataFrame) -> str:
        """Returns `"done"`, `"missing"`, `"trained, not tested"` or, for example, `"stopped after epoch 3 of 20"`.

        A run is done if the leaderboard has its row, unless it was started again in its folder and not finished.
        """
        log = self.folder / "log.csv"
        if self._has_begun() and not self.is_trained() and log.is_file():
            return f"stopped after epoch {len(pd.read_csv(log))} of {self.recipe.epochs}"
        if not leaderboard.rows_of(board, self.recipe).empty:
            return "done"
        return "trained, not tested" if self._has_begun() and self.is_trained() else "missing"

    def with_seed(self, seed: int) -> "Run":
        """Returns the run of the same model with another seed, in a folder of its own."""
        recipe = self.recipe.model_copy(update={"seed": seed})
        return Run(self.name, recipe, self.folder.with_name(f"{self.name}-seed{seed}"))

    def is_trained(self) -> bool:
        """Returns whether the folder holds a finished run."""
        return (self.folder / "result.json").is_file()

    def _has_begun(self) -> bool:
        path = self.folder / "recipe.json"
        return path.is_file() and Recipe.from_dict(json.loads(path.read_text("utf-8"))).hash() == self.recipe.hash()


def folder_of(suite: Suite, out: pathlib.Path) -> pathlib.Path:
    """Returns the folder of a suite's runs; the folder of the CPU budget, the oldest one, lacks the budget's name."""
    return out / (suite.title if suite.budget in ("", "cpu") else f"{suite.title}-{suite.budget}")


def queue(suite: Suite, folder: pathlib.Path, board: pd.DataFrame, failed: Collection[str] = ()) -> Iterator[Run]:
    """Lists a suite's runs in order, done or not: every model, then more seeds of those that the suite repeats, and of
    the best on the validation split.

    The best are known once every model has its row in `board`. Models that failed are left out.
    """
    first = [Run(name, recipe, folder / name) for name, recipe in suite.recipes.items() if name not in failed]
    yield from first
    repeated = [run.with_seed(seed) for run in first for seed in suite.repeated.get(run.name, ())]
    yield from repeated
    if not suite.seeds or any(run.state(board) != "done" for run in first):
        return
    reached = {run.name: leaderboard.rows_of(board, run.recipe)["val_miou"].fillna(-1).max() for run in first}
    ranking = [run for run in first if leaderboard.pretraining(run.recipe) in tables.RANKED]
    for run in sorted(ranking, key=lambda run: -reached[run.name])[: suite.best]:
        yield from (more for seed in suite.seeds if (more := run.with_seed(seed)) not in repeated)


def missing(suite: Suite, folder: pathlib.Path, path: pathlib.Path, failed: Collection[str] = ()) -> Iterator[Run]:
    """Lists the runs of `queue` that are not done; `path` is the leaderboard's file."""
    board = leaderboard.read(path)
    return (run for run in queue(suite, folder, board, failed) if run.state(board) != "done")


def work(
    suite: Suite,
    folder: pathlib.Path,
    path: pathlib.Path,
    *,
    data_root: str | None = None,
    until: float = math.inf,
) -> None:
    """Trains, tests and records what is missing, one run after another, until all is done or `time.time()` is `until`.

    A run that another suite has recorded in the same folder of leaderboards, with the same recipe, backend and device,
    is not repeated: its row is copied. Every call makes progress, however short its time: it always finishes one piece
    of work, an epoch or a test. A run that fails is reported and left out until the next call; a ValueError names these
    runs once all others are done.
    """
    say = Reporter().line
    say(f"{suite.title}: budget {suite.budget or 'none'}, {keras.backend.backend()} on {machine.device()}")
    if not machine.current_commit():
        say("the rows will lack a commit: this is not a git checkout; set the environment variable KSEG_COMMIT")
    failed: list[str] = []
    first = True
    while run := next(missing(suite, folder, path, failed), None):
        begun = run.state(leaderboard.read(path)) != "missing"
        if not begun and (row := leaderboard.row_elsewhere(path, run.recipe, suite.split)):
            say(f"{run.name}: the same run as {row['name']} of the suite {row['suite']}, whose row is copied")
            leaderboard.add(path, row | {"suite": suite.title, "name": run.name})
            continue
        dataset(run.recipe, suite.split, data_root)  # a missing data set is an error of all runs
        try:
            apart(carry_out, suite, run, path, data_root, until, first)
        except ChildError as error:
            failed.append(run.name)
            say(f"{run.name}: FAILED, {error}")
        else:
            if run.state(leaderboard.read(path)) != "done":
                return  # no time is left, as the process has printed
        first = False
    if failed:
        raise ValueError(f"{suite.title}: {', '.join(failed)} failed, all else is done; see above for the reason")


def carry_out(suite: Suite, run: Run, path: pathlib.Path, data_root: str | None, until: float, first: bool) -> None:
    """Trains and tests one run, as far as the time allows, and adds its row to the leaderboard.

    The run's folder keeps the tested weights, and a copy of them in half precision, `STORED`. If this is the `first`
    run of a call, one piece of its work is done even if there is no time for it.
    """
    say = Reporter().line
    left = max(until - time.time(), 0.0)
    if not first and left < (needed := _seconds_to_first_epoch(run.folder.parent)):
        say(f"{run.name}: not begun, {left:.0f} s are left, its first epoch ends after {needed:.0f} s")
        return
    say(f"-- {run.name}, seed {run.recipe.seed}")
    commit = run.folder / "commit.txt"
    if not commit.is_file():
        pretrained.atomic_write(commit, machine.current_commit().encode())
    test = dataset(run.recipe, suite.split, data_root)
    first = first and run.is_trained()
    minutes = None if until == math.inf else left / 60
    result = train(run.recipe, run.folder, data_root=data_root, minutes=minutes)
    if not result["finished"]:
        say(f"{run.name}: stopped after epoch {result['epochs']} of {run.recipe.epochs}; the same command resumes it")
        return
    if not first and time.time() + _seconds_to_test(suite, result, test) > until:
        say(f"{run.name}: trained; the same command tests it")
        return
    weights = run.folder / result["weights"]
    model = zoo.load(weights)
    scores = evaluate(model, test, batch_size=run.recipe.data.batch_size, reporter=Reporter())
    averaged = leaderboard.test_time_miou(model, test, **suite.test_time) if suite.test_time else None
    pretrained.save(model, run.folder / STORED, dtype="float16", **pretrained.describe(weights))
    predict, cost = model.predict_on_batch, functools.partial(leaderboard.cost, model)
    row = leaderboard.row(
        suite, run.name, run.recipe, result, scores, averaged, test, weights, commit.read_text(), predict, cost
    )
    leaderboard.add(path, row)
    more = "" if averaged is None else f", {averaged:.4f} with flips and scales"
    say(f"{run.name}: {suite.split} mIoU {scores['miou']:.4f}{more}, pixel accuracy {scores['pixel_accuracy']:.4f}")


def _seconds_to_first_epoch(folder: pathlib.Path) -> float:
    """Returns the longest time that the first epoch took in a finished run of this suite."""
    results = [json.loads(path.read_text("utf-8")) for path in folder.glob("*/result.json")]
    return max((result.get("beginning") or 0.0 for result in results), default=0.0)


def _seconds_to_test(suite: Suite, result: dict[str, Any], test: data.Dataset) -> float:
    """Estimates the time of the test from the validation's time per image and the compilation in the first epoch."""
    validation = result["scores"]
    if not validation:
        return 0.0
    passes = 1.0
    if suite.test_time:
        flips = len(FLIPS[suite.test_time.get("flip", False)])
        passes += flips * sum(scale**2 for scale in suite.test_time.get("scales", (1.0,)))
    return (result.get("beginning") or 0.0) + passes * validation["seconds"] / validation["images"] * len(test)
