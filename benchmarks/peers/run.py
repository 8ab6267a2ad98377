"""The row of a peer: trained, tested and recorded as the suite's own models are."""

import functools
import pathlib

import keras
import safetensors.torch
import torch

from benchmarks import leaderboard, machine
from benchmarks.peers import smp, training
from benchmarks.suite import Suite
from kseg import pretrained
from kseg.progress import Reporter
from kseg.training import dataset, evaluate


def add_row(suite: Suite, folder: pathlib.Path, path: pathlib.Path, *, data_root: str | None = None) -> None:
    """Trains segmentation-models-pytorch's U-Net by the recipe of the suite's `unet`, and adds its row."""
    if keras.backend.backend() != "torch":
        raise ValueError(f"peers need the PyTorch backend: set KERAS_BACKEND=torch, it is {keras.backend.backend()}")
    if "unet" not in suite.recipes:
        raise ValueError(f"the peer takes the recipe of a model 'unet', which suite {suite.title!r} does not have")
    recipe, say = suite.recipes["unet"], Reporter().line
    if not leaderboard.rows_of(leaderboard.read(path), recipe, peers=True).empty:
        say(f"{smp.NAME} is in {path} already")
        return
    commit = machine.current_commit()
    test = dataset(recipe, suite.split, data_root)
    torch.manual_seed(recipe.seed)
    net = smp.Unet(test.num_classes, pretrained=recipe.model.encoder_weights == "imagenet")
    result = training.train(net, recipe, data_root=data_root)
    predict = functools.partial(training.predict, net)
    weights = pretrained.atomic_write(folder / smp.NAME / "best.safetensors", safetensors.torch.save(net.state_dict()))
    scores = evaluate(lambda image: predict(image[None])[0], test)
    cost = functools.partial(smp.multiply_adds, net)
    row = leaderboard.row(suite, smp.NAME, recipe, result, scores, None, test, weights, commit, predict, cost)
    row |= {"peer": smp.version(), "model": "Unet", "encoder": "efficientnet_lite0"}
    leaderboard.add(path, row)
    say(f"{smp.NAME}: {suite.split} mIoU {row['miou']:.4f}, pixel accuracy {row['pixel_accuracy']:.4f}")
