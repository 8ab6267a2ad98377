"""Stand-alone measurements, one file each. The file's name is its command, its CSV and the marker of its table.

A file defines `measure`, whose keyword arguments are the command's options and which returns the rows, or yields some
of them after the other, and `shown`, which turns the rows into columns of text for `PAGE`, or for a page that the file
names by `PAGE`; notes below the table are its `attrs["notes"]`. A file may define `charts`, which draws them: SVG by
title, for the file `NAME_TITLE.svg`. With `KEY`, the name of a column or a list of names, a new
measurement replaces only the rows that have the same values in these columns.
"""

import functools
import importlib
import inspect
import pathlib
from collections.abc import Callable
from types import ModuleType
from typing import Annotated, Any

import pandas as pd
import typer

from kseg import pretrained
from kseg.training import process_peak

FOLDER = pathlib.Path(__file__).parent
NAMES = sorted(path.stem for path in FOLDER.glob("[!_]*.py"))
PAGE = "docs/measurements.md"
"""The page of experiments that name no other."""
CHARTS = pathlib.Path(__file__).parents[2] / "docs/charts"
TYPES = {"weights_sha256": "str"}
"""Columns that pandas would take for numbers."""


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"benchmarks.experiments.{name}")


def command(name: str) -> Callable[..., None]:
    """Makes the command that measures an experiment of `NAMES`, prints the rows and stores them in the file `out`."""
    measure, key = _module(name).measure, getattr(_module(name), "KEY", None)
    signature = inspect.signature(measure)
    out = Annotated[pathlib.Path, typer.Option(help="The CSV file.")]
    default = inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, default=FOLDER / f"{name}.csv", annotation=out)

    @functools.wraps(measure)
    def run(*, out: pathlib.Path, **options: Any) -> None:
        found = measure(**options)
        for rows in [found] if isinstance(found, pd.DataFrame) else found:
            print(rows.to_string(index=False))
            if key is not None and out.is_file():
                rows = pd.concat([read(out), rows]).drop_duplicates(key, keep="last").sort_values(key)
            pretrained.atomic_write(out, rows.to_csv(index=False, lineterminator="\n").encode())
        print(out)

    run.__annotations__ = {**measure.__annotations__, "out": out, "return": None}
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), default])  # type: ignore[attr-defined]
    return run


def read(path: pathlib.Path) -> pd.DataFrame:
    """Reads the rows of an experiment."""
    return pd.read_csv(path, dtype=TYPES)


def tables(page: str) -> dict[str, pd.DataFrame]:
    """Returns the table of every experiment of a page that has been measured, by its name, as columns of text."""
    paths = {name: FOLDER / f"{name}.csv" for name in NAMES if page_of(name) == page}
    return {name: _module(name).shown(read(path)) for name, path in paths.items() if path.is_file()}


def speed_summary() -> pd.DataFrame:
    """Returns the short table of the measurement of speed, as columns of text."""
    return _module("speed").summary(read(FOLDER / "speed.csv"))


def page_of(name: str) -> str:
    """Returns the page that shows the table of an experiment, from the root of the repository."""
    return getattr(_module(name), "PAGE", PAGE)


def charts() -> dict[pathlib.Path, str]:
    """Returns the charts of every experiment that has been measured and draws some: SVG by file."""
    return {
        CHARTS / f"{name}_{title}.svg": chart
        for name in NAMES
        if hasattr(_module(name), "charts") and (path := FOLDER / f"{name}.csv").is_file()
        for title, chart in _module(name).charts(read(path)).items()
    }


def memory_raised(before: int | None) -> int | None:
    """Returns how many MB of 2**20 bytes the peak memory of this process has grown since it was `before`, if known."""
    peak = process_peak()
    return None if peak is None or before is None else round((peak - before) / 2**20)
