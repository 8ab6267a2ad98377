"""Compare the memory and the time of a training step with what `accumulate` and `rematerialize` save."""

from typing import Annotated, Any

import keras
import pandas as pd
import typer

from benchmarks import machine
from benchmarks.process import apart
from kseg.training import Recipe, process_peak, rehearse

KEY = ["backend", "way"]
PAGE = "docs/scale.md"
WAYS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "accumulate = 2": {"optimizer": {"accumulate": 2}},
    "accumulate = 4": {"optimizer": {"accumulate": 4}},
    "rematerialize = true": {"rematerialize": True},
    "both, accumulate = 4": {"optimizer": {"accumulate": 4}, "rematerialize": True},
}


def measure_way(way: str, side: int, batch_size: int, steps: int) -> dict[str, Any]:
    """Trains for a few steps in this process; `memory_mb` is what it takes beyond the start of the process."""
    options = {"size": [side, side], "count": batch_size}
    content = {
        "epochs": 1,
        "data": {"name": "streets", "batch_size": batch_size, "augment": "none", "options": options},
        "model": {"builder": "unet", "encoder_weights": "none"},
        "tensorboard": False,
        **WAYS[way],
    }
    before = process_peak()
    result = rehearse(Recipe.from_dict(content), steps)[1]
    memory = None if before is None or result["peak_memory"] is None else result["peak_memory"] - before
    return {"way": way, "images_per_second": result["images_per_second"], "memory": memory}


def measure(
    *,
    side: Annotated[int, typer.Option(help="Side of the images.")] = 320,
    batch_size: Annotated[int, typer.Option(help="Images per batch.")] = 8,
    steps: Annotated[int, typer.Option(min=2, help="Steps; the first one is not timed.")] = 6,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds, in each of which every way has its turn.")] = 2,
) -> pd.DataFrame:
    """Compare the memory and the time of training steps of a U-Net with `accumulate` and `rematerialize`."""
    rounds = pd.concat(
        [pd.DataFrame([apart(measure_way, way, side, batch_size, steps) for way in WAYS]) for _ in range(repeats)]
    )
    table = rounds.groupby("way", sort=False).median().reset_index()
    plain = table.iloc[0]
    return pd.DataFrame(
        {
            "backend": keras.backend.backend(),
            "way": table["way"],
            "memory_mb": (table["memory"] / 2**20).round(),
            "memory_ratio": (table["memory"] / plain["memory"]).round(2),
            "time_ratio": (plain["images_per_second"] / table["images_per_second"]).round(2),
            "batch": f"{batch_size} images of {side}x{side}",
            "device": machine.device(),
        }
    )


def shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Formats the rows of `measure` for the page."""
    return pd.DataFrame(
        {
            "backend": rows["backend"],
            "way": rows["way"],
            "memory": [f"{value:,.0f} MB" for value in rows["memory_mb"]],
            "of the memory": [f"{value:.2f}" for value in rows["memory_ratio"]],
            "of the time": [f"{value:.2f}" for value in rows["time_ratio"]],
        }
    )
