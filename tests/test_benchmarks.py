"""The harness: suites, leaderboards and their tables."""

import pathlib
import re
import subprocess
import sys

import pandas as pd
import pytest
from typer.testing import CliRunner

from benchmarks import cost, leaderboard, suite
from benchmarks.commands import app

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
encoder_weights = "none"
[recipe.optimizer]
learning_rate = 0.01

[[models]]
name = "one"
model = { builder = "fcn32" }
optimizer = { weight_decay = 0.0 }

[[models]]
name = "two"
seed = 7
model = { builder = "fcn16" }
"""


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(SUITE)
    return path


def test_models_differ_where_the_suite_says_so(tiny):
    one, two = suite.recipes(tiny).values()
    assert (one.model.builder, two.model.builder) == ("fcn32", "fcn16")
    assert (one.optimizer.learning_rate, one.optimizer.weight_decay) == (0.01, 0.0)
    assert (two.optimizer.learning_rate, two.optimizer.weight_decay) == (0.01, 0.01)
    assert (one.seed, two.seed) == (0, 7)
    assert one.hash() != two.hash()


@pytest.mark.parametrize("name", [path.stem for path in suite.SUITES.glob("*.toml")])
def test_every_suite_is_valid(name):
    assert suite.recipes(name)


def test_an_unknown_suite_is_named_with_its_neighbours():
    with pytest.raises(FileNotFoundError, match="no suite 'camvd': did you mean camvid"):
        suite.recipes("camvd")


def test_a_run_lands_in_the_leaderboard_once(tiny, tmp_path):
    board = tmp_path / "board.csv"
    command = ["run", str(tiny), "--only", "two", "--out", str(tmp_path / "runs"), "--board", str(board)]
    for _ in range(2):  # the second finds the run finished
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output
    rows = leaderboard.read(board)
    assert len(rows) == 1
    row = rows.iloc[0]
    assert (row["model"], row["dataset"], row["split"], row["size"], row["seed"]) == (
        "fcn16",
        "streets",
        "test",
        "32x32",
        7,
    )
    assert 0 <= row["miou"] <= 1 and row["parameters"] > 3e6
    assert re.fullmatch("[0-9a-f]{64}", row["weights_sha256"])
    assert row["recipe"] == suite.recipes(tiny)["two"].hash()
    assert {"iou_sky", "iou_pedestrian"} <= set(rows.columns)


def test_a_later_row_of_the_same_run_replaces_the_earlier(tmp_path):
    board = tmp_path / "board.csv"
    key = dict.fromkeys(leaderboard.KEY, "x")
    for name, miou in (("a", 0.1), ("b", 0.2), ("a", 0.3)):
        leaderboard.add(board, key | {"name": name, "miou": miou})
    assert leaderboard.read(board)[["name", "miou"]].to_numpy().tolist() == [["b", 0.2], ["a", 0.3]]
    assert [path.name for path in tmp_path.iterdir()] == ["board.csv"]


def test_the_best_comes_first_in_a_table():
    columns = [
        "name",
        "model",
        "encoder",
        "miou",
        "pixel_accuracy",
        "parameters",
        "epochs",
        "seconds",
        "inference_ms",
        "size",
    ]
    values = [["x", "a", "e", 0.51, 0.8, 1.5e6, 3, 60, 12.2, "2x3"], ["y", "b", "e", 0.625, 0.9, 2e6, 3, 90, 15, "2x3"]]
    rows = pd.DataFrame(values, columns=columns).assign(device="CPU", backend="jax")
    lines = leaderboard.markdown(leaderboard.shown(rows)).splitlines()
    assert lines[2].startswith("| y | b | e | 62.5 | 90.0 | 2.00 M | 3 | 1.5 min | 15 ms |")
    assert lines[3].startswith("| x | a | e | 51.0 |")


@pytest.mark.parametrize("board", sorted(leaderboard.LEADERBOARDS.glob("*.csv")), ids=lambda path: path.stem)
def test_the_tables_of_the_readme_are_the_leaderboards(board):
    text = (ROOT / "README.md").read_text()
    table = leaderboard.markdown(leaderboard.shown(leaderboard.read(board)))
    assert f"<!-- leaderboard {board.stem} -->\n{table}" in text


def test_the_table_of_costs_in_the_readme_is_the_file():
    table = leaderboard.markdown(cost.shown(pd.read_csv(ROOT / "benchmarks/cost.csv")))
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
