"""The stand-alone measurements, on small images."""

import json
import pathlib
import sys
import types

import keras
import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from benchmarks import experiments
from benchmarks.commands import app
from benchmarks.experiments import (
    checkpoints,
    choosing,
    cluster,
    cost,
    crf,
    crf_cost,
    loader,
    precision,
    scores,
    shards,
    ties,
)
from benchmarks.peers import files
from benchmarks.process import apart
from kseg import data, pretrained, training


def test_every_experiment_is_a_command_and_shows_what_it_stored():
    listed = CliRunner().invoke(app, ["--help"]).output
    assert all(name in listed for name in experiments.NAMES)
    shown = experiments.tables(experiments.PAGE).keys()
    assert {"cost", "crf", "crf_cost", "scores"} <= shown <= set(experiments.NAMES)


def test_the_input_pipeline_is_measured_with_and_without_augmentation(tmp_path):
    (tmp_path / "small.toml").write_text(
        '[recipe]\nepochs = 1\nmodel = { builder = "unet" }\n[[models]]\nname = "unet"\n'
        '[recipe.data]\nname = "streets"\nbatch_size = 2\ncrop = [16, 24]\n'
        "options = { count = 4, size = [32, 48] }\n[budgets.gpu]\n"
    )
    table = loader.measure(name=str(tmp_path / "small.toml"), seconds=0.05)
    assert table["what"].tolist()[:4] == [
        f"from {place}, {what}" for place in ("files", "memory") for what in ("not augmented", "augmented")
    ]
    assert (table[["images_per_second", "of_one_core"]] > 0).all(axis=None) and table["ratio"][0] == 1
    assert loader.shown(table).shape == (8, 4)


def test_reading_shards_is_measured_in_turn_with_the_folder_and_with_pytorch(tmp_path, monkeypatch):
    in_process = torch.utils.data.DataLoader
    monkeypatch.setattr(
        files, "loader", lambda folder, crop, size, workers: in_process(files.Files(folder, crop), size)
    )
    monkeypatch.setattr(shards.data, "load", lambda name, split, root: data.streets(split, count=6, size=(32, 48)))
    command = ["shards", "--crop", "16", "24", "--batch-size", "2", "--seconds", "0.02", "--rounds", "1"]
    run = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "shards.csv")])
    assert run.exit_code == 0, run.output
    table = experiments.read(tmp_path / "shards.csv")
    assert set(table.way) == {*shards.WAYS.values()} and (table[["images_per_second", "of_one_core"]] > 0).all(
        axis=None
    )
    folder = table[table.way == "kseg, folder"].iloc[0]
    assert (folder.ratio, folder.core_ratio, folder.images) == (1, 1, 6)
    assert folder.folder_bytes < folder.shard_bytes  # padded
    assert shards.shown(table).shape == (5, 7)


def test_the_rate_on_a_cluster_leaves_out_its_start(monkeypatch):
    def seconds_of(command):
        workers = command[-1] if "--ray" in command else "0"
        start, rate = {"0": (2, 4), "1": (10, 4), "2": (12, 8)}[workers]
        images = sorted(pathlib.Path(command[1]).iterdir())
        for number, path in enumerate(images if "--ray" in command else []):
            record = pathlib.Path(command[5], ".kseg-predict", "00", f"{path.stem}.json")
            record.parent.mkdir(parents=True, exist_ok=True)
            record.write_text(json.dumps({"by": "a", "cpu": 5 + number / 4}))
        seconds = start + len(images) / rate
        return seconds, seconds * (workers == "0")

    monkeypatch.setattr(cluster, "seconds_of", seconds_of)
    monkeypatch.setattr(cluster.os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    table = cluster.measure(size=(32, 48), few=2, many=5)
    assert table.images_per_second.tolist() == [4, 4, 8] and table.of_one_core.tolist() == [4, 4, 4]
    assert table.start_seconds.tolist() == [2, 10, 12] and (table.bytes_read > 0).all()
    assert cluster.shown(table).shape == (3, 8)
    with pytest.raises(RuntimeError, match="kseg predict nowhere --weights camvid"):
        monkeypatch.undo()
        cluster.seconds_of(["predict", "nowhere", "--weights", "camvid"])


def test_training_is_timed_in_both_precisions(monkeypatch):
    monkeypatch.setattr(precision, "apart", lambda function, *arguments: function(*arguments))
    monkeypatch.setattr(precision, "NETWORKS", {"full_resolution": "none"})
    (table,) = precision.measure(size=(32, 48), batch_size=1, steps=2, repeats=1)
    assert table[["float32", "mixed_bfloat16", "speedup"]].gt(0).all(axis=None)
    assert precision.shown(table).shape == (1, 7)
    assert keras.config.dtype_policy().name == "float32"


def test_every_way_of_labeling_an_image_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(cost, "apart", lambda function, *arguments: function(*arguments))
    run = CliRunner().invoke(app, ["cost", "--size", "17", "20", "--out", str(tmp_path / "cost.csv")])
    assert run.exit_code == 0, run.output
    table = pd.read_csv(tmp_path / "cost.csv")
    assert table.way.tolist() == ["sliding window", "convolutional", "full resolution", "encoder-decoder"]
    assert (table.seconds > 0).all() and table.ratio.iloc[-1] == 1
    # A patch has 33 x 33 pixels, twice convolved at 31 and 29, then at 12 and 10; 5 x 5 x 64 features are flattened.
    layers = 9 * (31**2 * 3 * 32 + 29**2 * 32 * 32 + 12**2 * 32 * 64 + 10**2 * 64 * 64) + 25 * 64 * 128 + 128 * 11
    assert table.multiply_adds[0] == 17 * 20 * layers
    assert table.multiply_adds[1] < table.multiply_adds[0] / 20


def test_the_dense_crf_is_timed_against_its_authors_code():
    found = apart(crf_cost.measure_picture, "streets", (48, 64))
    assert (found["image"], found["size"]) == ("drawn street", "48x64")
    assert found["ratio"] == pytest.approx(found["seconds"] / found["reference_seconds"], rel=0.2, abs=0.02)
    assert found["labels"] > 0.99 and found["difference"] < 0.01


def test_where_the_system_reports_no_memory_the_rest_is_measured(monkeypatch):
    """Windows has no module `resource`."""
    monkeypatch.setitem(sys.modules, "resource", None)
    found = cost.measure_way("full resolution", (17, 20))
    assert found["memory_mb"] is None and found["seconds"] > 0
    rows = pd.DataFrame([found]).assign(ratio=1.0, size="17x20", backend="jax")
    assert cost.shown(rows)["memory"].tolist() == [""]


def test_memory_is_counted_in_bytes_on_a_mac(monkeypatch):
    """There `ru_maxrss` is in bytes; on Linux it is in units of 1024."""
    usage = types.SimpleNamespace(RUSAGE_SELF=0, getrusage=lambda who: types.SimpleNamespace(ru_maxrss=3 * 2**20))
    monkeypatch.setitem(sys.modules, "resource", usage)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert experiments.memory_raised(2**20) == 2
    monkeypatch.setattr(sys, "platform", "linux")
    assert experiments.memory_raised(2**30) == 2 * 2**10


def test_every_way_of_refining_is_scored():
    """The model alone is scored as `evaluate` scores it; options come from the search."""
    streets = data.streets("val", count=2, size=(32, 40))
    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.Conv2D(8, 1)(image / 255))
    model.layers[-1].set_weights([np.eye(3, 8)[None, None], np.zeros(8)])  # the strongest color: borders for sure
    grid = {"appearance": (0, 2)}
    table = crf.compare(model, {"val": streets, "test": streets}, count=1, grids={"conv": grid, "dense": grid})
    assert table.way.tolist() == ["without", "ConvCRF", "dense CRF"] * 2
    assert table.miou[0] == round(training.evaluate(model, streets)["miou"], 4)
    assert all(text.startswith("appearance=") for text in table.parameters if text)
    assert table.search_images.tolist() == [0, 1, 1] * 2 and table.seconds.notna().tolist() == [False] * 3 + [True] * 3
    assert set(table.backend) == {keras.backend.backend()}


def test_released_weights_are_scored_by_name(tmp_path, monkeypatch):
    scored = []
    monkeypatch.setattr(crf, "compare", lambda *given: scored.append(given) or pd.DataFrame({"way": ["without"]}))
    monkeypatch.setattr(data, "load", lambda name, split, root: split)
    command = ["crf", "--weights", "unet-efficientnet_lite0-camvid", "--out", str(tmp_path / "crf.csv")]
    run = CliRunner().invoke(app, command)
    assert run.exit_code == 0, run.output
    ((model, splits),) = scored
    assert model.name == "unet" and splits == {"val": "val", "test": "test"}
    released = pretrained.RELEASES["unet-efficientnet_lite0-camvid"]
    assert experiments.read(tmp_path / "crf.csv")["weights_sha256"].tolist() == [released.sha256[:12]]


def test_rows_of_other_images_stay(tmp_path, monkeypatch):
    (tmp_path / "CamVid/trainannot").mkdir(parents=True)
    (tmp_path / "cost.csv").write_text("image,seconds\nanother image,1\ndrawn street,2\n")
    monkeypatch.setattr(crf_cost, "apart", lambda _, name, *more: {"image": crf_cost.PICTURES[name], "seconds": 3})
    run = CliRunner().invoke(app, ["crf_cost", "--data-root", str(tmp_path), "--out", str(tmp_path / "cost.csv")])
    assert run.exit_code == 0, run.output
    stored = pd.read_csv(tmp_path / "cost.csv").to_numpy().tolist()
    assert stored == [["CamVid, test", 3], ["another image", 1], ["drawn street", 3]]


def test_scoring_is_timed(monkeypatch):
    monkeypatch.setattr(scores, "REPEATS", 1)
    found = scores.measure(size=(32, 48), batch_size=1).iloc[0]
    # Both times are rounded to 0.1 ms, the share to 4 digits.
    rounding = 0.06 * (1 + abs(found["share"])) / found["predict_ms"] + 1e-4
    assert found["share"] == pytest.approx(found["scores_ms"] / found["predict_ms"], abs=rounding)


def test_a_network_of_another_library_is_compared_with_what_kseg_loads(tmp_path, monkeypatch):
    pairs = {source: checkpoints.cases(source) for source in checkpoints.SOURCES}
    assert ("Unet", "resnet18") in pairs["segmentation-models-pytorch"] and ("lraspp", "mobilenet_v3_large") in pairs[
        "torchvision"
    ]
    assert ("SegformerForSemanticSegmentation", "mit_b0") in pairs["transformers"]
    monkeypatch.setattr(checkpoints, "SIZE", (32, 64))
    row = checkpoints.measure_case("segmentation-models-pytorch", "Unet", "resnet18")
    assert 0 < row["difference"] < 1e-4 and row["builder"] == "unet"
    rows = pd.DataFrame([row, row | {"backend": "another", "difference": 2e-4}, row | {"encoder": "resnet34"}])
    table = checkpoints.shown(rows)
    assert table["unet"].tolist()[0] == "2e-04"
    assert table.attrs["notes"][0] == "segmentation-models-pytorch: 2 networks"


def test_a_network_is_worth_its_time_if_no_other_of_its_training_is_better_and_faster(monkeypatch):
    row = {"budget": "gpu", "epochs": 9, "multiply_adds": 1e9, "parameters": 1e6, "seeds": 1, "spread": 0.0}
    row |= dict.fromkeys((f"iou_{name}" for name in choosing.THIN), 0.5)
    given = {"best": (0.7, 0.3), "worse": (0.6, 0.4), "fast": (0.695, 0.1), "same": (0.5, 0.099), "other": (0.5, 0.9)}
    board = pd.DataFrame(
        [row | {"name": name, "miou": miou, "miou_test_time": miou} for name, (miou, _) in given.items()]
    )
    board.loc[4, "budget"] = "cpu"
    monkeypatch.setattr(choosing, "_board", lambda: board)
    monkeypatch.setattr(choosing, "networks", lambda: given)
    monkeypatch.setattr(choosing, "ENGINES", {"openvino": "OpenVINO"})
    monkeypatch.setattr(
        choosing, "apart", lambda _, name, engine, *rest: {"name": name, "engine": engine, "memory_mb": 5}
    )
    rows = pd.concat(choosing.measure()).assign(seconds=[seconds for _, seconds in given.values()])
    table = choosing.shown(rows)
    assert table["network"].tolist() == ["**best**", "worse", "**fast**", "same", "**other**"]
    assert table["OpenVINO"].tolist() == ["300 ms", "400 ms", "100 ms", "99 ms", "900 ms"]
    advice = "`best` has the highest score, `fast` is the fastest within one point of it, `fast` is the fastest, and"
    assert advice in table.attrs["notes"][2]
    assert "Not timed yet" not in str(table.attrs["notes"])
    assert choosing.shown(rows[rows["name"] != "worse"]).attrs["notes"][-1] == "Not timed yet: worse."
    rows.loc[rows["name"] == "worse", "size"] = "1x1"
    with pytest.raises(ValueError, match=r"choosing\.csv mixes values of size, backend, processor: run"):
        choosing.shown(rows)


def test_a_network_of_the_leaderboard_is_timed(monkeypatch):
    monkeypatch.setattr(
        choosing, "networks", lambda: {"tiny": {"builder": "full_resolution", "num_classes": 2, "filters": [4]}}
    )
    row = choosing.measure_network("tiny", "keras", (16, 16), 1)
    assert row["seconds"] > 0 and (row["name"], row["engine"]) == ("tiny", "keras")


def test_the_widest_near_tie_between_two_runs_is_found():
    features = np.zeros((1, 2, 4, 1), "float32")
    features[0, :, :, 0] = [[1, 2, 5, 5 - 2**-20], [0, 0, 0, 0]]
    first, second = np.array([1, 0]), np.array([1, 1])
    logits, others = np.ones((1, 2, 4, 3)), [np.zeros((1, 2, 2, 1)), np.zeros((1, 1, 1, 1), int)] * (ties.LEVELS - 1)
    runs = [[logits, features, one.reshape(1, 1, 2, 1), *others] for one in (first, second)]
    found = ties.compare(*runs)
    assert (found["choices"], found["differing"]) == (2 + ties.LEVELS - 1, 1)
    assert found["largest_gap"] == pytest.approx(2**-20, rel=0.1)
    assert found["example"].startswith("pool1, row 0, column 1, channel 0: 5.0 and 4.99")
    changed = [logits + [[[[0, 0, 1e-3]], [[0, 0, 1e-5]]]] * np.ones((1, 2, 4, 3))]
    assert ties.beyond([logits], changed) == 0.5
