"""Train the models of suites; write leaderboards, experiments and released weights."""

import os
import pathlib
from collections.abc import Mapping
from typing import Annotated

import keras
import numpy as np
import pandas as pd
import rich.console
import rich.table
import typer
from PIL import Image

import benchmarks
import kseg
from benchmarks import (
    experiments,
    features,
    goals,
    leaderboard,
    machine,
    page,
    pins,
    publish,
    rehearsal,
    release,
    runs,
    suite,
    tables,
)
from kseg import data, pretrained, training

ROOT = pathlib.Path(__file__).parents[1]
app = typer.Typer(help=__doc__, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
console = rich.console.Console(highlight=False, soft_wrap=True)

SuiteName = Annotated[str, typer.Argument(metavar="SUITE", help="A name in benchmarks/suites, or a TOML file.")]
DataRoot = Annotated[str | None, typer.Option(help="Folder of the data sets; default: KSEG_DATA.")]
Budget = Annotated[str | None, typer.Option(help="cpu, cpu-long or gpu; default: gpu if there is one, else cpu.")]
Out = Annotated[pathlib.Path, typer.Option(help="Folder of the run folders.")]
Board = Annotated[pathlib.Path | None, typer.Option(help="The CSV; default: benchmarks/leaderboards/SUITE.csv.")]


@app.command()
def quickstart(
    out: Annotated[pathlib.Path, typer.Option(help="Folder of runs and results.")] = ROOT / "runs/quickstart",
) -> None:
    """Train five small models on drawn street scenes, with nothing to download: a table, a CSV and a picture."""
    chosen = suite.load("quickstart")
    runs.work(chosen, out, out / "leaderboard.csv")
    models = {name: kseg.zoo.load(out / name / "best.safetensors") for name in chosen.recipes}
    test = data.load("streets", "test")
    picture = training.sample_picture(models, test, np.linspace(0, len(test) - 1, 4))
    Image.fromarray(picture).save(out / "predictions.png")
    _print(leaderboard.read(out / "leaderboard.csv"))
    console.print(f"{out / 'leaderboard.csv'}\n{out / 'predictions.png'}")


@app.command()
def run(
    name: SuiteName,
    data_root: DataRoot = None,
    only: Annotated[list[str] | None, typer.Option(help="Only the model of this name; may be repeated.")] = None,
    budget: Budget = None,
    minutes: Annotated[float | None, typer.Option(help="Stop within that time; the same command continues.")] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Only list the missing runs, in order. Rows count per backend and kind of device."
        ),
    ] = False,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Only try each model for so many steps; keep nothing.")
    ] = None,
    devices: Annotated[
        int | None, typer.Option(min=1, help="Train on so many devices of this host, with JAX or TensorFlow.")
    ] = None,
    out: Out = ROOT / "runs",
    board: Board = None,
) -> None:
    """Train the models of a suite that its leaderboard lacks, and add their scores on the suite's split to it."""
    chosen = suite.only(suite.load(name, budget), only or []).on(devices)
    path = board or leaderboard.LEADERBOARDS / f"{chosen.title}.csv"
    folder = runs.folder_of(chosen, out)
    if devices is not None and (steps is not None or keras.backend.backend() == "torch"):
        raise ValueError("--devices is for whole runs on JAX or TensorFlow: leave out --steps, set KERAS_BACKEND=jax")
    if steps is not None:
        if failed := rehearsal.try_all(chosen, steps, data_root):
            raise ValueError(f"{len(failed)} of {len(chosen.recipes)} models failed: {', '.join(failed)}")
        return
    if dry_run:
        rows = leaderboard.read(path)
        lines = [
            f"{each.name}, seed {each.recipe.seed}: {each.state(rows)}" for each in runs.missing(chosen, folder, path)
        ]
        console.print("\n".join(lines) or "nothing is missing", markup=False)
        console.print(f"(rows count per backend and kind of device: {keras.backend.backend()} on {machine.device()})")
        return
    # JAX's compiled programs are kept on disk for the process of the next run and for the next call.
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(out / "compiled"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    until = float("inf") if minutes is None else benchmarks.START + 60 * minutes
    runs.work(chosen, folder, path, data_root=data_root, until=until)
    _print(leaderboard.read(path))
    console.print(str(path))


@app.command()
def peer(
    name: SuiteName,
    data_root: DataRoot = None,
    budget: Budget = None,
    out: Out = ROOT / "runs",
    board: Board = None,
) -> None:
    """Train the U-Net of segmentation-models-pytorch by the recipe of a suite's `unet` and add its row as a peer."""
    from benchmarks.peers import run as peers  # needs PyTorch

    chosen = suite.load(name, budget)
    path = board or leaderboard.LEADERBOARDS / f"{chosen.title}.csv"
    peers.add_row(chosen, runs.folder_of(chosen, out), path, data_root=data_root)
    _print(leaderboard.read(path))


@app.command()
def table() -> None:
    """Write the tables of README.md and docs, the page, charts of experiments, and the last quickstart's picture."""
    boards = leaderboard.all_boards()
    for name, contents in tables_of_pages(boards).items():
        text = (ROOT / name).read_text("utf-8")
        for title, content in contents.items():
            text = tables.replaced(text, title, content, name)
        pretrained.atomic_write(ROOT / name, text.encode())
    pretrained.atomic_write(leaderboard.PAGE, page.document(boards).encode())
    for path, chart in experiments.charts().items():
        pretrained.atomic_write(path, chart.encode())
    picture = ROOT / "runs/quickstart/predictions.png"
    if picture.is_file():
        pretrained.atomic_write(ROOT / "benchmarks/quickstart.png", picture.read_bytes())


def tables_of_pages(boards: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, pd.DataFrame]]:
    """Returns the tables of each page, by their markers."""
    shown = {f"leaderboard {title}": tables.shown(rows) for title, rows in boards.items()}
    published = {f"published {title}": rows for title, rows in tables.published().items()}
    aims = {"goals": goals.reached(boards["camvid"], boards["nuclei"])}
    search = {"search": tables.searched(leaderboard.read(leaderboard.LEADERBOARDS / "search.csv"))}
    pages = {
        "README.md": {"leaderboard": tables.best(boards["camvid"]), "speed": experiments.speed_summary()},
        "docs/comparison.md": {"features": features.compared(), "speed": experiments.speed_summary()},
        "docs/leaderboards.md": shown | published | aims | search,
    }
    return pages | {page: experiments.tables(page) for page in sorted(set(map(experiments.page_of, experiments.NAMES)))}


for experiment in experiments.NAMES:
    app.command(experiment)(experiments.command(experiment))


@app.command("release")
def release_run(
    run: Annotated[pathlib.Path, typer.Argument(help="A finished run's folder, or one of zoo/ to write again.")],
    data_root: DataRoot = None,
    dtype: Annotated[release.Dtype, typer.Option(help="How the weights are stored.")] = release.Dtype.float16,
    name: Annotated[str | None, typer.Option(help="builder-encoder-dataset, or that with a -SUFFIX.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace weights that another recipe trained.")] = False,
    to: Annotated[pathlib.Path, typer.Option(help="The folder of released weights.")] = release.ZOO,
    table: Annotated[pathlib.Path, typer.Option(help="The table of released weights.")] = release.table.TABLE,
) -> None:
    """Release the weights of a run: half-precision file, scores, card, picture and the entry in kseg's table."""
    folder = release.make_release(
        run, data_root=data_root, dtype=dtype, name=name, replace=replace, to=to, releases=table
    )
    console.print(str(folder))


@app.command("publish")
def publish_all(to: Annotated[pathlib.Path, typer.Option(help="A folder for a web server or a model hub.")]) -> None:
    """Copy all released weights to the addresses at which kseg looks for them."""
    for path in publish.write_served(to):
        console.print(str(path))


@app.command("pin")
def pin_published() -> None:
    """Look up the newest commits and the SHA-256 of others' checkpoints on the hub, for `kseg weights list --all`."""
    for one in pins.pin().values():
        print(one.address, one.revision, one.sha256)


def _print(rows: pd.DataFrame) -> None:
    if rows.empty:
        return
    shown = tables.shown(rows)[["name", "mIoU", "pixel accuracy", "parameters", "training", "inference"]]
    view = rich.table.Table(*shown.columns)
    for line in shown.to_numpy().tolist():
        view.add_row(*line)
    console.print(view)
