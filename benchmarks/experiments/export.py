"""Find out which builders can be exported to which formats, on this backend."""

import functools
import pathlib
import tempfile
import time
from collections.abc import Iterator
from typing import Annotated, Any

import keras
import numpy as np
import pandas as pd
import typer

from benchmarks.process import apart
from kseg import export, zoo

KEY = ["builder", "format", "size", "backend"]
PAGE = "docs/deploy.md"
CLASSES = 8
SMALL: dict[str, dict[str, Any]] = {
    "segnet": {},
    "segnet_basic": {"filters": 16},
    "full_resolution": {"filters": (16, 16)},
    "unet_2015": {"padding": "same", "filters": (8, 16, 32, 64, 128), "input_shape": (None, None, 3)},
}
"""Options of the builders that do not take EfficientNet-Lite0 as their encoder; filters that keep them small."""
LITE = {"encoder": "efficientnet_lite0"}


def network(builder: str) -> keras.Model:
    """Builds a network with random weights and random statistics of its normalization."""
    keras.utils.set_random_seed(0)
    options = dict(SMALL.get(builder, LITE))
    if "encoder_weights" in zoo.BUILDERS[builder].defaults:
        options["encoder_weights"] = None
    model = zoo.build(builder, CLASSES, **options)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if len(weight.shape) == 1:  # biases and normalization
            weight.assign(weight + rng.uniform(0, 0.2, weight.shape))
    return model


def measure_builder(builder: str, formats: tuple[str, ...], size: tuple[int, int]) -> list[dict[str, Any]]:
    """Exports a network to each format, for any size and for one, in this process."""
    built, rows, backend = functools.partial(functools.cache(network), builder), [], keras.backend.backend()
    for format in formats:
        for given in (None, size):
            row = {"builder": builder, "format": format, "size": "any" if given is None else f"{size[0]}x{size[1]}"}
            start = time.perf_counter()
            with tempfile.TemporaryDirectory() as folder:
                path = pathlib.Path(folder, "model" + export.FORMATS[format].suffix)
                try:
                    export.check_options(format, path, backend=backend, size=given)  # before a model is built
                    found = {"labels": export.export(built(), path, format=format, size=given).labels, "reason": ""}
                except (ValueError, RuntimeError) as error:
                    found = {"labels": None, "reason": " ".join(str(error).split())[:200]}
            rows.append(row | found | {"seconds": round(time.perf_counter() - start, 1), "backend": backend})
    return rows


def measure(
    *,
    builder: Annotated[list[str] | None, typer.Option(help="Only this builder; may be repeated.")] = None,
    format: Annotated[list[str] | None, typer.Option(help="Only this format; may be repeated.")] = None,
    size: Annotated[tuple[int, int], typer.Option(help="Height and width of the images of one size.")] = (128, 160),
) -> Iterator[pd.DataFrame]:
    """Find out which builders can be exported to which formats, on this backend; random weights."""
    for each in builder or zoo.list_models():
        yield pd.DataFrame(apart(measure_builder, each, tuple(format or export.FORMATS), tuple(size)))


def shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Makes one row per builder and size, and one column per format and backend.

    A cell is the share of equal labels, or the number of a reason, which a note below the table explains. A format that
    takes no model of a backend for one reason has no column but a note.
    """
    reasons: dict[str, int] = {}
    refused: dict[tuple[str, str], list[str]] = {}
    cells: dict[tuple[str, str], dict[str, str]] = {}
    row: Any  # a named tuple of the columns
    for (format, backend), group in rows.groupby(["format", "backend"], sort=False):
        texts = [_text(row) for row in group.itertuples()]
        if group["labels"].isna().all() and len(set(texts)) == 1:
            refused.setdefault((str(backend), texts[0]), []).append(str(format))
            continue
        for row, text in zip(group.itertuples(), texts, strict=True):
            cell = f"({reasons.setdefault(text, len(reasons) + 1)})" if pd.isna(row.labels) else text
            cells.setdefault((row.builder, row.size), {})[f"{format}, {backend}"] = cell
    unknown = {column: "not measured" for found in cells.values() for column in found}
    table = pd.DataFrame(
        [{"builder": builder, "size": size, **unknown, **found} for (builder, size), found in sorted(cells.items())]
    )
    table.attrs["notes"] = [f"({number}) {reason}" for reason, number in reasons.items()]
    table.attrs["notes"] += [
        f"{', '.join(formats)} on {backend}: {reason}" for (backend, reason), formats in sorted(refused.items())
    ]
    return table


def _text(row: Any) -> str:
    """Returns the share of equal labels, or the reason in words that fit all networks and formats."""
    if pd.notna(row.labels):
        return f"{100 * row.labels:.2f} %"
    reason = str(row.reason).replace(row.builder, "the network").replace(" size=", " --size")
    return f"the format{reason.removeprefix(row.format)}" if reason.startswith(row.format) else reason
