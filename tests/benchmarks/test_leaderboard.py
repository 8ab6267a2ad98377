"""Leaderboards as files, and the tables made of them."""

import concurrent.futures
import pathlib
import subprocess
import sys

import keras
import pandas as pd
import pytest
from typer.testing import CliRunner

from benchmarks import goals, leaderboard, machine, tables
from benchmarks.commands import app, tables_of_pages
from kseg.training import Recipe

ROOT = pathlib.Path(__file__).parents[2]


def test_a_later_row_of_the_same_run_replaces_the_earlier(tmp_path):
    board = tmp_path / "board.csv"
    key = dict.fromkeys(leaderboard.KEY, "x")
    for name, miou in (("a", 0.1), ("b", 0.2), ("a", 0.3)):
        leaderboard.add(board, key | {"name": name, "miou": miou})
    assert leaderboard.read(board)[["name", "miou"]].to_numpy().tolist() == [["b", 0.2], ["a", 0.3]]
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["board.csv"]


def test_concurrent_writers_lose_no_row(tmp_path):
    """Threads stand for processes: the lock belongs to the open file, and each opens its own."""
    board, names = tmp_path / "board.csv", [f"model{index}" for index in range(24)]

    def add(name):
        leaderboard.add(board, dict.fromkeys(leaderboard.KEY, "x") | {"name": name, "miou": 0.5})

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(add, names))
    assert sorted(leaderboard.read(board)["name"]) == sorted(names)


def board_of(*changes):
    """A leaderboard with one row for each dictionary of values, which replace the default ones."""
    row = {"name": "x", "recipe": "1", "encoder": "e", "miou": 0.51, "pixel_accuracy": 0.8, "parameters": 1.5e6}
    row |= {"epochs": 3, "seconds": 60, "inference_ms": 12.2, "size": "2x3", "device": "CPU", "backend": "jax"}
    row |= dict.fromkeys(("peer", "pretraining", "crop", "multiply_adds", "miou_test_time"))
    rows = [row | change for change in changes]
    return pd.DataFrame([{"family": row["recipe"]} | row for row in rows])


def test_the_best_comes_first_in_a_table():
    rows = board_of({}, {"name": "y", "miou": 0.625, "multiply_adds": 3.21e9, "crop": "2x2", "miou_test_time": 0.64})
    lines = tables.markdown(tables.shown(rows)).splitlines()
    assert lines[2].startswith("| y | e |  | 62.50 | 64.00 | 80.00 | 1.50 M | 3.2 G | 3, 2x2 | 1.0 min | 12 ms |")
    assert lines[3].startswith("| x | e |  | 51.00 |  | 80.00 | 1.50 M |  | 3 |")


def test_models_pretrained_on_more_than_imagenet_are_listed_below_the_ranking():
    more = {"name": "y", "miou": 0.9, "pretraining": "ImageNet+BSDS500"}
    shown = tables.shown(board_of(more, {"pretraining": "none"}, {"name": "z", "pretraining": "ImageNet", "miou": 0.6}))
    assert shown["name"].tolist() == ["z", "x", "y"]
    assert shown["pretraining"].tolist() == ["ImageNet", "none", "ImageNet+BSDS500"]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ({"builder": "unet"}, "ImageNet"),
        ({"builder": "unet", "encoder_weights": "none"}, "none"),
        ({"builder": "unet_2015"}, "none"),
        ({"builder": "segnet", "encoder_weights": "imagenet+bsds500"}, "ImageNet+BSDS500"),
        ({"builder": "fcn8", "start": "runs/fcn16/best.safetensors"}, "runs/fcn16/best.safetensors"),
    ],
)
def test_a_row_names_the_pretraining(model, expected):
    recipe = Recipe.from_dict({"epochs": 1, "data": {"name": "camvid"}, "model": model})
    assert leaderboard.pretraining(recipe) == expected


def test_seeds_of_a_recipe_are_one_line_with_mean_and_spread():
    one, two = {"family": "1", "recipe": "1", "miou": 0.5}, {"family": "1", "recipe": "2", "miou": 0.54}
    assert tables.shown(board_of(one, two, {"name": "y"}))["mIoU"].tolist() == ["52.00 (±2.00, 2 seeds)", "51.00"]


def test_times_and_the_processor_are_those_of_the_first_seed():
    one = {"family": "1", "recipe": "1", "inference_ms": 12.0, "processor": "AMD EPYC, AVX-512, 1 core"}
    two = {"family": "1", "recipe": "2", "inference_ms": 40.0, "processor": "Other"}
    gpu = {"name": "y", "device": "NVIDIA H200", "processor": "AMD EPYC, AVX-512, 1 core", "miou": 0.6}
    rows = board_of(one, two, gpu, {"name": "z", "device": "CPU, 2 cores", "miou": 0.4})
    rows.loc[rows["name"] == "x", "device"] = "CPU, 2 cores"
    shown = tables.shown(rows)
    assert shown["inference"].tolist() == ["12 ms"] * 3
    assert shown["device"].tolist() == ["NVIDIA H200", "AMD EPYC, AVX-512, 1 core", "CPU, 2 cores"]


@pytest.mark.parametrize(("fcn8", "expected"), [(0.56, "yes"), (0.505, "no")])
def test_a_goal_compares_the_gaps_between_fcns_with_the_spread_of_their_seeds(fcn8, expected):
    scores = {"fcn32": (0.45, 0.46), "fcn16": (0.49, 0.51), "fcn8": (0.53, fcn8)}
    pairs = [(name, seed) for name, seeds in scores.items() for seed in seeds]
    fcns = [{"name": name, "family": name, "recipe": f"{name} {miou}", "miou": miou} for name, miou in pairs]
    others = [{"name": "unet", "miou": 0.7}, {"name": "smp.Unet", "peer": "smp", "miou": 0.6}]
    reached = goals.reached(board_of(*fcns, *others).assign(budget="cpu"), board_of({"dice": 0.94}))
    lines = reached.set_index("goal")[["wanted", "reached"]]
    steps, peer = "CamVid, budget `cpu`: fcn32 < fcn16 < fcn8", "CamVid, budget `cpu`: `unet` at least the peer's U-Net"
    wanted = "gaps above 3.00%, the spread of seeds" if fcn8 == 0.56 else "gaps above 2.50%, the spread of seeds"
    assert lines.loc[steps].tolist() == [wanted, expected]
    assert lines.loc[[peer, "Nuclei: Dice", "CamVid: the best network"], "reached"].tolist() == ["yes", "yes", "no"]
    alone = goals.reached(board_of(*fcns[::2], *others).assign(budget="cpu"), board_of({"dice": 0.94}))
    assert alone.set_index("goal").loc[steps].tolist() == ["this order", "45.00% < 49.00% < 53.00%", "yes"]


def test_goals_compare_what_was_trained_alike():
    """The U-Net of another recipe beats the peer; that of the peer's recipe, whose better seed would too, does not."""
    peer = {"name": "smp.Unet", "peer": "smp", "family": "a", "recipe": "a", "miou": 0.6}
    same = [
        {"name": "unet", "family": "a", "recipe": f"a{seed}", "miou": miou} for seed, miou in enumerate((0.62, 0.56))
    ]
    other = {"name": "unet", "family": "b", "recipe": "b", "miou": 0.66, "budget": "gpu"}
    lower = [{"name": name, "recipe": name, "miou": 0.3, "budget": "gpu"} for name in ("fcn32", "fcn16")]
    board = board_of(*({"budget": "cpu"} | row for row in (peer, *same, other, *lower, {"name": "fcn8", "miou": 0.5})))
    reached = goals.reached(board, board_of({"dice": 0.94})).set_index("goal")
    assert reached.loc["CamVid, budget `cpu`: `unet` at least the peer's U-Net"].tolist() == ["60.00%", "59.00%", "no"]
    assert reached.loc["CamVid: `unet` on EfficientNet-Lite0", "best row"] == "66.00%"
    assert not reached.index.str.contains("fcn32").any()  # fcn8 was not trained as the others were


def test_a_search_compares_rows_with_the_base_of_the_same_training():
    rows = [("cpu", "base", 0.6), ("cpu", "new", 0.65), ("gpu", "base", 0.7), ("gpu", "new", 0.69)]
    board = board_of(
        *(
            {"budget": budget, "name": name, "device": budget, "miou": miou, "crop": "2x2"}
            for budget, name, miou in rows
        ),
        {"budget": "tpu", "name": "alone", "miou": 0.1, "crop": "2x2"},
    )
    assert tables.searched(board)["points over base"].tolist() == ["+0.00", "-1.00", "+5.00", "+0.00", ""]


def test_two_classes_are_shown_with_dice_and_the_iou_of_the_foreground():
    shown = tables.shown(board_of({"dice": 0.8, "iou_background": 0.9, "iou_nucleus": 0.667}))
    assert (shown["Dice"][0], shown["IoU nucleus"][0]) == ("80.00", "66.70")


def test_the_tables_of_the_pages_are_those_of_the_files():
    pages = tables_of_pages(leaderboard.all_boards())
    titles = {title for contents in pages.values() for title in contents}
    assert {"leaderboard", "leaderboard camvid", "published camvid", "cost", "crf", "crf_cost", "scores"} <= titles
    for page, contents in pages.items():
        text = (ROOT / page).read_text("utf-8")
        for title, content in contents.items():
            assert tables.replaced(text, title, content, page) == text, (page, title)
    with pytest.raises(ValueError, match=r"README\.md lacks the line '<!-- new -->'"):
        tables.replaced(text, "new", content, "README.md")


def test_the_table_of_the_readme_has_the_best_row_of_eight_models():
    names = tables.best(leaderboard.read(leaderboard.LEADERBOARDS / "camvid.csv"))["name"]
    assert len(names) == len(set(names)) <= 8


def test_a_mistake_is_one_line():
    command = [sys.executable, "-m", "benchmarks", "run", "quickstart", "--only", "fcn7"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    message = "error: suite 'quickstart' has no model 'fcn7': there are fcn32, fcn16, fcn8, unet, deeplabv3"
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, message)
    assert "Traceback" not in done.stderr


def test_a_copy_without_git_takes_its_commit_from_the_environment(monkeypatch):
    monkeypatch.setenv("KSEG_COMMIT", "0123456789ab")
    assert machine.current_commit() == "0123456789ab"


def test_a_peer_asks_for_its_own_backend(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    run = CliRunner().invoke(app, ["peer", "camvid"])
    assert "set KERAS_BACKEND=torch, it is jax" in str(run.exception)
