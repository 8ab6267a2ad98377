"""Runs that are killed, in processes of their own: determinism cannot be undone within one."""

import json
import pathlib
import signal
import subprocess
import sys

import pytest
import safetensors.numpy

from kseg import pretrained
from kseg.training import Recipe, train
from tests.training import tiny

ROOT = pathlib.Path(__file__).parents[2]
CONTENT = tiny.content(deterministic=True, optimizer={"ema": 0.8, "warmup_steps": 2}, epochs=4)


def work(folder, *tasks):
    recipe = folder / "recipe.json"
    recipe.write_text(json.dumps(CONTENT))
    command = [sys.executable, "-m", "tests.training.worker", str(recipe), *tasks]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """An unbroken run, and one killed twice: with an epoch's best weights written but not its checkpoint, and between
    the checkpoint and the renaming of the best weights.
    """
    folder = tmp_path_factory.mktemp("runs")
    unbroken, killed = folder / "unbroken", folder / "killed"
    codes, found = [], []
    for tasks in ([f"{unbroken}", f"{killed}@checkpoint:2"], [f"{killed}@renaming:2"], [f"{killed}"]):
        codes.append(work(folder, *tasks))
        found.append({path.name for path in killed.iterdir()})
    assert codes == [-signal.SIGKILL, -signal.SIGKILL, 0]
    return unbroken, killed, found


def tensors(path):
    return safetensors.numpy.load_file(path)


@pytest.mark.parametrize("file", ["best.safetensors", "checkpoint.safetensors"])
def test_a_killed_run_reaches_the_weights_of_an_unbroken_one_bit_for_bit(runs, file):
    unbroken, killed, _ = runs
    expected, got = tensors(unbroken / file), tensors(killed / file)
    assert expected.keys() == got.keys()
    assert [name for name in expected if expected[name].tobytes() != got[name].tobytes()] == []


def test_a_killed_run_writes_the_log_of_an_unbroken_one(runs):
    unbroken, killed, _ = runs
    expected, got = (
        [line.rsplit(",", 2)[0] for line in (run / "log.csv").read_text().splitlines()]  # speed and seconds come last
        for run in (unbroken, killed)
    )
    assert expected == got
    assert (unbroken / "confusion.csv").read_text() == (killed / "confusion.csv").read_text()


def test_a_killed_run_leaves_no_halves_behind(runs):
    unbroken, killed, found = runs
    assert {"checkpoint.safetensors", "candidate.safetensors"} <= found[0] & found[1]
    names = [sorted(path.name for path in run.iterdir()) for run in (unbroken, killed)]
    assert names[0] == names[1]
    assert "candidate.safetensors" not in names[0]


def test_dropout_seeds_and_averages_are_in_the_checkpoint(runs):
    state = tensors(runs[0] / "checkpoint.safetensors")
    assert [name for name, array in state.items() if array.dtype.kind in "iu" and array.shape == (2,)]
    averaged, raw = tensors(runs[0] / "best.safetensors"), [array for array in state.values() if array.ndim == 4]
    kernel = averaged["decode/kernel"]
    assert any(kernel.tobytes() == array.tobytes() for array in raw)  # the optimizer's average of it


def test_the_best_weights_name_their_epoch(runs):
    result = json.loads((runs[1] / "result.json").read_text())
    notes = pretrained.describe(runs[1] / "best.safetensors")
    assert notes["epoch"] == result["epoch"]
    assert notes["scores"]["miou"] == result["scores"]["miou"]


def test_a_finished_run_is_returned_as_it_is(runs):
    before = {path.name: path.stat().st_mtime_ns for path in runs[1].iterdir()}
    result = train(Recipe.from_dict(CONTENT), runs[1])
    assert result == json.loads((runs[1] / "result.json").read_text())
    assert {path.name: path.stat().st_mtime_ns for path in runs[1].iterdir()} == before
