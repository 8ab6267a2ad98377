"""Runs that are killed, in processes of their own: determinism cannot be undone within one.

`python -m tests.training.test_resume RECIPE.json FOLDER[@POINT:N] ...` is such a process; see `POINTS`.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest
from safetensors.numpy import load_file

from kseg import zoo
from kseg.training import Recipe, run, train, validation
from tests.training import tiny

ROOT = pathlib.Path(__file__).parents[2]
CONTENT = tiny.content(deterministic=True, optimizer={"ema": 0.8, "warmup_steps": 2}, epochs=4)


def work(folder, *tasks):
    recipe = folder / "recipe.json"
    recipe.write_text(json.dumps(CONTENT))
    command = [sys.executable, "-m", __name__, str(recipe), *tasks]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """An unbroken run, and one killed after its first best weights, before a checkpoint and before a validation."""
    folder = tmp_path_factory.mktemp("runs")
    unbroken, killed = folder / "unbroken", folder / "killed"
    codes, epochs = [], []
    for tasks in ([f"{unbroken}", f"{killed}@best:1"], [f"{killed}@checkpoint:1"], [f"{killed}@validation:2"]):
        codes.append(work(folder, *tasks))
        epochs.append(len((killed / "log.csv").read_text().splitlines()) - 1)
    assert codes == [-signal.SIGKILL] * 3
    assert epochs == [1, 1, 2]
    assert work(folder, f"{killed}") == 0
    return unbroken, killed


@pytest.mark.parametrize("file", ["best.safetensors", "checkpoint.safetensors"])
def test_a_killed_run_reaches_the_weights_of_an_unbroken_one_bit_for_bit(runs, file):
    unbroken, killed = runs
    expected, got = load_file(unbroken / file), load_file(killed / file)
    assert expected.keys() == got.keys()
    assert [name for name in expected if expected[name].tobytes() != got[name].tobytes()] == []


def test_a_killed_run_writes_the_log_of_an_unbroken_one(runs):
    unbroken, killed = runs
    rows = [(folder / "log.csv").read_text().splitlines() for folder in (unbroken, killed)]
    expected, got = ([row.rsplit(",", 2)[0] for row in each] for each in rows)  # speed and seconds come last
    assert expected == got
    assert (unbroken / "confusion.csv").read_text() == (killed / "confusion.csv").read_text()
    assert {path.name for path in unbroken.iterdir()} == {path.name for path in killed.iterdir()}


def test_a_checkpoint_names_its_tensors_by_weight(runs):
    state, best = load_file(runs[0] / "checkpoint.safetensors"), load_file(runs[0] / "best.safetensors")
    assert state.keys() >= best.keys()
    slots = ("momentum", "velocity", "average")
    trained = {name.removesuffix("/average") for name in state if name.endswith("/average")}
    assert trained == {name for name in best if "moving_" not in name}
    assert state.keys() - best.keys() == {
        "optimizer/iteration", "dropout/seed_1", *(f"{name}/{slot}" for name in trained for slot in slots)
    }  # fmt: skip
    assert state["optimizer/iteration"] == 4 * 2
    seed = state["dropout/seed_1"]
    assert seed.dtype.kind in "iu" and seed.shape == (2,)


def test_a_finished_run_is_returned_as_it_is(runs):
    before = {path.name: path.stat().st_mtime_ns for path in runs[1].iterdir()}
    result = train(Recipe.from_dict(CONTENT), runs[1])
    assert result == json.loads((runs[1] / "result.json").read_text())
    assert {path.name: path.stat().st_mtime_ns for path in runs[1].iterdir()} == before


POINTS = {
    "checkpoint": (run.checkpoint, "save"),
    "validation": (validation, "evaluate"),
    "best": (run.pretrained, "save"),
}


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
    zoo.BUILDERS["tiny"] = tiny.tiny
    recipe = Recipe.from_dict(json.loads(pathlib.Path(sys.argv[1]).read_text()))
    for task in sys.argv[2:]:
        folder, _, point = task.partition("@")
        if point:
            arm(point)
        train(recipe, folder, progress=False)
