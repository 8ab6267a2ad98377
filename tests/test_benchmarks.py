"""The harness: suites, leaderboards and their tables."""

import concurrent.futures
import contextlib
import dataclasses
import io
import json
import pathlib
import re
import shutil
import subprocess
import sys
import types

import keras
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from benchmarks import commands, cost, crf, leaderboard, loader, machine, release, runs, scoring, suite, tables
from benchmarks.commands import app
from kseg import data, pretrained, training, zoo
from kseg.data._camvid import CLASSES
from kseg.training import Recipe
from tests.training import tiny as tiny_net

pytestmark = pytest.mark.usefixtures("numpy_initializers")

ROOT = pathlib.Path(__file__).parents[1]

SUITE = """
[recipe]
epochs = 1
[recipe.data]
name = "streets"
batch_size = 2
options = { count = 4, size = [32, 32] }
[recipe.model]
builder = "tiny"
encoder = "small"
encoder_weights = "none"
[recipe.optimizer]
learning_rate = 0.01

[[models]]
name = "one"
optimizer = { weight_decay = 0.0 }

[[models]]
name = "two"
seed = 7
model = { options = { activation = "softmax" } }
loss = { options = { from_logits = false } }
"""


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(SUITE)
    return path


def test_models_differ_where_the_suite_says_so(tiny):
    one, two = suite.recipes(tiny).values()
    assert (one.model.builder, two.model.builder) == ("tiny", "tiny")
    assert (one.model.options, two.model.options) == ({}, {"activation": "softmax"})
    assert (one.optimizer.learning_rate, one.optimizer.weight_decay) == (0.01, 0.0)
    assert (two.optimizer.learning_rate, two.optimizer.weight_decay) == (0.01, 0.01)
    assert (one.seed, two.seed) == (0, 7)
    assert one.hash() != two.hash()


def test_an_unknown_suite_is_named_with_its_neighbours():
    with pytest.raises(FileNotFoundError, match="no suite 'camvd': did you mean camvid"):
        suite.recipes("camvd")


@pytest.fixture(scope="module")
def builder():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(zoo.BUILDERS, "tiny", tiny_net.tiny)
        yield


@pytest.fixture(scope="module")
def worked(builder, tmp_path_factory):
    """Both models of the suite, trained in four starts without a minute each: what each start said, and the board."""
    folder = tmp_path_factory.mktemp("worked")
    (folder / "tiny.toml").write_text(SUITE + "[test_time]\nflip = true\n")
    chosen, board = suite.load(folder / "tiny.toml"), folder / "board.csv"
    found = []
    for _ in range(4):
        with contextlib.redirect_stdout(io.StringIO()) as said:
            runs.work(chosen, folder / "runs", board, minutes=0)
        states = [
            run.state(leaderboard.read(board), "tiny") for run in runs.queue(chosen, folder / "runs", pd.DataFrame())
        ]
        found.append((said.getvalue(), states))
    return folder, chosen, board, found


def test_a_start_without_time_gets_further_all_the_same(worked):
    states = [states for _, states in worked[-1]]
    assert states == [
        ["trained, not tested", "missing"],
        ["done", "missing"],
        ["done", "trained, not tested"],
        ["done", "done"],
    ]
    assert "one: trained; the same command tests it" in worked[-1][0][0]
    assert "two: not begun, 0 s are left" in worked[-1][1][0]


def test_a_row_tells_what_was_run(worked):
    _, chosen, board, _ = worked
    rows = leaderboard.read(board)
    assert rows["name"].tolist() == ["one", "two"]
    row = rows.iloc[1]
    told = ("model", "dataset", "split", "size", "seed", "batch_size", "epochs")
    assert [row[name] for name in told] == ["tiny", "streets", "test", "32x32", 7, 2, 1]
    assert 0 <= row["miou"] <= 1 and 0 <= row["miou_test_time"] <= 1 and row["parameters"] > 1e3
    assert row["multiply_adds"] > 1e4 and row["images_per_second"] > 0
    assert re.fullmatch("[0-9a-f]{64}", row["weights_sha256"])
    assert row["recipe"] == chosen.recipes["two"].hash()
    assert {"iou_sky", "iou_pedestrian"} <= set(rows.columns)


def test_a_run_keeps_its_weights_in_half_precision_too_and_they_suffice_for_a_release(worked, tmp_path, monkeypatch):
    folder, _, board, _ = worked
    shutil.copytree(folder / "runs" / "one", tmp_path / "one")
    whole = zoo.load(tmp_path / "one" / "best.safetensors").get_weights()
    for half, full in zip(zoo.load(tmp_path / "one" / "model.safetensors").get_weights(), whole, strict=True):
        np.testing.assert_array_equal(half, full.astype("float16").astype("float32"))
    monkeypatch.setattr(leaderboard, "LEADERBOARDS", board.parent)
    monkeypatch.setattr(release, "LOSS", 1.0)
    for told in (
        "`kseg.training.evaluate` on the run's best.safetensors",
        "row `one` of benchmarks/leaderboards",
    ):
        released = release.release(tmp_path / "one", to=tmp_path / "zoo", releases=tmp_path / "table.json")
        metrics = json.loads((released / "metrics.json").read_text())
        assert metrics["float32"]["measured"].startswith(told)
        assert (released / "model.safetensors").read_bytes() == (tmp_path / "one" / "model.safetensors").read_bytes()
        (tmp_path / "one" / "best.safetensors").unlink(missing_ok=True)
    with pytest.raises(ValueError, match=r"is float16: --dtype float32 needs the best.safetensors of the run$"):
        release.release(tmp_path / "one", dtype=release.Dtype.float32, to=tmp_path / "zoo")
    monkeypatch.setattr(release, "LOSS", -2.0)
    with pytest.raises(
        ValueError, match=r"more than -2.0: release the best.safetensors of the run with --dtype float32"
    ):
        release.release(tmp_path / "one", to=tmp_path / "zoo", releases=tmp_path / "table.json")


def test_what_is_in_the_leaderboard_is_not_trained_again(worked):
    folder, chosen, board, _ = worked
    runs.work(chosen, folder / "elsewhere", board)
    assert not (folder / "elsewhere").exists()


def test_a_run_of_the_suite_that_is_extended_is_not_done_twice(worked, tmp_path):
    _, chosen, board, _ = worked
    shutil.copy(board, tmp_path / "tiny.csv")
    more = dataclasses.replace(chosen, title="more", extends="tiny", recipes={"uno": chosen.recipes["one"]})
    for _ in range(2):
        runs.work(more, tmp_path / "runs", tmp_path / "more.csv")
    assert not (tmp_path / "runs").exists()
    rows, theirs = leaderboard.read(tmp_path / "more.csv"), leaderboard.read(board)
    assert rows[["suite", "name"]].to_numpy().tolist() == [["more", "uno"]]
    pd.testing.assert_frame_equal(
        rows.drop(columns=["suite", "name"]), theirs[theirs["name"] == "one"].drop(columns=["suite", "name"])
    )


def test_a_model_that_fails_stops_neither_the_others_nor_the_seeds(builder, tmp_path, monkeypatch, capsys):
    def train(recipe, *arguments, **options):
        if recipe.hash() == chosen.recipes["one"].hash():
            raise ValueError("the loss is nan")
        return training.train(recipe, *arguments, **options)

    (tmp_path / "tiny.toml").write_text(SUITE)
    chosen, board = suite.load(tmp_path / "tiny.toml"), tmp_path / "board.csv"
    monkeypatch.setattr(runs, "train", train)
    went_on = []
    with pytest.raises(ValueError, match="tiny: one failed, all else is done"):
        runs.work(chosen, tmp_path / "runs", board, afresh=lambda left, failed: went_on.append((left, list(failed))))
    assert went_on == [(None, ["one"])]
    said = capsys.readouterr().out
    assert "one: FAILED, ValueError: the loss is nan" in said
    assert said.startswith(f"tiny: budget none, {keras.backend.backend()} on ")
    rows = leaderboard.read(board)
    assert rows["name"].tolist() == ["two"]
    more = dataclasses.replace(chosen, best=1, seeds=(8,))
    assert [run.name for run in runs.queue(more, tmp_path, rows, failed=["one"])] == ["two", "two"]


def test_the_process_that_goes_on_is_told_the_time_that_is_left_and_what_failed():
    asked = ["run", "camvid", "--minutes", "9"]
    second = commands.going_on(asked, 7.5, ["one"])
    assert second == [*asked, "--minutes", "7.500", "--worked", "--failed", "one"]
    third = commands.going_on(second, 2, ["one", "two"])
    assert third[4:] == ["--minutes", "7.500", "--minutes", "2.000", "--worked", "--failed", "one", "--failed", "two"]
    assert commands.going_on(asked[:2], None, []) == ["run", "camvid", "--worked"]


TWO = """
[recipe]
epochs = 1
[recipe.data]
name = "streets"
batch_size = 2
options = { size = [32, 40], count = 2 }
[recipe.model]
builder = "full_resolution"
options = { filters = [4] }
[[models]]
name = "one"
[[models]]
name = "two"
"""


def test_the_queue_goes_on_in_a_new_process(tmp_path):
    (tmp_path / "two.toml").write_text(TWO)
    asked = [str(tmp_path / "two.toml"), "--out", str(tmp_path / "runs"), "--board", str(tmp_path / "board.csv")]
    command = [sys.executable, "-m", "benchmarks", "run", *asked]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("budget none") == 1  # the second process says no more than its own run
    assert leaderboard.read(tmp_path / "board.csv")["name"].tolist() == ["one", "two"]
    assert (tmp_path / "runs" / "compiled").is_dir() == (keras.backend.backend() == "jax")


def test_a_copy_without_git_is_told_its_commit(monkeypatch):
    monkeypatch.setenv("KSEG_COMMIT", "0123456789ab")
    assert machine.current_commit() == "0123456789ab"


def test_a_peer_asks_for_its_own_backend(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    run = CliRunner().invoke(app, ["peer", "camvid"])
    assert "set KERAS_BACKEND=torch, it is jax" in str(run.exception)


def test_a_run_begun_anew_goes_before_its_row(worked, tmp_path):
    _, chosen, board, _ = worked
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "recipe.json").write_text(chosen.recipes["one"].to_json())
    (tmp_path / "one" / "log.csv").write_text("epoch,seconds\n1,2\n")
    run = next(runs.queue(chosen, tmp_path, leaderboard.read(board)))
    assert run.state(leaderboard.read(board), "tiny") == "stopped after epoch 1 of 1"


def test_the_best_on_the_validation_split_get_more_seeds_at_the_end(worked, tmp_path):
    _, chosen, board, _ = worked
    more = dataclasses.replace(chosen, best=1, seeds=(8, 9))
    rows = leaderboard.read(board)
    listed = [(run.name, run.recipe.seed, run.folder.name) for run in runs.queue(more, tmp_path, rows)]
    best = rows.loc[rows["val_miou"].idxmax(), "name"]
    assert listed[2:] == [(best, 8, f"{best}-seed8"), (best, 9, f"{best}-seed9")]
    other = next(name for name in rows["name"] if name != best)
    better = rows[rows["name"] == other].assign(val_miou=2.0)
    strangers = [
        better.assign(name="smp.Unet", backend="a peer's"),
        better.assign(name="another model's name"),
        better.assign(suite="another suite"),
        better.assign(backend="another backend"),
        better.assign(device="another GPU" if better["device"].iloc[0].startswith("CPU") else "CPU, 0 cores"),
    ]
    assert [run.name for run in runs.queue(more, tmp_path, pd.concat([rows, *strangers]))][2:] == [best, best]
    assert [run.name for run in runs.queue(more, tmp_path, pd.concat([rows, better]))][2:] == [other, other]
    assert len(list(runs.queue(more, tmp_path, rows[:1]))) == 2  # not before every model has its row


def test_missing_runs_are_listed_and_rehearsed_without_a_trace(worked, tmp_path):
    command = ["run", str(worked[0] / "tiny.toml"), "--out", str(tmp_path), "--board", str(tmp_path / "board.csv")]
    listed = CliRunner().invoke(app, [*command, "--dry-run"])
    assert listed.output == "one, seed 0: missing\ntwo, seed 7: missing\n"
    rehearsed = CliRunner().invoke(app, [*command, "--only", "two", "--steps", "2"])
    assert rehearsed.exit_code == 0, rehearsed.output
    assert re.match(r"two: loss \d.*images/s", rehearsed.output)
    assert not list(tmp_path.iterdir())


def test_older_rows_are_filled_without_training(tmp_path):
    recipe = suite.recipes("camvid", "cpu")["fcn32"]
    old = {"suite": "camvid", "name": "fcn32", "recipe": recipe.hash(), "seed": 0, "size": "64x96", "backend": "jax"}
    old |= {"device": "CPU", "miou": 0.5} | {f"iou_{name}": 0.5 for name in CLASSES}
    board = tmp_path / "camvid.csv"
    leaderboard.add(board, old)
    assert leaderboard.fill(board) == 1
    (row,) = leaderboard.read(board).to_dict("records")
    assert (row["budget"], row["crop"], row["batch_size"], row["miou"]) == ("cpu", "240x320", 4, 0.5)
    model = zoo.fcn32(11, encoder="efficientnet_lite0", encoder_weights=None)
    assert row["multiply_adds"] == zoo.multiply_adds(model, (64, 96))


def test_a_later_row_of_the_same_run_replaces_the_earlier(tmp_path):
    board = tmp_path / "board.csv"
    key = dict.fromkeys(leaderboard.KEY, "x")
    for name, miou in (("a", 0.1), ("b", 0.2), ("a", 0.3)):
        leaderboard.add(board, key | {"name": name, "miou": miou})
    assert leaderboard.read(board)[["name", "miou"]].to_numpy().tolist() == [["b", 0.2], ["a", 0.3]]
    assert [path.name for path in tmp_path.iterdir()] == ["board.csv"]


def test_writers_that_add_at_once_lose_no_row(tmp_path):
    """Threads stand for processes: the lock belongs to the open file, and each opens its own."""
    board, names = tmp_path / "board.csv", [f"model{index}" for index in range(24)]

    def add(name):
        leaderboard.add(board, dict.fromkeys(leaderboard.KEY, "x") | {"name": name, "miou": 0.5})

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(add, names))
    assert sorted(leaderboard.read(board)["name"]) == sorted(names)


def _rows(*changes):
    row = {"name": "x", "recipe": "1", "encoder": "e", "miou": 0.51, "pixel_accuracy": 0.8, "parameters": 1.5e6}
    row |= {"epochs": 3, "seconds": 60, "inference_ms": 12.2, "size": "2x3", "device": "CPU", "backend": "jax"}
    return pd.DataFrame([row | change for change in changes])


def test_the_best_comes_first_in_a_table():
    rows = _rows({}, {"name": "y", "miou": 0.625, "multiply_adds": 3.21e9, "crop": "2x2", "miou_test_time": 0.64})
    lines = tables.markdown(tables.shown(rows)).splitlines()
    assert lines[2].startswith("| y | e |  | 62.5 | 64.0 | 80.0 | 1.50 M | 3.2 G | 3, 2x2 | 1.0 min | 12 ms |")
    assert lines[3].startswith("| x | e |  | 51.0 |  | 80.0 | 1.50 M |  | 3 |")


def test_what_saw_more_than_imagenet_stands_below_the_ranking():
    more = {"name": "y", "miou": 0.9, "pretraining": "ImageNet+BSDS500"}
    shown = tables.shown(_rows(more, {"pretraining": "none"}, {"name": "z", "pretraining": "ImageNet", "miou": 0.6}))
    assert shown["name"].tolist() == ["z", "x", "y"]
    assert shown["pretraining"].tolist() == ["ImageNet", "none", "ImageNet+BSDS500"]


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"builder": "unet"}, "ImageNet"),
        ({"builder": "unet", "encoder_weights": "none"}, "none"),
        ({"builder": "unet_2015"}, "none"),
        ({"builder": "segnet", "encoder_weights": "imagenet+bsds500"}, "ImageNet+BSDS500"),
        ({"builder": "fcn8", "start": "runs/fcn16/best.safetensors"}, "runs/fcn16/best.safetensors"),
    ],
)
def test_a_row_says_what_its_weights_knew_before(model, said):
    recipe = Recipe.from_dict({"epochs": 1, "data": {"name": "camvid"}, "model": model})
    assert leaderboard.pretraining(recipe) == said


def test_seeds_of_a_recipe_are_one_line_with_mean_and_spread():
    one, two = {"family": "1", "recipe": "1", "miou": 0.5}, {"family": "1", "recipe": "2", "miou": 0.54}
    assert tables.shown(_rows(one, two, {"name": "y"}))["mIoU"].tolist() == ["52.0 (±2.0, 2 seeds)", "51.0"]


def test_two_classes_are_shown_with_dice_and_the_objects_iou():
    shown = tables.shown(_rows({"dice": 0.8, "iou_background": 0.9, "iou_nucleus": 0.667}))
    assert (shown["Dice"][0], shown["IoU nucleus"][0]) == ("80.0", "66.7")


@pytest.mark.parametrize("board", sorted(leaderboard.LEADERBOARDS.glob("*.csv")), ids=lambda path: path.stem)
def test_the_tables_of_the_readme_are_the_leaderboards(board):
    text = (ROOT / "README.md").read_text()
    table = tables.markdown(tables.shown(leaderboard.read(board)))
    assert f"<!-- leaderboard {board.stem} -->\n{table}<!-- end leaderboard {board.stem} -->" in text


@pytest.mark.parametrize("name", [path.stem for path in tables.PUBLISHED.glob("*.csv")])
def test_the_published_numbers_of_the_readme_are_the_file(name):
    assert f"<!-- published {name} -->\n{tables.markdown(tables.published(name))}" in (ROOT / "README.md").read_text()


def test_the_table_of_costs_in_the_readme_is_the_file():
    table = tables.markdown(cost.shown(pd.read_csv(ROOT / "benchmarks/cost.csv")))
    assert f"<!-- cost -->\n{table}" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "camvd"], "error: no suite 'camvd': did you mean camvid?"),
        (
            ["run", "quickstart", "--only", "fcn7"],
            "error: suite 'quickstart' has no model 'fcn7': there are fcn32, fcn16, fcn8, unet, deeplabv3",
        ),
    ],
)
def test_a_mistake_is_one_line(arguments, message):
    command = [sys.executable, "-m", "benchmarks", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == message
    assert "Traceback" not in done.stderr


def test_the_input_pipeline_is_measured_with_and_without_augmentation():
    small = {"name": "streets", "batch_size": 2, "crop": [16, 24], "options": {"count": 4, "size": [32, 48]}}
    recipe = Recipe.from_dict({"epochs": 1, "data": small, "model": {"builder": "unet"}})
    table, stages = loader.measure(recipe, seconds=0.05)
    assert table["what"].tolist() == [
        f"from {place}, {what}" for place in ("files", "memory") for what in ("not augmented", "augmented")
    ]
    assert (table[["images_per_second", "of_one_core"]] > 0).all(axis=None) and table["ratio"][0] == 1
    assert (stages["ms"] > 0).all() and len(stages) == 4


def test_every_way_of_labelling_an_image_is_measured(tmp_path):
    run = CliRunner().invoke(app, ["cost", "--size", "17", "20", "--out", str(tmp_path / "cost.csv")])
    assert run.exit_code == 0, run.output
    table = pd.read_csv(tmp_path / "cost.csv")
    assert table.way.tolist() == ["sliding window", "convolutional", "full resolution", "encoder-decoder"]
    assert (table.seconds > 0).all() and table.ratio.iloc[-1] == 1
    # A patch has 33 x 33 pixels, twice convolved at 31 and 29, then at 12 and 10; 5 x 5 x 64 features are flattened.
    layers = 9 * (31**2 * 3 * 32 + 29**2 * 32 * 32 + 12**2 * 32 * 64 + 10**2 * 64 * 64) + 25 * 64 * 128 + 128 * 11
    assert table.multiply_adds[0] == 17 * 20 * layers
    assert table.multiply_adds[1] < table.multiply_adds[0] / 20


def test_the_table_of_crfs_in_the_readme_is_the_file():
    table = tables.markdown(crf.shown(crf.read(ROOT / "benchmarks/crf.csv")))
    assert f"<!-- crf -->\n{table}" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize(
    ("name", "file", "shown"),
    [("crf cost", "crf_cost.csv", crf.cost_shown), ("scores", "scores.csv", scoring.shown)],
)
def test_the_tables_of_times_in_the_readme_are_the_files(name, file, shown):
    table = tables.markdown(shown(pd.read_csv(ROOT / "benchmarks" / file)))
    assert f"<!-- {name} -->\n{table}<!-- end {name} -->" in (ROOT / "README.md").read_text()


def test_the_dense_crf_is_timed_against_its_authors_code():
    found = crf.cost_apart("streets", size=(48, 64))
    assert (found["image"], found["size"]) == ("drawn street", "48x64")
    assert found["ratio"] == pytest.approx(found["seconds"] / found["reference_seconds"], rel=0.2, abs=0.02)
    assert found["labels"] > 0.99 and found["difference"] < 0.01


def test_where_processes_tell_no_memory_the_rest_is_measured(monkeypatch):
    """Windows has no module `resource`."""
    monkeypatch.setitem(sys.modules, "resource", None)
    found = cost.measure("encoder-decoder", (17, 20))
    assert found["memory_mb"] is None and found["seconds"] > 0
    rows = pd.DataFrame([found]).assign(ratio=1.0, size="17x20", backend="jax")
    assert cost.shown(rows)["memory"].tolist() == [""]


def test_memory_is_counted_in_bytes_on_a_mac(monkeypatch):
    """Where `ru_maxrss` is in bytes; on Linux it is in units of 1024."""
    usage = types.SimpleNamespace(RUSAGE_SELF=0, getrusage=lambda who: types.SimpleNamespace(ru_maxrss=3 * 2**20))
    monkeypatch.setitem(sys.modules, "resource", usage)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert machine.memory_raised(2**20) == 2
    monkeypatch.setattr(sys, "platform", "linux")
    assert machine.memory_raised(2**30) == 2 * 2**10


def test_every_way_of_refining_is_scored():
    """The model alone is scored as `evaluate` scores it; options come from the search."""
    streets = data.streets("val", count=2, size=(32, 40))
    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.Conv2D(8, 1)(image / 255))
    model.layers[-1].set_weights([np.eye(3, 8)[None, None], np.zeros(8)])  # the strongest colour: borders for sure
    grid = {"appearance": (0, 2)}
    table = crf.worth(model, {"val": streets, "test": streets}, count=1, grids={"conv": grid, "dense": grid})
    assert table.way.tolist() == ["without", "ConvCRF", "dense CRF"] * 2
    assert table.miou[0] == round(training.evaluate(model, streets)["miou"], 4)
    assert all(text.startswith("appearance=") for text in table.parameters if text)
    assert table.search_images.tolist() == [0, 1, 1] * 2
    assert set(table.backend) == {keras.backend.backend()}


def test_released_weights_are_scored_by_name_and_rows_of_other_images_stay(tmp_path, monkeypatch):
    (tmp_path / "CamVid/trainannot").mkdir(parents=True)
    (tmp_path / "cost.csv").write_text("image,seconds\nanother image,1\ndrawn street,2\n")
    scored = []
    monkeypatch.setattr(crf, "cost_apart", lambda name, data_root: {"image": crf.PICTURES[name], "seconds": 3})
    monkeypatch.setattr(crf, "worth", lambda *given: scored.append(given) or pd.DataFrame({"way": ["without"]}))
    monkeypatch.setattr(data, "load", lambda name, split, root: split)
    command = ["crf", "--weights", "unet-efficientnet_lite0-camvid", "--data-root", str(tmp_path)]
    run = CliRunner().invoke(
        app, [*command, "--out", str(tmp_path / "crf.csv"), "--cost-out", str(tmp_path / "cost.csv")]
    )
    assert run.exit_code == 0, run.output
    ((model, splits),) = scored
    assert model.name == "unet" and splits == {"val": "val", "test": "test"}
    released = pretrained.RELEASES["unet-efficientnet_lite0-camvid"]
    assert crf.read(tmp_path / "crf.csv")["weights_sha256"].tolist() == [released.sha256[:12]]
    stored = pd.read_csv(tmp_path / "cost.csv").to_numpy().tolist()
    assert stored == [["CamVid, test", 3], ["another image", 1], ["drawn street", 3]]


def test_scoring_is_timed():
    found = scoring.compare((32, 48), batch_size=1, repeats=1)
    assert found["share"] == pytest.approx(found["scores_ms"] / found["predict_ms"], abs=0.01)
