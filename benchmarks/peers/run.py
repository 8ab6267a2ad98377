"""The row of a peer: trained, tested and recorded as the suite's own models are."""

import pathlib
from typing import Any

import safetensors.torch
import torch

from benchmarks import leaderboard, machine
from benchmarks.peers import smp, training
from benchmarks.suite import Suite
from kseg import data, download, pretrained
from kseg.progress import Reporter
from kseg.training import Recipe, dataset, evaluate


def add_row(suite: Suite, folder: pathlib.Path, path: pathlib.Path, *, data_root: str | None = None) -> None:
    """Trains segmentation-models-pytorch's U-Net by the recipe of the suite's `unet`, and adds its row.

    Args:
        suite: The suite.
        folder: The folder of the suite's runs.
        path: The leaderboard's file.
        data_root: As in `kseg.training.train`.

    Raises:
        ValueError: If the suite has no `unet`, or its recipe has an option that peers do not support.
    """
    if "unet" not in suite.recipes:
        raise ValueError(f"the peer takes the recipe of a model 'unet', which suite {suite.title!r} does not have")
    recipe, say = suite.recipes["unet"], Reporter().line
    if not leaderboard.rows_of(leaderboard.read(path), recipe, peers=True).empty:
        say(f"{smp.NAME} is in {path} already")
        return
    commit = machine.current_commit()
    test = dataset(recipe, "test", data_root)
    torch.manual_seed(recipe.seed)
    net = smp.Unet(test.num_classes, pretrained=recipe.model.encoder_weights == "imagenet")
    result = training.train(net, recipe, data_root=data_root)
    weights = pretrained.atomic_write(folder / smp.NAME / "best.safetensors", safetensors.torch.save(net.state_dict()))
    new = _row(suite, recipe, net, result, test, commit) | {"weights_sha256": download.file_sha256(weights)}
    leaderboard.add(path, new)
    say(f"{smp.NAME}: test mIoU {new['miou']:.4f}, pixel accuracy {new['pixel_accuracy']:.4f}")


def _row(
    suite: Suite, recipe: Recipe, net: torch.nn.Module, result: dict[str, Any], test: data.Dataset, commit: str
) -> dict[str, Any]:
    image = test[0][0]
    packages = ("kseg", "python", "numpy", "albumentations", "grain", "torch")
    scores = evaluate(lambda image: training.predict(net, image[None])[0], test)
    return {
        **leaderboard.described(suite, smp.NAME, recipe),
        "peer": smp.version(),
        "model": "Unet",
        "encoder": "efficientnet_lite0",
        "encoder_weights": recipe.model.encoder_weights,
        "commit": commit,
        "epochs": result["epochs"],
        "epoch": result["epoch"],
        **leaderboard.tested(test, result["scores"], scores, None),
        "parameters": smp.parameters(net),
        "multiply_adds": smp.multiply_adds(net, image.shape[:2]),
        "seconds": round(result["seconds"], 1),
        "images_per_second": round(result["images_per_second"], 1),
        "peak_memory_mb": leaderboard.megabytes(result["peak_memory"]),
        "inference_ms": round(leaderboard.inference_ms(lambda images: training.predict(net, images), image), 1),
        "device": machine.device(),
        "backend": "torch",
        "versions": " ".join(f"{package}={result[package]}" for package in packages),
    }
