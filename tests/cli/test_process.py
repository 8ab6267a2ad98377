"""The settings of a command's process, shown by a package `keras` that prints the environment when it is imported."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from kseg.cli import _process

ROOT = pathlib.Path(__file__).parents[2]
KERAS = "import json, os; print(json.dumps(dict(os.environ)), flush=True); os._exit(0)"
TRAIN = ["-m", "kseg.cli", "train", "recipe.toml"]
PREDICT = ["-m", "kseg.cli", "predict", "image.png", "--weights", "unet-efficientnet_lite0-camvid"]
RECIPE = 'epochs = 1\nmodel = { builder = "unet" }\ndata = { name = "streets" }\n'


@pytest.fixture
def at_import(tmp_path):
    """Runs Python and returns the environment in which it first imports Keras."""
    (tmp_path / "keras.py").write_text(KERAS)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    (tmp_path / "image.png").touch()

    def run(arguments, **variables):
        environment = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
        environment |= {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", **variables}
        done = subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.stdout.startswith("{"), done
        return json.loads(done.stdout)

    return run


@pytest.mark.parametrize("arguments", [TRAIN, ["-m", "benchmarks", "quickstart"]], ids=["kseg", "benchmarks"])
def test_onednn_is_on_in_training_before_keras_is_imported(at_import, arguments):
    assert at_import(arguments)["TF_ENABLE_ONEDNN_OPTS"] == "1"


def test_the_users_settings_win(at_import):
    assert at_import(TRAIN, TF_ENABLE_ONEDNN_OPTS="0")["TF_ENABLE_ONEDNN_OPTS"] == "0"


def test_prediction_has_onednn_by_the_vectors_of_the_processor(at_import):
    expected = _process._onednn(training=False).get("TF_ENABLE_ONEDNN_OPTS")
    assert at_import(PREDICT).get("TF_ENABLE_ONEDNN_OPTS") == expected


@pytest.mark.parametrize("features, chosen", [("fma avx2 avx_vnni", "0"), ("avx2 avx512f", "1")])
def test_onednn_predicts_with_avx512_only(tmp_path, monkeypatch, features, chosen):
    (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags : {features}\n")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert _process._onednn(False, tmp_path / "cpuinfo") == {"TF_ENABLE_ONEDNN_OPTS": chosen}


def test_import_kseg_changes_no_settings(at_import):
    before = at_import(["-c", "import keras"])
    assert at_import(["-c", "import kseg"]) == before


@pytest.mark.parametrize("files, cores", [
    ({"cpu.max": "150000 100000\n"}, "2"),
    ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, "1"),
    ({"cpu.max": "max 100000\n"}, None),
    ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
    ({"cpu.max": "800000 100000\n"}, None),
    ({}, None),
])  # fmt: skip
def test_threads_are_limited_to_the_cores_of_a_container(tmp_path, monkeypatch, files, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert _process._threads(tmp_path) == ({} if cores is None else dict.fromkeys(_process.THREADS, cores))
