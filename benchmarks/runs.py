"""The runs that a suite still lacks, and carrying them out in order, in the time there is."""

import dataclasses
import gc
import json
import math
import pathlib
import time
import traceback
from collections.abc import Callable, Collection, Iterator

import keras
import pandas as pd

from benchmarks import leaderboard, machine, tables
from benchmarks.release import FILE
from benchmarks.suite import Suite
from kseg import data, pretrained, zoo
from kseg.inference import FLIPS
from kseg.training import Recipe, Reporter, dataset, evaluate, train


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of a suite: a model and a seed.

    Args:
        name: The model's name, as in the leaderboard.
        recipe: Its recipe.
        folder: Where it is trained.
    """

    name: str
    recipe: Recipe
    folder: pathlib.Path

    def state(self, rows: pd.DataFrame, title: str) -> str:
        """Says how far the run is: `"done"`, `"missing"`, `"trained, not tested"` or `"stopped after epoch 3"`.

        What `rows` returns counts. A folder in which such a run was begun anew and not finished goes before its row.

        Args:
            rows: The leaderboard.
            title: The suite's.

        Returns:
            The state.
        """
        finished = (self.folder / "result.json").is_file()
        log = self.folder / "log.csv"
        if self._is_mine() and not finished and log.is_file():
            return f"stopped after epoch {len(pd.read_csv(log))} of {self.recipe.epochs}"
        if not self.rows(rows, title).empty:
            return "done"
        return "trained, not tested" if self._is_mine() and finished else "missing"

    def rows(self, board: pd.DataFrame, title: str) -> pd.DataFrame:
        """Returns the run's rows: of its recipe, on this backend and this kind of device: any GPU, or these cores.

        Args:
            board: The leaderboard.
            title: The suite's.

        Returns:
            At most one row a device.
        """
        if board.empty:
            return board
        same = {"suite": title, "name": self.name, "recipe": self.recipe.hash(), "backend": keras.backend.backend()}
        mine = board[(board[list(same)] == pd.Series(same)).all(axis=1)]
        return mine[mine["device"].map(kind) == kind(machine.device())]

    def _is_mine(self) -> bool:
        path = self.folder / "recipe.json"
        return path.is_file() and Recipe.from_dict(json.loads(path.read_text("utf-8"))).hash() == self.recipe.hash()


def kind(device: str) -> str:
    """Rows of two devices of a kind are the same run's: one of any GPU, or of these cores."""
    return device if device.startswith("CPU") else "GPU"


def folder_of(suite: Suite, out: pathlib.Path) -> pathlib.Path:
    """Returns where a suite's runs lie; those on the CPU's budget, which is older than the others, without its name."""
    return out / (suite.title if suite.budget in ("", "cpu") else f"{suite.title}-{suite.budget}")


def queue(suite: Suite, folder: pathlib.Path, rows: pd.DataFrame, failed: Collection[str] = ()) -> Iterator[Run]:
    """Lists a suite's runs in order: every model, then more seeds of those that are the best on the validation split.

    Args:
        suite: The suite.
        folder: What `folder_of` returned.
        rows: The leaderboard; the best are known once every model has its row.
        failed: Names of models that cannot be trained here and that nothing waits for.

    Yields:
        All other runs, done or not.
    """
    first = [Run(name, recipe, folder / name) for name, recipe in suite.recipes.items() if name not in failed]
    yield from first
    if not suite.seeds or any(run.state(rows, suite.title) != "done" for run in first):
        return
    reached = {run.name: run.rows(rows, suite.title)["val_miou"].fillna(-1).max() for run in first}
    ranking = [run for run in first if leaderboard.pretraining(run.recipe) in tables.RANKED]
    for run in sorted(ranking, key=lambda run: -reached[run.name])[: suite.best]:
        for seed in suite.seeds:
            seeded = run.recipe.model_copy(update={"seed": seed})
            yield Run(run.name, seeded, folder / f"{run.name}-seed{seed}")


def work(
    suite: Suite,
    folder: pathlib.Path,
    board: pathlib.Path,
    *,
    data_root: str | None = None,
    minutes: float | None = None,
    worked: bool = False,
    failed: Collection[str] = (),
    afresh: Callable[[float | None, Collection[str]], None] = lambda minutes, failed: None,
) -> None:
    """Trains, tests and records what is missing, one run after another, until all is done or the time is up.

    A run's folder keeps the weights that were tested, and beside them `model.safetensors`, the same in float16.

    Each start gets further, however short its time: the first piece of work, an epoch or a test, is always done. A
    model that fails is told and left out until the next start.

    Args:
        suite: The suite.
        folder: What `folder_of` returned.
        board: The leaderboard's file.
        data_root: As in `kseg.training.train`.
        minutes: The time for all of it; None for no end.
        worked: Whether this start has done a piece of work already.
        failed: Names of models that this start has seen fail already.
        afresh: Called between two runs with the minutes left and the names of what failed; it may go on in a new
            process, which is the only way to give back all memory.

    Raises:
        ValueError: Models failed; all else was tried before.
    """
    until = math.inf if minutes is None else time.perf_counter() + 60 * minutes
    say = Reporter().line
    failed = list(failed)
    if not worked and not failed:
        say(f"{suite.title}: budget {suite.budget or 'none'}, {keras.backend.backend()} on {machine.device()}")
        if not machine.current_commit():
            say("rows will not tell their commit: this is no checkout with git; KSEG_COMMIT can tell it")
    for name in _adopt(suite, board):
        say(f"{name}: a run of {suite.extends}, whose row is taken over")
    while run := next(_missing(suite, folder, board, failed), None):
        left = max(until - time.perf_counter(), 0.0)
        if worked and left < (needed := _beginning(folder)):
            say(f"{run.name}: not begun, {left:.0f} s are left, it takes {needed:.0f} to its first epoch")
            return
        say(f"-- {run.name}, seed {run.recipe.seed}")
        began = run.folder / "commit.txt"
        if not began.is_file():
            pretrained.atomic_write(began, machine.current_commit().encode())
        test = dataset(run.recipe, "test", data_root)  # a data set that is not there stops them all
        trained = (run.folder / "result.json").is_file()
        given = None if minutes is None else left / 60
        try:
            result = train(run.recipe, run.folder, data_root=data_root, minutes=given)
            worked = worked or not trained
            if not result["finished"]:
                epochs = f"{result['epochs']} of {run.recipe.epochs}"
                say(f"{run.name}: stopped after epoch {epochs}; the same command goes on")
                return
            if worked and time.perf_counter() + _test_seconds(suite, result, test) > until:
                say(f"{run.name}: trained; the same command tests it")
                return
            say(_record(suite, run, result, test, board))
        except Exception as error:  # whatever it is, the models after it are to be trained too
            failed.append(run.name)
            say(f"{run.name}: FAILED, {type(error).__name__}: {error}")
            say(traceback.format_exc(limit=-3))
        worked = True
        if next(_missing(suite, folder, board, failed), None):
            afresh(None if minutes is None else max(until - time.perf_counter(), 0) / 60, failed)
            keras.utils.clear_session()
            gc.collect()
    if failed:
        raise ValueError(f"{suite.title}: {', '.join(failed)} failed, all else is done; see above for why")


def _adopt(suite: Suite, board: pathlib.Path) -> list[str]:
    """Takes over the rows that the suite it extends has of its recipes, under its own names, and tells these names."""
    theirs = leaderboard.read(board.with_name(f"{suite.extends}.csv")) if suite.extends else pd.DataFrame()
    if theirs.empty:
        return []
    mine, same = leaderboard.read(board), ["recipe", "backend", "device"]
    has = set() if mine.empty else set(mine[same].itertuples(index=False, name=None))
    names = {recipe.hash(): name for name, recipe in suite.recipes.items()}
    found = theirs[theirs["recipe"].isin(names) & theirs["peer"].isna()].to_dict("records")
    found = [line for line in found if tuple(line[key] for key in same) not in has]
    for line in found:
        leaderboard.add(board, line | {"suite": suite.title, "name": names[line["recipe"]]})
    return [names[line["recipe"]] for line in found]


def _missing(suite: Suite, folder: pathlib.Path, board: pathlib.Path, failed: Collection[str]) -> Iterator[Run]:
    rows = leaderboard.read(board)
    return (run for run in queue(suite, folder, rows, failed) if run.state(rows, suite.title) != "done")


def _beginning(folder: pathlib.Path) -> float:
    """Seconds that a run of this suite took, at most, until its first epoch was done."""
    results = [json.loads(path.read_text("utf-8")) for path in folder.glob("*/result.json")]
    return max((result.get("beginning", 0.0) for result in results), default=0.0)


def _test_seconds(suite: Suite, result: dict, test: data.Dataset) -> float:
    """How long testing will take, judged by what validating took, and compiling for the first epoch."""
    validation = result["scores"]
    if not validation:
        return 0.0
    passes = 1.0
    if suite.test_time:
        flips = len(FLIPS[suite.test_time.get("flip", False)])
        passes += flips * sum(scale**2 for scale in suite.test_time.get("scales", (1.0,)))
    return (result.get("beginning") or 0.0) + passes * validation["seconds"] / validation["images"] * len(test)


def _record(suite: Suite, run: Run, result: dict, test: data.Dataset, board: pathlib.Path) -> str:
    weights = run.folder / result["weights"]
    model = zoo.load(weights)
    scores = evaluate(model, test, batch_size=run.recipe.data.batch_size, reporter=Reporter())
    averaged = leaderboard.test_time_miou(model, test, **suite.test_time) if suite.test_time else None
    commit = (run.folder / "commit.txt").read_text()
    pretrained.save(model, run.folder / FILE, dtype="float16", **pretrained.describe(weights))
    leaderboard.add(
        board,
        leaderboard.row(suite, run.name, run.recipe, result, scores, averaged, model, test, weights, commit),
    )
    more = "" if averaged is None else f", {averaged:.4f} with flips and scales"
    return f"{run.name}: test mIoU {scores['miou']:.4f}{more}, pixel accuracy {scores['pixel_accuracy']:.4f}"
