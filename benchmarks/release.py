"""`python -m benchmarks release RUN`: a run becomes released weights. No number in them is typed by hand."""

import enum
import io
import json
import math
import pathlib
import re
import tempfile
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import pandas as pd
from PIL import Image

from benchmarks import card, leaderboard, sources, toml
from benchmarks.subset import Subset
from kseg import data, download, pretrained, training, visualize, zoo
from kseg.pretrained import release as table
from kseg.training.folder import versions
from kseg.training.samples import sample_picture

ZOO = pathlib.Path(__file__).parents[1] / "zoo"
FILE = "model.safetensors"
PICTURE = "predictions.png"
SMALL = 16 * 10**6
"""Bytes up to which a weight file lies in the checkout."""
LOSS = 5e-4
"""The mIoU that half precision may cost."""
DIGITS = 4
"""After the decimal point in a leaderboard."""
EVERY = 24
"""The subset that tests measure again is every 24th test image: ten of CamVid's, seconds on any backend."""


class Dtype(enum.StrEnum):
    """How weights may be stored."""

    float16 = "float16"
    float32 = "float32"


def release(
    run: pathlib.Path,
    *,
    data_root: str | None = None,
    dtype: Dtype = Dtype.float16,
    name: str | None = None,
    replace: bool = False,
    to: pathlib.Path = ZOO,
    releases: pathlib.Path = table.TABLE,
) -> pathlib.Path:
    """Measures a run's weights as they will be stored, and writes all that belongs to them.

    Args:
        run: A finished run's folder; or a folder of `zoo/`, which is written anew. Where there is a
            `model.safetensors` instead of the run's `best.safetensors`, it is taken as it is, and the scores before
            storage are read from the leaderboards.
        data_root: Where data sets lie.
        dtype: How to store the weights of a `best.safetensors`.
        name: What to call them: `builder-encoder-dataset`, which is the default, or that with more behind it; a folder
            of `zoo/` keeps its name.
        replace: Whether weights of that name that another recipe gave may go.
        to: The folder of released weights.
        releases: The table to enter them into.

    Returns:
        The folder of the released weights; larger weight files than `SMALL` go to the cache instead.

    Raises:
        FileNotFoundError: The folder is neither, or the data are not there.
        ValueError: The run is unfinished, on data of one's own or begun with weights that are not released, half
            precision costs too much, or the name belongs to another recipe. Nothing has been written then.
    """
    file, recipe = _run(run)
    description = pretrained.describe(file)
    if (hashed := recipe.hash()) != description["recipe"]:
        raise ValueError(f"{file} was trained with recipe {description['recipe']}, that in {run} is {hashed}")
    if description["dataset"] not in sources.SOURCES:
        raise ValueError(
            f"{run} was trained on {description['dataset']!r}, whose licence benchmarks/sources.py must state"
        )
    if begun := _unknown(recipe):
        raise ValueError(f"the recipe in {run} begins with what others may not have, under a licence unknown: {begun}")
    arguments = description["arguments"]
    known = table.read(releases) if releases.is_file() else {}
    name = _name(description, name or (None if (run / "result.json").is_file() else run.resolve().name))
    if name in known and known[name].recipe != hashed and not replace:
        cure = f"give these a --name that begins with {name}-, or say --replace"
        raise ValueError(f"{name} is released already, trained with recipe {known[name].recipe}, not {hashed}: {cure}")
    halved = file.name == FILE and _dtype(file) == "float16"
    if halved and dtype == Dtype.float32:
        raise ValueError(f"{file} is float16: --dtype float32 needs the best.safetensors of the run")
    test = training.dataset(recipe, "test", data_root)
    batch_size = recipe.data.batch_size
    original = (
        _scores(file, test, batch_size) | {"measured": f"`kseg.training.evaluate` on the run's {file.name}"}
        if file.name != FILE
        else _recorded(description, _dtype(file))
    )
    with tempfile.TemporaryDirectory() as aside:
        stored = file if file.name == FILE else _store(file, pathlib.Path(aside) / FILE, description, dtype)
        content = stored.read_bytes()
        model = zoo.load(stored)
        metrics = {
            "name": name,
            "dataset": description["dataset"],
            "split": "test",
            "size": _sizes(test),
            "dtype": _dtype(stored),
            "measured": f"`kseg.training.evaluate` on {keras.backend.backend()}",
            "scores": (scores := _scores(stored, test, batch_size)),
            "subset": {"every": EVERY, **_scores(stored, Subset(test, EVERY), batch_size)},
            "float32": original,
            "cost": _cost(original, scores),
            "recipe": hashed,
            "epoch": description["epoch"],
            "bytes": stored.stat().st_size,
            "sha256": download.file_sha256(stored),
            "parameters": model.count_params(),
            "versions": {key: value for key, value in versions().items() if key not in ("platform", "processors")},
        }
    if metrics["cost"] > LOSS:
        cure = "release the best.safetensors of the run with --dtype float32" if halved else "add --dtype float32"
        raise ValueError(f"{metrics['dtype']} costs {metrics['cost']:.4f} mIoU, more than {LOSS}: {cure}")
    entry = pretrained.Release(
        name=name,
        builder=description["builder"],
        arguments=arguments,
        file=FILE,
        bytes=metrics["bytes"],
        sha256=metrics["sha256"],
        parameters=metrics["parameters"],
        dataset=description["dataset"],
        classes=tuple(description["classes"]),
        palette=tuple((r, g, b) for r, g, b in description["palette"]),
        miou=round(scores["miou"], 6),
        pixel_accuracy=round(scores["pixel_accuracy"], 6),
        licence=sources.licence(description["dataset"], recipe.model.start),
        recipe=hashed,
    )
    own = () if "encoder" in zoo.BUILDERS[entry.builder].defaults else ("encoder",)
    folder = to / name
    place = folder / FILE if entry.bytes <= SMALL else download.home() / "weights" / name / FILE
    known[name] = entry
    files = {
        place: content,
        folder / "recipe.toml": toml.text(recipe, leave_out=own).encode(),
        folder / "metrics.json": compact(metrics).encode(),
        folder / "card.md": card.card(entry, metrics, recipe.model_dump(mode="json"), PICTURE).encode(),
        folder / PICTURE: _picture(model, test),
        to / "README.md": card.contents(known).encode(),
    }
    for path, written in files.items():
        pretrained.atomic_write(path, written)
    if place != folder / FILE:
        (folder / FILE).unlink(missing_ok=True)  # a predecessor's that was smaller
    table.write(known, releases)  # last: what it names is there
    return folder


def _run(run: pathlib.Path) -> tuple[pathlib.Path, training.Recipe]:
    """The weight file and the recipe of a finished run, or of a folder of released weights."""
    if (run / "result.json").is_file():
        content = json.loads((run / "recipe.json").read_text("utf-8"))
        best = run / "best.safetensors"
        file = run / FILE if (run / FILE).is_file() and not best.is_file() else best
        return file, training.Recipe.from_dict(content, source=str(run))
    if (run / "recipe.json").is_file():
        raise ValueError(f"the run in {run} is not finished: kseg train goes on with it")
    if not (run / FILE).is_file():
        raise FileNotFoundError(f"{run} holds neither a finished run (result.json) nor released weights ({FILE})")
    return run / FILE, training.Recipe.from_toml(run / "recipe.toml")


def _unknown(recipe: training.Recipe) -> str | None:
    """The weights that a recipe begins with if nobody else can repeat that, and those that would do."""
    start, encoder = recipe.model.start, recipe.model.encoder_weights
    if start is not None and start not in pretrained.RELEASES:
        return f"[model] start = {start!r}; released are {', '.join(pretrained.RELEASES)}"
    if encoder not in (known := ("none", *leaderboard.PRETRAINING)):
        return f"[model] encoder_weights = {encoder!r}; known are {', '.join(known)}"
    return None


def _sizes(test: data.Dataset) -> str:
    """Height and width of the images, or of the smallest and the largest."""
    sizes = sorted({test.size(index) for index in range(len(test))}, key=math.prod)
    return " to ".join(f"{height}x{width}" for height, width in dict.fromkeys((sizes[0], sizes[-1])))


def _name(description: Mapping[str, Any], wanted: str | None) -> str:
    """`builder-encoder-dataset`, or what is wanted, which begins so."""
    encoder = description["arguments"].get("encoder")
    name = "-".join(filter(None, [description["builder"], encoder, description["dataset"]]))
    if wanted is not None and not re.fullmatch(rf"{re.escape(name)}(-[\w.]+)*", wanted):
        raise ValueError(f"released weights of this run are called {name}, or {name}-MORE, not {wanted!r}")
    return wanted or name


def _store(file: pathlib.Path, path: pathlib.Path, description: Mapping[str, Any], dtype: str) -> pathlib.Path:
    return pretrained.save(zoo.load(file), path, dtype=dtype, **description)


def _dtype(file: pathlib.Path) -> str:
    """How most of a file is stored."""
    with pretrained.file.opened(file) as opened:
        kinds = [opened.get_slice(key).get_dtype() for key in opened.keys()]  # noqa: SIM118
    return {"F16": "float16", "F32": "float32"}[max(set(kinds), key=kinds.count)]


def _scores(file: pathlib.Path, test: data.Dataset, batch_size: int) -> dict[str, Any]:
    scores = training.evaluate(file, test, batch_size=batch_size, reporter=training.Reporter())
    del scores["seconds"]
    return scores


def _cost(original: Mapping[str, Any], scores: Mapping[str, Any]) -> float:
    """What storage costs, in mIoU, as exactly as the score before storage is known."""
    return round(original["miou"] - scores["miou"], original.get("digits", 6)) + 0.0  # not -0.0


def _recorded(description: Mapping[str, Any], dtype: str) -> dict[str, Any]:
    """What the leaderboards say of the run whose weights were stored: its recipe and validation score tell it."""
    val = round(description["scores"]["miou"], DIGITS)
    for board in sorted(leaderboard.LEADERBOARDS.glob("*.csv")):
        rows = leaderboard.read(board)
        for _, row in rows[(rows["recipe"] == description["recipe"]) & (rows["val_miou"] == val)].iterrows():
            ious = {name: row[f"iou_{name}"] for name in description["classes"]}
            return {
                **{name: float(row[name]) for name in leaderboard.SCORES},
                "iou": {name: None if pd.isna(iou) else float(iou) for name, iou in ious.items()},
                "digits": DIGITS,
                "measured": f"row `{row['name']}` of benchmarks/leaderboards/{board.name}, written when the run ended"
                + ("" if dtype == "float32" else "; its float32 file was not at hand"),
            }
    raise ValueError(f"no leaderboard has a row of recipe {description['recipe']} with a validation mIoU of {val}")


def compact(content: Mapping[str, Any]) -> str:
    """JSON with a line for each row of numbers.

    Args:
        content: JSON types only.

    Returns:
        The text.
    """
    text = json.dumps(content, indent=1)
    return re.sub(r"\[\s*(-?[\d.][^\[\]{}]*?)\s*\]", lambda row: f"[{' '.join(row[1].split())}]", text) + "\n"


def _picture(model: keras.Model, test: data.Dataset) -> bytes:
    """Three test images, their labels and what the model predicts, as PNG."""
    places = np.linspace(0, len(test) - 1, 7)[1::2]
    names = visualize.legend(test.classes, test.palette, columns=6, font_size=14)
    picture = sample_picture({"prediction": model}, test, places, footer=names, cell_width=240)
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "png", optimize=True)
    return content.getvalue()
