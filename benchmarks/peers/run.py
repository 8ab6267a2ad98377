"""A peer's row: trained, tested and recorded as the suite's own models are."""

import pathlib
from typing import Any

import torch

from benchmarks import leaderboard, machine
from benchmarks.peers import smp, training
from benchmarks.suite import Suite
from kseg import download, pretrained
from kseg.progress import Reporter
from kseg.training import Recipe, dataset, evaluate


def run(
    suite: Suite,
    folder: pathlib.Path,
    board: pathlib.Path,
    *,
    data_root: str | None = None,
    minutes: float | None = None,
) -> None:
    """Trains segmentation-models-pytorch's U-Net by the recipe of the suite's `unet`, and adds its row.

    Args:
        suite: The suite.
        folder: Where the suite's runs lie.
        board: The leaderboard's file.
        data_root: As in `kseg.training.train`.
        minutes: Stop after the last epoch that fits into that time, but do one; the same call goes on. The test after
            the last epoch comes on top.

    Raises:
        ValueError: The suite has no `unet`, or its recipe asks for what peers do not do.
    """
    if "unet" not in suite.recipes:
        raise ValueError(f"suite {suite.title!r} has no model 'unet' whose recipe the peer could take")
    recipe = suite.recipes["unet"]
    say = Reporter().line
    rows = leaderboard.read(board)
    if not leaderboard.rows_of(rows, recipe, peers=True).empty:
        say(f"{smp.NAME} is in {board} already")
        return
    began = folder / smp.NAME / "commit.txt"
    if not began.is_file():
        pretrained.atomic_write(began, machine.current_commit().encode())
    test = dataset(recipe, "test", data_root)
    torch.manual_seed(recipe.seed)
    net = smp.Unet(test.num_classes, pretrained=recipe.model.encoder_weights == "imagenet")
    result = training.train(net, recipe, folder / smp.NAME, data_root=data_root, minutes=minutes)
    if not result["finished"]:
        say(f"{smp.NAME}: stopped after epoch {result['epochs']} of {recipe.epochs}; the same command goes on")
        return
    new = row(suite, recipe, net, result, test, folder / smp.NAME / training.BEST, began.read_text())
    leaderboard.add(board, new)
    say(f"{smp.NAME}: test mIoU {new['miou']:.4f}, pixel accuracy {new['pixel_accuracy']:.4f}")


def row(
    suite: Suite, recipe: Recipe, net: torch.nn.Module, result: dict, test: Any, weights: pathlib.Path, commit: str
) -> dict[str, Any]:
    """Puts together the peer's row; arguments are those of `benchmarks.leaderboard.row`."""
    scores = evaluate(lambda image: training.predict(net, image[None])[0], test)
    image = test[0][0]
    packages = ("kseg", "python", "numpy", "albumentations", "grain", "torch")
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
        "weights_sha256": download.file_sha256(weights),
    }
