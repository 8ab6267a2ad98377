"""Trains a PyTorch peer by a recipe of kseg: its loader, augmentation, schedule, class weights and metric."""

import io
import math
import pathlib
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import torch
from torch.nn.functional import cross_entropy

from kseg import pretrained
from kseg.progress import Reporter
from kseg.training import Recipe, evaluate, preparation, splits
from kseg.training.folder import RunFolder, versions

CHECKPOINT = "checkpoint.pt"
BEST = "best.pt"


def device() -> torch.device:
    """Returns what peers are trained on."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def train(
    net: torch.nn.Module,
    recipe: Recipe,
    folder: pathlib.Path,
    *,
    data_root: str | None = None,
    minutes: float | None = None,
) -> dict[str, Any]:
    """Trains a net, or goes on after the last whole epoch of an earlier start; the net has the kept weights at the end.

    Args:
        net: From images `(N, H, W, C)` to logits `(N, num_classes, H, W)`.
        recipe: A recipe of cross-entropy and AdamW.
        folder: Where checkpoint and best weights go.
        data_root: As in `kseg.training.train`.
        minutes: Stop after the last epoch that fits into that time, but do one.

    Returns:
        As `kseg.training.train`, as far as a leaderboard asks.

    Raises:
        ValueError: The recipe asks for what is not done here.
    """
    start = time.perf_counter()
    if (recipe.loss.name, recipe.optimizer.name, recipe.optimizer.encoder_factor) != ("cross_entropy", "adamw", 1.0):
        raise ValueError(
            "peers are trained with cross_entropy and adamw, and an encoder that learns as fast as the rest"
        )
    if recipe.optimizer.global_clipnorm is not None or recipe.precision == "mixed_float16" or recipe.loss.options:
        raise ValueError("peers know no global_clipnorm, no mixed_float16 and no [loss.options]")
    if splits.dataset(recipe, "val", data_root).num_classes == 1:
        raise ValueError("peers label many classes by the greatest logit: this data set has one alone")
    until = math.inf if minutes is None else start + 60 * minutes
    torch.backends.cudnn.benchmark = True  # crops have one size: the fastest algorithms are searched, as XLA does
    with RunFolder(folder, recipe):  # refuses one that holds a run of another recipe
        run = _Run(net.to(device()), recipe, folder, data_root)
        first = len(run.rows)
        batches = iter(splits.batches(recipe, run.train_split, first * run.steps)) if first < recipe.epochs else None
        while len(run.rows) < recipe.epochs:
            row = run.epoch(batches)
            Reporter().line("  ".join(f"{name} {value:.4g}" for name, value in row.items()))
            lately = [row["seconds"] for row in run.rows[-max(1, recipe.selection.every) :]]
            if time.perf_counter() + max(lately) > until:
                break
        finished = len(run.rows) == recipe.epochs
        if finished:
            net.load_state_dict(torch.load(folder / BEST, map_location=device(), weights_only=True))
    return {
        "finished": finished,
        "epochs": len(run.rows),
        "epoch": run.best["epoch"],
        "scores": {"miou": run.best["miou"]},
        "seconds": sum(row["seconds"] for row in run.rows),
        "images_per_second": statistics.median(row["images_per_second"] for row in run.rows),
        "peak_memory": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None,
        **(versions() | {"backend": "torch", "torch": torch.__version__}),
    }


class _Run:
    """A run's parts and how far it has come."""

    def __init__(self, net: torch.nn.Module, recipe: Recipe, folder: pathlib.Path, data_root: str | None):
        self.net, self.recipe, self.folder = net, recipe, folder
        self.train_split, self.val_split = splits.open_splits(recipe, data_root)
        self.steps = splits.steps_per_epoch(recipe, self.train_split)
        self.schedule = preparation.schedule(recipe, self.steps)
        weighted = recipe.loss.class_weights != "none"
        self.weight = (
            torch.tensor(preparation.class_weights(recipe, self.train_split)).to(device()) if weighted else None
        )
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
        self.average = [parameter.detach().clone() for parameter in net.parameters()]
        self.rows: list[dict[str, float]] = []
        self.best: dict[str, float] = {"epoch": 0, "miou": -1.0}
        if (folder / CHECKPOINT).is_file():
            # Onto the CPU: the optimizer moves what belongs on the device, and wants its steps to stay.
            state = torch.load(folder / CHECKPOINT, map_location="cpu", weights_only=True)
            net.load_state_dict(state["net"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.average = [value.to(device()) for value in state["average"]]
            self.rows, self.best = state["rows"], state["best"]

    def epoch(self, batches: Any) -> dict[str, float]:
        """Does one epoch, validates if it is due, and writes the checkpoint; returns its row."""
        recipe, start = self.recipe, time.perf_counter()
        number = len(self.rows) + 1
        torch.manual_seed(int(np.random.SeedSequence([recipe.seed, number]).generate_state(1)[0]))
        self.net.train()
        losses = [self._step(*next(batches), (number - 1) * self.steps + step) for step in range(self.steps)]
        loss = float(torch.stack(losses).mean())
        if not math.isfinite(loss):
            raise ValueError(f"the loss is {loss} in epoch {number}: lower the learning rate, or lengthen the warm-up")
        speed = self.steps * recipe.data.batch_size / (time.perf_counter() - start)
        row: dict[str, float] = {"epoch": number, "loss": loss, "images_per_second": speed}
        every, last = recipe.selection.every, number == recipe.epochs
        if last or (every and number % every == 0):
            with self._averaged():
                row["val_miou"] = self._validate()
                if row["val_miou"] > self.best["miou"] or not every:
                    self.best = {"epoch": number, "miou": row["val_miou"]}
                    _save(self.folder / BEST, self.net.state_dict())
        row["seconds"] = time.perf_counter() - start
        self.rows.append(row)
        state = {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict(), "average": self.average}
        _save(self.folder / CHECKPOINT, state | {"rows": self.rows, "best": self.best})
        return row

    def _validate(self) -> float:
        assert self.val_split is not None
        return evaluate(lambda image: predict(self.net, image[None])[0], self.val_split)["miou"]

    def _step(self, images: np.ndarray, labels: np.ndarray, step: int) -> torch.Tensor:
        with keras.device("cpu"):  # else the rate is computed on the GPU and waited for
            rate = float(self.schedule(step))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast(device().type, torch.bfloat16, enabled=self.recipe.precision == "mixed_bfloat16"):
            logits = self.net(torch.from_numpy(images).to(device()))
        target = torch.from_numpy(labels).to(device()).long()
        loss = cross_entropy(logits, target, self.weight, ignore_index=self.train_split.ignore_class)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        if (momentum := self.recipe.optimizer.ema) is not None:
            with torch.no_grad():
                torch._foreach_lerp_(self.average, list(self.net.parameters()), 1 - momentum)
        return loss.detach()

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Puts the averaged weights in the place of the net's while the block runs, if the recipe keeps any."""
        if self.recipe.optimizer.ema is None:
            yield
            return
        parameters = list(self.net.parameters())
        raw = [parameter.detach().clone() for parameter in parameters]
        with torch.no_grad():
            torch._foreach_copy_(parameters, self.average)
            yield
            torch._foreach_copy_(parameters, raw)


def _save(path: pathlib.Path, state: dict[str, Any]) -> None:
    content = io.BytesIO()
    torch.save(state, content)
    pretrained.atomic_write(path, content.getvalue())


def predict(net: torch.nn.Module, images: np.ndarray) -> np.ndarray:
    """Labels images `(N, H, W, C)`: `(N, H, W)`."""
    with torch.inference_mode():
        return net.eval()(torch.from_numpy(images).to(device())).argmax(1).cpu().numpy()
