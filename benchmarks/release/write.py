"""Write released weights: file, recipe, scores, card, picture, the list of all, and the entry in kseg's table."""

import io
import json
import pathlib
import re
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import tomli_w
from PIL import Image

from benchmarks import sources
from benchmarks.release import card
from benchmarks.release.check import FILE, PICTURE, Candidate
from benchmarks.release.measure import Measured
from kseg import download, pretrained, training
from kseg.pretrained import release as table

SMALL = 16 * 10**6
"""Largest weight file in the checkout, in bytes."""


def write_all(candidate: Candidate, measured: Measured, to: pathlib.Path, releases: pathlib.Path) -> pathlib.Path:
    """Writes the files of released weights and enters them into the table; returns their folder."""
    entry = _entry(candidate, measured.metrics)
    known = (table.read(releases) if releases.is_file() else {}) | {entry.name: entry}
    folder = to / entry.name
    place = folder / FILE if entry.bytes <= SMALL else download.home() / "weights" / entry.name / FILE
    recipe = candidate.recipe
    files: dict[pathlib.Path, str | bytes] = {
        place: measured.content,
        folder / "recipe.toml": recipe_toml(recipe, leave_out=() if "encoder" in entry.arguments else ("encoder",)),
        folder / "metrics.json": _compact(measured.metrics),
        folder / "card.md": card.model_card(entry, measured.metrics, recipe.model_dump(mode="json"), PICTURE),
        folder / PICTURE: _picture(measured),
        to / "README.md": card.contents(known),
    }
    for path, content in files.items():
        pretrained.atomic_write(path, content.encode() if isinstance(content, str) else content)
    if place != folder / FILE:
        (folder / FILE).unlink(missing_ok=True)  # of a predecessor that was smaller
    table.write(known, releases)  # last: it refers to the other files
    return folder


def _entry(candidate: Candidate, metrics: Mapping[str, Any]) -> pretrained.Release:
    description = candidate.description
    return pretrained.Release(
        name=candidate.name,
        builder=description["builder"],
        arguments=description["arguments"],
        file=FILE,
        bytes=metrics["bytes"],
        sha256=metrics["sha256"],
        parameters=metrics["parameters"],
        dataset=description["dataset"],
        classes=tuple(description["classes"]),
        palette=tuple((r, g, b) for r, g, b in description["palette"]),
        miou=round(metrics["scores"]["miou"], 6),
        pixel_accuracy=round(metrics["scores"]["pixel_accuracy"], 6),
        license=sources.inherited_license(description["dataset"], candidate.recipe.model.start),
        recipe=metrics["recipe"],
    )


def recipe_toml(recipe: training.Recipe, *, leave_out: Collection[str] = ()) -> str:
    """Writes a recipe with its defaults, which may change later; `leave_out` are keys of `[model]`."""
    content = recipe.model_dump(mode="json")
    content["model"] = {key: value for key, value in content["model"].items() if key not in leave_out}
    return tomli_w.dumps(_without_empty(content))


def _without_empty(table: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: _without_empty(value) if isinstance(value, dict) else value for key, value in table.items()}
    return {key: value for key, value in kept.items() if value not in (None, [], {})}


def _compact(content: Mapping[str, Any]) -> str:
    """Returns JSON with one line per row of numbers."""
    text = json.dumps(content, indent=1)
    return re.sub(r"\[\s*(-?[\d.][^\[\]{}]*?)\s*\]", lambda row: f"[{' '.join(row[1].split())}]", text) + "\n"


def _picture(measured: Measured) -> bytes:
    """Returns three test images, their labels and the predictions as PNG."""
    test = measured.test
    places = np.linspace(0, len(test) - 1, 7)[1::2]
    picture = training.sample_picture({"prediction": measured.model}, test, places, cell_width=240)
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "png", optimize=True)
    return content.getvalue()
