"""Check whether a run can be released, and under which name."""

import dataclasses
import enum
import json
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from benchmarks import leaderboard, sources
from kseg import pretrained
from kseg.pretrained import release as table
from kseg.training import Recipe

ZOO = pathlib.Path(__file__).parents[2] / "zoo"
FILE = "model.safetensors"
PICTURE = "predictions.png"


class Dtype(enum.StrEnum):
    """How weights may be stored."""

    float16 = "float16"
    float32 = "float32"


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A run that may be released: its weight file with its header, how it is stored, and how to store it."""

    file: pathlib.Path
    recipe: Recipe
    description: Mapping[str, Any]
    name: str
    stored: str
    dtype: Dtype

    @property
    def is_final(self) -> bool:
        """Whether the file is released as it is: the run's own file is gone."""
        return self.file.name == FILE


def candidate_of(
    run: pathlib.Path, *, dtype: Dtype, name: str | None, replace: bool, releases: pathlib.Path
) -> Candidate:
    """Checks a run without measuring anything; arguments and errors are those of `make_release`."""
    file, recipe = _run(run)
    description = pretrained.describe(file)
    if (recipe_hash := recipe.hash()) != description["recipe"]:
        raise ValueError(f"{file} was trained by recipe {description['recipe']}, the recipe in {run} is {recipe_hash}")
    if description["dataset"] not in sources.SOURCES:
        raise ValueError(
            f"{run} was trained on {description['dataset']!r}: add its license to benchmarks/sources.toml first"
        )
    if unknown := _unknown_weights(recipe):
        raise ValueError(f"the recipe in {run} begins with weights that others may not have: {unknown}")
    known = table.read(releases) if releases.is_file() else {}
    name = _name(description, name or (None if (run / "result.json").is_file() else run.resolve().name))
    if name in known and known[name].recipe != recipe_hash and not replace:
        raise ValueError(
            f"{name} is released already, trained by recipe {known[name].recipe}, not {recipe_hash}: use another "
            f"--name that begins with {name}-, or --replace"
        )
    candidate = Candidate(file, recipe, description, name, _stored_dtype(file), dtype)
    if candidate.is_final and candidate.stored == "float16" and dtype == Dtype.float32:
        raise ValueError(f"{file} is float16: --dtype float32 needs the best.safetensors of the run")
    return candidate


def _run(run: pathlib.Path) -> tuple[pathlib.Path, Recipe]:
    """Returns the weight file and the recipe of a finished run, or of a folder of released weights."""
    if (run / "result.json").is_file():
        content = json.loads((run / "recipe.json").read_text("utf-8"))
        best = run / "best.safetensors"
        file = run / FILE if (run / FILE).is_file() and not best.is_file() else best
        return file, Recipe.from_dict(content, source=str(run))
    if (run / "recipe.json").is_file():
        raise ValueError(f"the run in {run} is not finished: `kseg train` resumes it")
    if not (run / FILE).is_file():
        raise FileNotFoundError(f"{run} holds neither a finished run (result.json) nor released weights ({FILE})")
    return run / FILE, Recipe.from_toml(run / "recipe.toml")


def _unknown_weights(recipe: Recipe) -> str | None:
    """Returns the initial weights that nobody else has, and those that would do; None if everybody has them."""
    start, encoder = recipe.model.start, recipe.model.encoder_weights
    if start is not None and start not in pretrained.RELEASES:
        return f"[model] start = {start!r}; released weights are {', '.join(pretrained.RELEASES)}"
    if encoder not in (known := ("none", *leaderboard.PRETRAINING)):
        return f"[model] encoder_weights = {encoder!r}; known weights are {', '.join(known)}"
    return None


def _name(description: Mapping[str, Any], wanted: str | None) -> str:
    """Returns `builder-encoder-dataset`, or the wanted name, which must begin with it."""
    encoder = description["arguments"].get("encoder")
    name = "-".join(filter(None, [description["builder"], encoder, description["dataset"]]))
    if wanted is not None and not re.fullmatch(rf"{re.escape(name)}(-[\w.]+)*", wanted):
        raise ValueError(f"released weights of this run are named {name} or {name}-SUFFIX, not {wanted!r}")
    return wanted or name


def _stored_dtype(file: pathlib.Path) -> str:
    """Returns the type of most tensors of a file."""
    with pretrained.file.opened(file) as opened:
        kinds = [opened.get_slice(key).get_dtype() for key in opened.keys()]  # noqa: SIM118
    return {"F16": "float16", "F32": "float32"}[max(set(kinds), key=kinds.count)]
