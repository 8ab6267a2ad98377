"""Train a PyTorch peer by a recipe of kseg: the same batches, loss, schedule, averaged weights and scores."""

import copy
import math
import statistics
import time
from typing import Any

import keras
import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from benchmarks.peers import smp
from kseg import training
from kseg.progress import Reporter
from kseg.training import Recipe, evaluate
from kseg.training.recipe import Model

SUPPORTED = (
    "loss.",
    "seed:",
    "selection.every:",
    "optimizer.learning_rate:",
    "optimizer.weight_decay:",
    "optimizer.decay_norm:",
    "optimizer.warmup_",
    "optimizer.power:",
    "optimizer.ema:",
    "precision: float32 -> mixed_bfloat16",
    "model.encoder_weights: imagenet -> none",
)
"""How a recipe may differ from the defaults besides `[data]` and `epochs`, see `kseg.training.Recipe.differences`."""


def device() -> torch.device:
    """Returns the device that peers are trained on."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def train(net: torch.nn.Module, recipe: Recipe, *, data_root: str | None = None) -> dict[str, Any]:
    """Trains a net, from images `(N, H, W, C)` to logits `(N, num_classes, H, W)`; it has the best weights at the end.

    Returns those results of `kseg.training.train` that a leaderboard needs. A recipe with an option that peers do not
    support is refused with a ValueError.
    """
    _check(recipe)
    train_split, val_split = (training.dataset(recipe, split, data_root) for split in ("train", "val"))
    if train_split.num_classes == 1:
        raise ValueError(f"peers need several classes, {train_split.name} is binary")
    torch.backends.cudnn.benchmark = True  # crops have one size: the fastest algorithms are searched, as XLA does
    steps = training.steps_per_epoch(recipe, train_split)
    trainer = _Trainer(net.to(device()), recipe, steps, training.loss(recipe, train_split))
    batches = iter(training.batches(recipe, train_split, 0))
    start, speeds = time.perf_counter(), []
    best: dict[str, Any] = {"epoch": 0, "miou": -1.0}
    for epoch in range(recipe.epochs):
        net.train()
        epoch_start = time.perf_counter()
        loss = float(torch.stack([trainer.step(*next(batches)) for _ in range(steps)]).mean())
        speeds.append(steps * recipe.data.batch_size / (time.perf_counter() - epoch_start))
        if not math.isfinite(loss):
            raise ValueError(
                f"the loss is {loss} in epoch {epoch + 1}: lower the learning rate, or lengthen the warmup"
            )
        line = f"epoch {epoch + 1}/{recipe.epochs}  loss {loss:.4f}  {speeds[-1]:.1f} images/s"
        every = recipe.selection.every
        if epoch + 1 == recipe.epochs or (every and (epoch + 1) % every == 0):
            miou = evaluate(lambda image: predict(trainer.averaged, image[None])[0], val_split)["miou"]
            line += f"  val miou {miou:.4f}"
            if miou > best["miou"] or not every:
                best = {"epoch": epoch + 1, "miou": miou, "weights": copy.deepcopy(trainer.averaged.state_dict())}
        Reporter().line(line)
    net.load_state_dict(best["weights"])
    return {
        "epochs": recipe.epochs,
        "epoch": best["epoch"],
        "scores": {"miou": best["miou"]},
        "parameters": smp.parameters(net),
        "seconds": time.perf_counter() - start,
        "images_per_second": statistics.median(speeds),
        "peak_memory": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None,
        **(training.versions() | {"backend": "torch", "torch": torch.__version__}),
    }


def _check(recipe: Recipe) -> None:
    plain = Recipe(data=recipe.data, model=Model(builder=recipe.model.builder), epochs=recipe.epochs)
    for difference in plain.differences(recipe):
        if not difference.startswith(SUPPORTED):
            raise ValueError(f"peers know only the default of this setting, leave it out: {difference}")


class _Trainer:
    """The net, its optimizer and the average of its weights: `averaged`, which is the net itself without `ema`."""

    def __init__(self, net: torch.nn.Module, recipe: Recipe, steps: int, loss: keras.losses.Loss):
        self.net, self.loss = net, loss
        self.autocast = recipe.precision == "mixed_bfloat16"
        self.schedule = training.schedule(recipe, steps)
        self.steps = 0
        section = recipe.optimizer
        flat = [parameter for parameter in net.parameters() if parameter.ndim < 2]
        deep = [parameter for parameter in net.parameters() if parameter.ndim >= 2]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": deep, "weight_decay": section.weight_decay},
                {"params": flat, "weight_decay": section.weight_decay if section.decay_norm else 0.0},
            ],
            lr=section.learning_rate,
        )
        self.average, self.averaged = None, net
        if section.ema is not None:
            self.average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(section.ema))
            self.averaged = self.average.module

    def step(self, images: np.ndarray, labels: np.ndarray) -> torch.Tensor:
        """Does one step and returns the loss."""
        with keras.device("cpu"):  # else the rate is computed on the GPU, and the step waits for it
            rate = float(self.schedule(self.steps))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast(device().type, torch.bfloat16, enabled=self.autocast):
            logits = self.net(torch.from_numpy(images).to(device()))
        loss = self.loss(torch.from_numpy(labels).to(device()), logits.float().permute(0, 2, 3, 1))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.net)
        self.steps += 1
        return loss.detach()


def predict(net: torch.nn.Module, images: np.ndarray) -> np.ndarray:
    """Labels images `(N, H, W, C)`: class ids `(N, H, W)`."""
    with torch.inference_mode():
        return net.eval()(torch.from_numpy(images).to(device())).argmax(1).cpu().numpy()
