"""Runs on Ray itself, with two workers on this machine, against runs without it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import keras
import pyarrow
import pyarrow.parquet
import pytest
import ray

from kseg.cli import _ray
from tests.cli.command import kseg_command
from tests.prediction.conftest import PIXELS, TILE, files

# Ray starts its processes by fork and exec, which is safe; JAX warns of forks once a test has used it in this process.
pytestmark = pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")

SECONDS = 300
"""Longest wait for something to happen in another process."""
OPTIONS = ("--format", "png,tif,npy,geojson,coco,parquet", "--tile", TILE)
THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A model that a file describes whole: other processes do not know the builders of tests."""
    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(8, 5, padding="same", activation="relu")(keras.layers.Rescaling(1 / 255)(image))
    path = tmp_path_factory.mktemp("weights") / "model.keras"
    keras.Model(image, keras.layers.Conv2D(3, 3, padding="same")(x)).save(path)
    return path


@pytest.fixture(scope="module")
def places(photos):
    """A folder, an address and a Parquet file."""
    rows = [{"bytes": path.read_bytes(), "path": path.name} for path in sorted(photos.glob("0*.png"))]
    pyarrow.parquet.write_table(pyarrow.table({"image": rows}), photos / "rows.parquet", row_group_size=4)
    return [photos, f"file://{photos}/other", photos / "rows.parquet"]


@pytest.fixture(scope="module", autouse=True)
def cluster():
    with pytest.MonkeyPatch.context() as patch:
        for name in THREADS:
            patch.setenv(name, "1")
        patch.setattr(_ray, "SPREAD", PIXELS)
        found = ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        yield found.address_info["gcs_address"]
        ray.shutdown()


def until(condition):
    """Waits until a function returns something, and returns it."""
    end = time.monotonic() + SECONDS
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.002)
    return found


def records(out, least):
    """Waits for some records of images, and returns them."""
    found = []

    def are_there():
        found[:] = out.glob(".kseg-predict/??/*.json")
        return len(found) >= least

    until(are_there)
    return found


def test_a_killed_worker_loses_and_doubles_nothing(weights, places, tmp_path):
    told = ("predict", *places, "--weights", weights, *OPTIONS)
    plain = kseg_command(*told, "-o", tmp_path / "plain")
    out, seen = tmp_path / "ray", []

    def kill():
        """Kills the worker that has labeled the first image."""
        seen.extend(records(out, 1))
        os.kill(int(json.loads(seen[0].read_text())["by"].split()[-1]), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    done = kseg_command(*told, "-o", out, "--ray", "--workers", 2)
    killer.join()
    assert done.exit_code == plain.exit_code == 1, done.output
    assert done.stderr == plain.stderr and "broken.png: not an image" in done.stderr
    told = [line for line in done.stdout.splitlines() if "(raylet)" not in line]  # Ray's word on the killed worker
    assert told[1:] == plain.stdout.splitlines()[1:]
    assert files(out) == files(tmp_path / "plain")
    found = [json.loads(path.read_text()) for path in out.glob(".kseg-predict/??/*.json")]
    assert len(seen) < 10 and len({each["by"] for each in found}) >= 3  # workers, and the process that joins tiles
    assert len(found) == len({each["image"] for each in found}) == 38


def test_a_killed_command_is_continued(weights, photos, cluster, tmp_path):
    told = ("predict", photos, "--weights", weights, *OPTIONS, "-o")
    command = [sys.executable, "-m", "kseg.cli", *told, tmp_path / "ray", "--workers", 1, "--ray", cluster]
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as driver:
        records(tmp_path / "ray", 3)
        driver.kill()
    masks = {path: path.stat().st_mtime_ns for path in tmp_path.glob("ray/masks/*.png")}
    before = len(records(tmp_path / "ray", 3))
    assert before < 27
    done = kseg_command(*told, tmp_path / "ray", "--workers", 1, "--ray")
    plain = kseg_command(*told, tmp_path / "plain")
    assert done.exit_code == plain.exit_code == 1 and done.stderr == plain.stderr, done.output
    for half in (tmp_path / "ray").glob("*/.*.kseg-*"):  # what a killed worker was writing
        half.unlink()
    assert files(tmp_path / "ray") == files(tmp_path / "plain")
    kept = [path for path, written in masks.items() if path.stat().st_mtime_ns == written]
    assert before - 1 <= len(kept) <= before + 2  # one may have failed; two were written, and not their records
