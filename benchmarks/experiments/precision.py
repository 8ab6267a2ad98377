"""Compare the speed of training in float32 with that in bfloat16, which some processors multiply faster."""

from collections.abc import Iterator
from typing import Annotated

import keras
import pandas as pd
import typer

from benchmarks import machine
from benchmarks.process import apart
from kseg import zoo
from kseg.training import Recipe, rehearse

KEY = ["backend", "processor", "network"]
LITE = "efficientnet_lite0"
NETWORKS = {"unet": LITE, "deeplabv3plus": LITE, "fcn8": LITE, "segnet": "VGG16"}
"""Networks and their encoders; that of SegNet is a part of it."""
PRECISIONS = "float32", "mixed_bfloat16"


def images_per_second(network: str, precision: str, size: tuple[int, int], batch_size: int, steps: int) -> float:
    """Trains for a few steps in this process."""
    streets = {"name": "streets", "augment": "none", "options": {"size": list(size), "count": batch_size}}
    encoder = {"encoder": NETWORKS[network]} if "encoder" in zoo.BUILDERS[network].defaults else {}
    content = {
        "epochs": 1,
        "precision": precision,
        "data": streets | {"batch_size": batch_size},
        "model": {"builder": network, "encoder_weights": "none", **encoder},
    }
    return rehearse(Recipe.from_dict(content), steps)[1]["images_per_second"]


def measure(
    *,
    size: Annotated[tuple[int, int], typer.Option(help="Height and width of the images.")] = (240, 320),
    batch_size: Annotated[int, typer.Option(help="Images per batch.")] = 8,
    steps: Annotated[int, typer.Option(min=2, help="Steps; the first one is not timed.")] = 3,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds, in each of which both precisions have their turn.")] = 2,
) -> Iterator[pd.DataFrame]:
    """Compare the speed of training in float32 and in bfloat16."""
    for network, encoder in NETWORKS.items():
        times = [
            [apart(images_per_second, network, precision, size, batch_size, steps) for precision in PRECISIONS]
            for _ in range(repeats)
        ]
        single, half = pd.DataFrame(times).median()
        row = {
            "network": network,
            "encoder": encoder,
            "float32": round(single, 2),
            "mixed_bfloat16": round(half, 2),
            "speedup": round(half / single, 2),
            "batch": f"{batch_size} images of {size[0]}x{size[1]}",
            "backend": keras.backend.backend(),
            "device": machine.device(),
            "processor": machine.processor_model(),
        }
        yield pd.DataFrame([row])


def shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Formats the rows of `measure` for the page."""
    return pd.DataFrame(
        {
            "network": rows["network"],
            "encoder": rows["encoder"],
            "float32": [f"{value:.1f} images/s" for value in rows["float32"]],
            "mixed_bfloat16": [f"{value:.1f} images/s" for value in rows["mixed_bfloat16"]],
            "ratio": [f"{value:.2f}" for value in rows["speedup"]],
            "backend": rows["backend"],
            "processor": rows["processor"],
        }
    )
