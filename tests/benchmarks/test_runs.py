"""The queue of a suite: which runs are missing, their order, and how they continue after a stop or a failure."""

import dataclasses
import math
import multiprocessing
import re
import threading
import time

import keras
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from benchmarks import leaderboard, rehearsal, runs, suite
from benchmarks.commands import app
from benchmarks.process import ChildError
from kseg import data, pretrained, training, zoo
from kseg.training import Recipe

pytestmark = pytest.mark.usefixtures("numpy_initializers")

SUITE = """
[recipe]
epochs = 1
tensorboard = false
[recipe.data]
name = "streets"
batch_size = 2
options = { count = 4, size = [32, 32] }
[recipe.model]
builder = "full_resolution"
options = { filters = [4] }
[recipe.optimizer]
learning_rate = 0.01
[test_time]
flip = true

[[models]]
name = "one"
optimizer = { weight_decay = 0.0 }

[[models]]
name = "two"
seed = 7
"""


def together(function, *arguments):
    """Calls a function as `apart` does, but in this process: starting another takes longer than the call."""
    try:
        return function(*arguments)
    except Exception as error:
        raise ChildError(f"{type(error).__name__}: {error}") from error


@pytest.fixture
def in_this_process(monkeypatch):
    monkeypatch.setattr(runs, "apart", together)


@pytest.fixture(scope="module")
def worked(tmp_path_factory):
    """Both models of the suite, trained by four calls without time: the suite, the board, the states after each."""
    folder = tmp_path_factory.mktemp("worked")
    (folder / "tiny.toml").write_text(SUITE)
    chosen, board = suite.load(folder / "tiny.toml"), folder / "board.csv"
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "apart", together)
        for _ in range(4):
            runs.work(chosen, folder / "runs", board, until=time.time())
            rows = leaderboard.read(board)
            found.append([run.state(rows) for run in runs.queue(chosen, folder / "runs", pd.DataFrame())])
    return folder, chosen, board, found


def test_a_call_without_time_makes_progress(worked):
    assert worked[-1] == [
        ["trained, not tested", "missing"],
        ["done", "missing"],
        ["done", "trained, not tested"],
        ["done", "done"],
    ]


def test_a_row_describes_the_run(worked):
    _, chosen, board, _ = worked
    rows = leaderboard.read(board)
    assert rows["name"].tolist() == ["one", "two"]
    row = rows.iloc[1]
    columns = ("model", "encoder", "dataset", "split", "size", "seed", "batch_size", "epochs")
    assert [row[name] for name in columns] == ["full_resolution", "its own", "streets", "test", "32x32", 7, 2, 1]
    assert 0 <= row["miou"] <= 1 and 0 <= row["miou_test_time"] <= 1 and row["parameters"] > 100
    assert row["multiply_adds"] > 1e4 and row["images_per_second"] > 0
    assert re.fullmatch("[0-9a-f]{64}", row["weights_sha256"])
    assert row["recipe"] == chosen.recipes["two"].hash()
    assert {"iou_sky", "iou_pedestrian"} <= set(rows.columns)


def test_a_run_keeps_its_weights_in_half_precision_too(worked):
    folder = worked[0] / "runs/one"
    whole = zoo.load(folder / "best.safetensors").get_weights()
    for half, full in zip(zoo.load(folder / runs.STORED).get_weights(), whole, strict=True):
        np.testing.assert_array_equal(half, full.astype("float16").astype("float32"))
    described = [pretrained.describe(folder / name) for name in ("best.safetensors", runs.STORED)]
    assert described[0] == described[1]


def test_a_recipe_in_the_leaderboard_is_not_trained_again(worked):
    folder, chosen, board, _ = worked
    runs.work(chosen, folder / "elsewhere", board)
    assert not (folder / "elsewhere").exists()


def test_a_run_of_another_suite_is_not_repeated(worked, tmp_path):
    _, chosen, board, _ = worked
    theirs = leaderboard.read(board)
    theirs.assign(suite="tiny").to_csv(tmp_path / "tiny.csv", index=False)
    more = dataclasses.replace(chosen, title="more", recipes={"uno": chosen.recipes["one"]})
    for _ in range(2):
        runs.work(more, tmp_path / "runs", tmp_path / "more.csv")
    assert not (tmp_path / "runs").exists()
    rows = leaderboard.read(tmp_path / "more.csv")
    assert rows[["suite", "name"]].to_numpy().tolist() == [["more", "uno"]]
    pd.testing.assert_frame_equal(
        rows.drop(columns=["suite", "name"]), theirs[theirs["name"] == "one"].drop(columns=["suite", "name"])
    )


@pytest.mark.usefixtures("in_this_process")
def test_a_search_is_scored_on_validation_images_and_reads_no_others(worked, tmp_path, monkeypatch):
    folder, chosen, board, _ = worked
    leaderboard.read(board).to_csv(tmp_path / "tiny.csv", index=False)  # of the same recipe, on the test split
    one = {"one": chosen.recipes["one"]}
    search = dataclasses.replace(chosen, title="search", recipes=one, split="val")
    read, load = [], runs.dataset
    monkeypatch.setattr(runs, "dataset", lambda recipe, split, root: read.append(split) or load(recipe, split, root))
    runs.work(search, folder / "runs", tmp_path / "search.csv")
    (row,) = leaderboard.read(tmp_path / "search.csv").to_dict("records")
    assert (row["split"], set(read)) == ("val", {"val"})
    assert row["miou"] == pytest.approx(row["val_miou"], abs=1e-4)
    monkeypatch.setattr(leaderboard, "LEADERBOARDS", tmp_path)
    assert list(leaderboard.all_boards()) == ["tiny"]


@pytest.mark.usefixtures("in_this_process")
def test_a_model_that_fails_stops_neither_the_others_nor_the_seeds(worked, tmp_path, monkeypatch, capsys):
    def train(recipe, *arguments, **options):
        if recipe.hash() == chosen.recipes["one"].hash():
            raise ValueError("the loss is nan")
        return training.train(recipe, *arguments, **options)

    chosen, board = worked[1], tmp_path / "board.csv"
    monkeypatch.setattr(runs, "train", train)
    with pytest.raises(ValueError, match="tiny: one failed, all else is done"):
        runs.work(chosen, tmp_path / "runs", board)
    printed = capsys.readouterr().out
    assert "one: FAILED, ValueError: the loss is nan" in printed
    assert printed.startswith(f"tiny: budget none, {keras.backend.backend()} on ")
    rows = leaderboard.read(board)
    assert rows["name"].tolist() == ["two"]
    more = dataclasses.replace(chosen, best=1, seeds=(8,))
    assert [run.name for run in runs.queue(more, tmp_path, rows, failed=["one"])] == ["two", "two"]


def test_a_killed_process_stops_neither_the_others_nor_the_next_call(tmp_path, capfd):
    """The only test here that starts processes, as users do."""
    (tmp_path / "tiny.toml").write_text(SUITE)
    chosen = suite.load(tmp_path / "tiny.toml")
    here = tmp_path / "runs", tmp_path / "board.csv"

    def kill_the_first():
        while not (children := multiprocessing.active_children()):
            time.sleep(0.01)
        children[0].kill()

    killer = threading.Thread(target=kill_the_first)
    killer.start()
    with pytest.raises(ValueError, match="tiny: one failed"):
        runs.work(chosen, *here)
    killer.join()
    assert "one: FAILED, its process ended with exit code -9" in capfd.readouterr().out
    assert [run.name for run in runs.missing(chosen, *here)] == ["one"]


def test_a_run_started_again_goes_before_its_row(worked, tmp_path):
    _, chosen, board, _ = worked
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "recipe.json").write_text(chosen.recipes["one"].to_json())
    (tmp_path / "one" / "log.csv").write_text("epoch,seconds\n1,2\n")
    run = next(runs.queue(chosen, tmp_path, leaderboard.read(board)))
    assert run.state(leaderboard.read(board)) == "stopped after epoch 1 of 1"


def test_the_best_on_the_validation_split_get_more_seeds_at_the_end(worked, tmp_path):
    _, chosen, board, _ = worked
    more = dataclasses.replace(chosen, best=1, seeds=(8, 9))
    rows = leaderboard.read(board)
    listed = [(run.name, run.recipe.seed, run.folder.name) for run in runs.queue(more, tmp_path, rows)]
    best = rows.loc[rows["val_miou"].idxmax(), "name"]
    assert listed[2:] == [(best, 8, f"{best}-seed8"), (best, 9, f"{best}-seed9")]
    repeated = dataclasses.replace(more, repeated={best: (9, 7)})
    listed = [(run.name, run.recipe.seed) for run in runs.queue(repeated, tmp_path, rows)]
    assert listed[2:] == [(best, 9), (best, 7), (best, 8)]
    other = next(name for name in rows["name"] if name != best)
    better = rows[rows["name"] == other].assign(val_miou=2.0)
    strangers = [
        better.assign(name="smp.Unet", peer="a peer"),
        better.assign(recipe="another recipe"),
        better.assign(backend="another backend"),
        better.assign(device="another GPU" if better["device"].iloc[0].startswith("CPU") else "CPU, 0 cores"),
    ]
    assert [run.name for run in runs.queue(more, tmp_path, pd.concat([rows, *strangers]))][2:] == [best, best]
    assert [run.name for run in runs.queue(more, tmp_path, pd.concat([rows, better]))][2:] == [other, other]
    assert len(list(runs.queue(more, tmp_path, rows[:1]))) == 2  # not before every model has its row


@pytest.mark.parametrize("split", ["test", "val"])
def test_a_rehearsal_scores_an_image_of_the_split_of_the_suite(split, monkeypatch):
    read, whole = [], data.load("streets", "val", count=1, size=(32, 32))
    monkeypatch.setattr(rehearsal, "rehearse", lambda *_, **__: (None, {"loss": math.nan}))
    monkeypatch.setattr(rehearsal, "dataset", lambda _, split, __: read.append(split) or whole)
    monkeypatch.setattr(rehearsal, "evaluate", lambda *_, **__: None)
    recipe = Recipe.from_dict({"epochs": 1, "data": {"name": "streets"}, "model": {"builder": "unet"}})
    assert rehearsal.try_all(suite.Suite("tiny", "", {"one": recipe}, split=split), 1, None) == ["one"]
    assert read == [split]


def test_missing_runs_are_listed_and_rehearsed_without_a_trace(worked, tmp_path):
    command = ["run", str(worked[0] / "tiny.toml"), "--out", str(tmp_path), "--board", str(tmp_path / "board.csv")]
    *listed, note = CliRunner().invoke(app, [*command, "--dry-run"]).output.splitlines()
    assert listed == ["one, seed 0: missing", "two, seed 7: missing"]
    assert "per backend" in note and keras.backend.backend() in note
    rehearsed = CliRunner().invoke(app, [*command, "--only", "two", "--steps", "2"])
    assert rehearsed.exit_code == 0, rehearsed.output
    assert re.match(r"two: loss \d.*images/s", rehearsed.output)
    assert not list(tmp_path.iterdir())
