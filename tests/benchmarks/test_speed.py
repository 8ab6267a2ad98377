"""The measurement of speed, on tiny images; all ways run in this process, on its backend."""

import contextlib
import runpy
import sys

import keras
import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks.experiments import _charts, speed
from benchmarks.experiments import _ways as ways
from benchmarks.peers import smp
from benchmarks.peers import speed as peers
from benchmarks.process import ChildError
from kseg import losses, training, zoo

BACKEND = {"tensorflow": "kseg TensorFlow", "jax": "kseg JAX", "torch": "kseg PyTorch"}[keras.backend.backend()]


class Here(contextlib.nullcontext):
    """A worker without a process: it keeps its job."""

    order = []

    def __init__(self, **environment):
        super().__init__(self)

    def __call__(self, function, *arguments):
        speed._run = getattr(self, "job", None)
        Here.order.append(self)
        try:
            return function(*arguments)
        except Exception as error:
            raise ChildError(f"{type(error).__name__}: {error}") from error
        finally:
            self.job = speed._run


def run_here(*arguments):
    """Runs a program in this process."""

    def run():
        before, sys.argv = sys.argv, ["program", *map(str, arguments[2:])]
        try:
            runpy.run_module(arguments[1], run_name="__main__")
        except SystemExit as done:
            assert not done.code
        finally:
            sys.argv = before

    return run, None


def small_model(case):
    """A model of few layers, which compiles fast."""
    model = zoo.full_resolution(ways.CLASSES, filters=(32, 32))
    model.compile(training.AdamW(1e-3), losses.CrossEntropy())
    return model


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch, torchvision):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")  # `compare` changes it
    monkeypatch.setattr(speed, "Worker", Here)
    monkeypatch.setattr(ways, "program", run_here)


@pytest.mark.filterwarnings("ignore")  # of the export of a peer
def test_kseg_and_peers_are_timed_in_turn(monkeypatch):
    monkeypatch.setattr(ways, "model_of", small_model)
    monkeypatch.setattr(peers, "ENCODER", "resnet18")
    monkeypatch.setattr(peers, "MATRIX", 256)
    way = [BACKEND, "channels_last", "SMP OpenVINO"]
    options = {"size": (32, 48), "crop": (32, 64), "batch": 1, "images": 2, "rounds": 1, "seconds": 0.0}
    rows = speed.measure(only=["inference", "training", "epoch", "predict", "scores"], net=["unet"], way=way, **options)
    assert set(rows["way"]) == {BACKEND, "SMP channels_last", "SMP OpenVINO"}
    assert (rows[["seconds", "cpu_seconds", "ratio", "rounds"]] > 0).all(axis=None)
    counted = rows["part"].isin(["inference", "training"])
    assert (rows["gmacs"] > 0).eq(counted).all() and (rows["peak_gmacs"] > 0).eq(counted).all()
    assert rows[rows["way"].str.startswith("SMP")].groupby(["part", "batch"])["ratio"].min().eq(1).all()
    table = speed.shown(rows)
    what = ["inference, 1 of 32x48", "training, 1 of 32x64", "epoch, 2 of 32x64", "predict, 2 of 32x48"]
    assert table["what"].tolist() == what
    assert table[BACKEND].str.match(r"\d+\.\d\d \([\d.e-]+ s(, \d+ MB)?\)$").all()


def test_rounds_alternate_between_the_ways():
    Here.order.clear()
    speed.measure(only=["scores"], size=(32, 48), rounds=2, seconds=0.0)
    assert [Here.order.index(worker) for worker in Here.order] == [0, 1] * 3  # prepared, then timed twice


def test_a_way_that_does_not_work_is_left_out(capsys, monkeypatch):
    monkeypatch.setitem(ways.JOBS, "scores", lambda way, case: 1 / 0)
    rows = speed.measure(only=["scores"], size=(32, 48), rounds=1, seconds=0.0)
    assert rows["way"].tolist() == ["torchmetrics"]
    assert "kseg is left out: ZeroDivisionError: division by zero" in capsys.readouterr().out
    with pytest.raises(ValueError, match="nothing was measured"):
        speed.measure(only=["scores"], way=["kseg"])
    with pytest.raises(ValueError, match="unknown: speed; --only takes inference, "):
        speed.measure(only=["speed"])
    assert speed.shown(rows)["fastest peer"][0].startswith("torchmetrics: ")


@pytest.mark.filterwarnings("ignore:aspp. rates", "ignore:.timm-. encoders are deprecated")
def test_nets_of_peers_are_those_of_kseg(monkeypatch, without_memory):
    """Only SMP's encoder has layers that it does not run: those between the features and ImageNet's classes."""
    monkeypatch.setattr(peers, "device", lambda: torch.device("meta"))
    nets = {"unet": "SMP eager", "deeplabv3plus": "SMP eager", "deeplabv3": "torchvision compiled"}
    for net, name in nets.items():
        case = ways.Case("training", net, (64, 64))
        ours = getattr(zoo, net)(ways.CLASSES, encoder_weights=None, **ways.NETS[net])
        with torch.device("meta"):
            theirs = peers.Logits(next(way for way in ways.WAYS if way.name == name), case)
        assert smp.multiply_adds(theirs, (64, 64)) == zoo.multiply_adds(ours, (64, 64))
        unused = 320 * 1280 + 4 * 1280 if net == "unet" else 0
        assert smp.parameters(theirs) == ours.count_params() + unused


def test_scores_of_peers_are_those_of_kseg():
    case = ways.Case("scores", size=(16, 24), batch=3)
    ours, theirs = (jobs["scores"](ways.WAYS[0], case)[0]() for jobs in (ways.JOBS, peers.JOBS))
    np.testing.assert_allclose(theirs, ours["iou"], atol=1e-6)


def test_charts_are_drawn_alike_each_time():
    """Every case and way is named, with its ratio and time."""
    shared = {"net": "unet", "processor": "P", "threads": 2, "precision": "float32"}
    cases = [("training", "64x96", 8, 2.0), ("growth", "256x256", 1, 0.5), ("growth", "512x512", 1, 2.0)]
    cases += [("growth", "256x256", 2, 1.0)]
    rows = [
        {"part": part, "size": size, "batch": batch, "way": way, "seconds": ratio * seconds, "ratio": ratio} | shared
        for part, size, batch, seconds in cases
        for way, ratio in (("kseg JAX", 0.75), ("SMP eager", 1.0), ("SMP compiled", 5.25))
    ]
    first, second = (speed.charts(pd.DataFrame(rows)) for _ in range(2))
    assert first == second and first.keys() == {"ratios", "growth"}
    for text in ("kseg JAX", "SMP eager", "training, 8 of 64x96, unet", "0.75  1.5 s", "5.2 (cut off)  10.5 s"):
        assert f">{text}<" in first["ratios"]
    assert first["growth"].count(">kseg JAX<") == 2
    assert speed.charts(pd.DataFrame(rows[:3])).keys() == {"ratios"}


def test_growth_is_per_megapixel(monkeypatch):
    rows = pd.DataFrame(
        {"part": "growth", "size": ["1000x1000", "2000x2000", "1000x1000"], "batch": [1, 1, 8], "way": "kseg JAX",
         "seconds": [0.5, 2.0, 4.0], "processor": "P", "threads": 2, "precision": "float32"}
    )  # fmt: skip
    drawn = []
    monkeypatch.setattr(_charts, "_lines_by_way", lambda axes, rows, *rest: drawn.append(rows["cost"].tolist()))
    _charts.growth(rows)
    assert drawn == [[0.5, 0.5], [0.5, 0.5]]
