"""Training in several processes and on several devices against training on one."""

import functools
import json
import pathlib
import signal
import socket
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file

from kseg import data
from kseg.training import Recipe, train
from kseg.training.hosts import Place, place_in, place_of, torchrun
from tests.training import networks, tiny

ROOT = pathlib.Path(__file__).parents[2]
BACKEND = keras.backend.backend()
# Crops contain void, of which the processes have different shares.
CONTENT = tiny.content(
    data={"batch_size": 8},
    model={"options": {"dropout": 0.0}},
    rematerialize=True,
    loss={"name": "cross_entropy + 0.5 * dice"},
    optimizer={
        "ema": 0.8,
        "global_clipnorm": 0.5,
        "warmup_steps": 1,
        "accumulate": 1 if BACKEND == "tensorflow" else 2,
    },
)


def free_port():
    """A port that is free, as is the next one."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as first:
            port = first.getsockname()[1]
            try:
                socket.create_server(("127.0.0.1", port + 1)).close()
            except OSError:
                continue
            return port


def start(folder, *arguments, host=(), launcher=(), **place):
    """Starts a process of a run; one that is not the first has a folder that does not exist."""
    process = place.get("process", 0)
    recipe = folder.parent / f"{folder.name}-{process}-{len(place)}.json"
    recipe.write_text(json.dumps(CONTENT | {"distribution": place}))
    run = folder if process == 0 else folder / "absent"
    command = [*host, sys.executable, *launcher, "-m", "tests.training.worker", recipe, run]
    return subprocess.Popen([*command, *arguments], cwd=ROOT, stderr=subprocess.PIPE, text=True)


def finish(process):
    messages = process.communicate(timeout=240)[1]
    assert process.returncode == 0, messages


def pair(folder, *, killed=None):
    """Runs two processes, of which one may kill itself after the first epoch; returns exit codes and messages."""
    with networks.two_hosts() as (address, hosts):
        place = {"hosts": f"{address}:{free_port()}", "processes": 2}
        both = [start(folder, *["1"] * (i == killed), host=hosts[i], process=i, **place) for i in range(2)]
        messages = [each.communicate(timeout=240)[1] for each in both]
    return [each.returncode for each in both], messages


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    train(Recipe.from_dict(CONTENT), folder, progress=False)
    return folder


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """A run on two devices of one process on TensorFlow; else one of two processes, of which one is killed at first.

    JAX goes on with four devices of one process, PyTorch with two processes of torchrun.
    """
    folder = tmp_path_factory.mktemp("together") / "run"
    if BACKEND == "tensorflow":
        finish(start(folder, devices=2))
        return folder
    begun = time.monotonic()
    codes, messages = pair(folder, killed=1)
    assert codes == [1, -signal.SIGKILL]
    assert time.monotonic() - begun < 100  # the start, the epoch, and at most a minute
    assert f"process 1 on {socket.gethostname()} has ended" in messages[0]
    assert "the same command on every host resumes it" in messages[0]
    if BACKEND == "jax":
        finish(start(folder, devices=4))
    else:
        finish(start(folder, launcher=torchrun(2, None, None, None)))
    return folder


def test_losses_and_scores_are_those_of_one_device(alone, together):
    rows = [np.genfromtxt(folder / "log.csv", delimiter=",", names=True) for folder in (alone, together)]
    assert rows[0].dtype == rows[1].dtype and len(rows[1]) == 3
    for name in ("loss", "val_loss", "val_miou", "val_pixel_accuracy", "learning_rate"):
        np.testing.assert_allclose(rows[1][name], rows[0][name], rtol=1e-4, err_msg=name)


@pytest.mark.parametrize("file", ["best.safetensors", "checkpoint.safetensors"])
def test_weights_are_those_of_one_device(alone, together, file):
    expected, got = load_file(alone / file), load_file(together / file)
    assert expected.keys() == got.keys()
    for name, values in expected.items():
        if values.dtype.kind == "f":
            np.testing.assert_allclose(got[name], values, atol=1e-5 * max(1, np.abs(values).max()), err_msg=name)
        else:
            np.testing.assert_array_equal(got[name], values)


def test_process_0_alone_writes_the_files_of_one_device(alone, together):
    assert {path.name for path in together.iterdir()} == {path.name for path in alone.iterdir()}
    matrices = [(folder / "confusion.csv").read_text() for folder in (alone, together)]
    assert matrices[0] == matrices[1]


def test_accumulated_gradients_are_those_of_the_batch(alone, tmp_path):
    """Without what sees one part at a time: batch normalization is frozen, and the loss has no Dice."""
    optimizer = CONTENT["optimizer"] | {"encoder_factor": 0.0}
    content = CONTENT | {"loss": {"class_weights": [1, 2, 1, 1, 3, 1, 1, 1]}, "epochs": 2}
    states = []
    for name, parts in (("whole", {"accumulate": 1}), ("parts", {"accumulate": 2})):
        recipe = Recipe.from_dict(content | {"optimizer": optimizer | parts})
        train(recipe, tmp_path / name, progress=False)
        states.append(load_file(tmp_path / name / "checkpoint.safetensors"))
    whole, parts = states
    assert int(parts["optimizer/iteration"]) == 2 * int(whole["optimizer/iteration"])
    for name, values in whole.items():
        if values.dtype.kind == "f":
            np.testing.assert_allclose(parts[name], values, atol=1e-6 * max(1, np.abs(values).max()), err_msg=name)
    rows = [np.genfromtxt(tmp_path / name / "log.csv", delimiter=",", names=True) for name in ("whole", "parts")]
    np.testing.assert_allclose(rows[1]["loss"], rows[0]["loss"], rtol=1e-5)
    np.testing.assert_array_equal(rows[1]["learning_rate"], rows[0]["learning_rate"])


def test_shards_hold_the_samples_of_each_batch():
    streets = data.load("streets", "val", count=7, size=(32, 32))
    read = functools.partial(data.loader, streets, batch_size=6, seed=3, start_step=2, num_threads=0)
    (whole, _), *parts = (next(iter(read(shard=shard))) for shard in ((0, 1), (0, 3), (1, 3), (2, 3)))
    assert [images.shape for images, _ in parts] == [(2, 32, 32, 3)] * 3
    found = [image.tobytes() for images, _ in parts for image in images]
    assert sorted(found) == sorted(image.tobytes() for image in whole)
    with pytest.raises(
        ValueError, match=r"shard is \(process, processes\), which divides batch_size = 6, got \(0, 4\)"
    ):
        read(shard=(0, 4))


@pytest.mark.parametrize(
    "environment, expected",
    [
        ({}, None),
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, None),  # an allocation, not a step
        ({"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "a", "MASTER_PORT": "9"}, None),
        (
            {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "MASTER_ADDR": "a", "MASTER_PORT": "99"},
            Place("a", 99, 4, 3, 1),
        ),
        (
            {"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1", "SLURM_STEP_NODELIST": "tux7,tux9"},
            Place("tux7", 29400, 2, 1),
        ),
    ],
)
def test_the_place_is_read_from_the_environment(environment, expected):
    assert place_in(environment) == expected


def test_the_place_is_stated(monkeypatch):
    assert place_of("node-1:77", 3, 2) == Place("node-1", 77, 3, 2)
    assert place_of("node-1:77", 1, 0) is None
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "1")
    assert place_of("node-1:77", 3, None) == Place("node-1", 77, 3, 1)
    for arguments, message in (
        (("node-1:77", 3, 3), "process is 0 to 2 for 3 processes, got 3"),
        (("node-1", 3, 0), "hosts is the address and a port of process 0, as node-1:29400, got 'node-1'"),
        ((None, 3, 0), "several hosts need hosts, processes and process: hosts is missing"),
    ):
        with pytest.raises(ValueError, match=message):
            place_of(*arguments)
    assert torchrun(2, "a:9", 3, 1) == [
        *("-m", "torch.distributed.run", "--nnodes=3", "--node-rank=1", "--master-addr=a", "--master-port=9"),
        "--nproc-per-node=2",
    ]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"distribution": {"devices": 3}}, r"devices|process"),
        ({"optimizer": {"accumulate": 3}}, r"batch_size = 8 cannot be divided by accumulate = 3: choose a multiple"),
    ],
)
def test_what_cannot_be_divided_is_refused(change, message, tmp_path):
    content = {name: {**CONTENT.get(name, {}), **section} for name, section in change.items()}
    with pytest.raises(ValueError, match=message):
        train(Recipe.from_dict(CONTENT | content), tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_the_distribution_does_not_change_the_recipe():
    recipe = Recipe.from_dict(CONTENT)
    assert recipe.on(devices=4).hash() == recipe.hash()
    assert recipe.on(devices=4).differences(recipe) == []
    assert recipe.on(devices=4).on(devices=None).distribution.devices == 4
