"""`python -m benchmarks --help`: suites in; leaderboards, costs, pictures and releases out."""

import os
import pathlib
import sys
import time
from collections.abc import Collection
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
from benchmarks import cost as costs
from benchmarks import crf as crfs
from benchmarks import leaderboard, machine, page, publish, rehearsal, release, runs, scoring, suite, tables
from benchmarks import loader as loaders
from kseg import data, download, pretrained
from kseg.training.samples import sample_picture

ROOT = pathlib.Path(__file__).parents[1]
COST = ROOT / "benchmarks/cost.csv"
CRF = ROOT / "benchmarks/crf.csv"
CRF_COST = ROOT / "benchmarks/crf_cost.csv"
SCORES = ROOT / "benchmarks/scores.csv"
app = typer.Typer(help=__doc__, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
console = rich.console.Console(highlight=False, soft_wrap=True)

DataRoot = Annotated[str | None, typer.Option(help="Folder of the data sets; KSEG_DATA if not given.")]


@app.command()
def quickstart(
    out: Annotated[pathlib.Path, typer.Option(help="Where runs and results go.")] = ROOT / "runs/quickstart",
):
    """Train five small models on drawn street scenes, with nothing to download: a table, a CSV and a picture."""
    chosen = suite.load("quickstart")
    runs.work(chosen, out, out / "leaderboard.csv")
    models = {name: kseg.zoo.load(out / name / "best.safetensors") for name in chosen.recipes}
    test = data.load("streets", "test")
    picture = sample_picture(models, test, np.linspace(0, len(test) - 1, 4))
    Image.fromarray(picture).save(out / "predictions.png")
    _print(leaderboard.read(out / "leaderboard.csv"))
    console.print(f"{out / 'leaderboard.csv'}\n{out / 'predictions.png'}")


@app.command()
def run(
    name: Annotated[str, typer.Argument(metavar="SUITE", help="A name in benchmarks/suites, or a TOML file.")],
    data_root: DataRoot = None,
    only: Annotated[list[str] | None, typer.Option(help="Only the model of this name; may be repeated.")] = None,
    budget: Annotated[str | None, typer.Option(help="cpu or gpu; gpu where the backend sees one.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Stop cleanly in that time; the same command goes on.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what is missing, in order.")] = False,
    steps: Annotated[int | None, typer.Option(min=1, help="Rehearse: so many steps a model, nothing kept.")] = None,
    out: Annotated[pathlib.Path, typer.Option(help="Where run folders go.")] = ROOT / "runs",
    board: Annotated[pathlib.Path | None, typer.Option(help="The CSV; benchmarks/leaderboards/SUITE.csv.")] = None,
    worked: Annotated[bool, typer.Option("--worked", hidden=True)] = False,
    failed: Annotated[list[str] | None, typer.Option(hidden=True)] = None,
):
    """Train the models of a suite that its leaderboard lacks and add their scores on the test split to it."""
    chosen = suite.only(suite.load(name, budget), only or [])
    path = board or leaderboard.LEADERBOARDS / f"{chosen.title}.csv"
    folder = runs.folder_of(chosen, out)
    if steps is not None:
        if failed := rehearsal.run(chosen, steps, data_root=data_root):
            raise ValueError(f"{len(failed)} of {len(chosen.recipes)} models failed: {', '.join(failed)}")
        return
    if dry_run:
        rows = leaderboard.read(path)
        states = [(each, each.state(rows, chosen.title)) for each in runs.queue(chosen, folder, rows)]
        lacking = [f"{each.name}, seed {each.recipe.seed}: {state}" for each, state in states if state != "done"]
        console.print("\n".join(lacking) or "nothing is missing", markup=False)
        return

    def afresh(left: float | None, failed: Collection[str]) -> None:
        """Goes on in a new process: a backend keeps the compiled models of this one in memory."""
        if os.name != "nt":  # where a process cannot be replaced
            os.execv(sys.executable, [sys.executable, "-m", "benchmarks", *going_on(sys.argv[1:], left, failed)])

    machine.keep_compiled(out / "compiled")
    left, seen = _left(minutes), failed or []
    runs.work(chosen, folder, path, data_root=data_root, minutes=left, worked=worked, failed=seen, afresh=afresh)
    _print(leaderboard.read(path))
    console.print(str(path))


def going_on(arguments: list[str], left: float | None, failed: Collection[str]) -> list[str]:
    """Returns the arguments of the process that goes on: of an option given twice the last one counts.

    Args:
        arguments: Of this process.
        left: The minutes left, if they are limited.
        failed: Names of the models to leave out.

    Returns:
        The arguments.
    """
    asked = arguments[: arguments.index("--worked")] if "--worked" in arguments else arguments
    limit = [] if left is None else ["--minutes", f"{left:.3f}"]
    return [*asked, *limit, "--worked", *(argument for name in failed for argument in ("--failed", name))]


@app.command()
def peer(
    name: Annotated[str, typer.Argument(metavar="SUITE", help="A name in benchmarks/suites, or a TOML file.")],
    data_root: DataRoot = None,
    budget: Annotated[str | None, typer.Option(help="cpu or gpu; gpu where the backend sees one.")] = None,
    minutes: Annotated[
        float | None,
        typer.Option(help="Train no longer; the same command goes on. The last start's test comes on top."),
    ] = None,
    out: Annotated[pathlib.Path, typer.Option(help="Where run folders go.")] = ROOT / "runs",
    board: Annotated[pathlib.Path | None, typer.Option(help="The CSV; benchmarks/leaderboards/SUITE.csv.")] = None,
):
    """Train segmentation-models-pytorch's U-Net by the recipe of a suite's `unet` and add its row, marked as a peer."""
    if keras.backend.backend() != "torch":  # another backend would choose another budget, and share the GPU's memory
        raise ValueError(f"peers are trained by PyTorch: set KERAS_BACKEND=torch, it is {keras.backend.backend()}")
    from benchmarks.peers import run as peers  # needs PyTorch

    chosen = suite.load(name, budget)
    path = board or leaderboard.LEADERBOARDS / f"{chosen.title}.csv"
    peers.run(chosen, runs.folder_of(chosen, out), path, data_root=data_root, minutes=_left(minutes))
    _print(leaderboard.read(path))


@app.command()
def fill():
    """Fill the columns that older rows of the leaderboards lack and that need no training."""
    for path in sorted(leaderboard.LEADERBOARDS.glob("*.csv")):
        console.print(f"{path}: {leaderboard.fill(path)} rows of a recipe that its suite still has")


@app.command()
def table():
    """Write the leaderboards and costs into README.md and a page, and keep the last quickstart's picture."""
    readme = ROOT / "README.md"
    text = readme.read_text()
    paths = sorted(leaderboard.LEADERBOARDS.glob("*.csv"))
    boards = {path.stem: leaderboard.read(path) for path in paths}
    contents = {f"leaderboard {title}": tables.shown(rows) for title, rows in boards.items()}
    contents |= {f"published {path.stem}": tables.published(path.stem) for path in tables.PUBLISHED.glob("*.csv")}
    contents["cost"] = costs.shown(pd.read_csv(COST))
    contents["crf"] = crfs.shown(crfs.read(CRF))
    contents["crf cost"] = crfs.cost_shown(pd.read_csv(CRF_COST))
    contents["scores"] = scoring.shown(pd.read_csv(SCORES))
    for title, content in contents.items():
        begin, end = f"<!-- {title} -->\n", f"<!-- end {title} -->"
        if begin not in text or end not in text:
            raise ValueError(f"README.md lacks the line {begin.strip()!r} or {end!r}: add both")
        before, rest = text.split(begin)
        text = before + begin + tables.markdown(content) + rest[rest.index(end) :]
    pretrained.atomic_write(readme, text.encode())
    pretrained.atomic_write(leaderboard.LEADERBOARDS / "index.html", page.page(boards).encode())
    picture = ROOT / "runs/quickstart/predictions.png"
    if picture.is_file():
        pretrained.atomic_write(ROOT / "benchmarks/quickstart.png", picture.read_bytes())


@app.command()
def cost(
    size: Annotated[tuple[int, int], typer.Option(help="Height and width of the image.")] = (360, 480),
    out: Annotated[pathlib.Path, typer.Option(help="The CSV.")] = COST,
):
    """Compare what labelling one image costs: sliding window, full resolution, encoder and decoder."""
    _store(costs.compare(size), out)


@app.command()
def scores(
    size: Annotated[tuple[int, int], typer.Option(help="Height and width of the images.")] = (360, 480),
    batch_size: Annotated[int, typer.Option(min=1, help="Images at once.")] = 8,
    out: Annotated[pathlib.Path, typer.Option(help="The CSV, a row a backend.")] = SCORES,
):
    """Time what scoring adds to an evaluation: to a U-Net's inference, on this backend."""
    _store(pd.DataFrame([scoring.compare(size, batch_size)]), out, key="backend")


@app.command()
def crf(
    weights: Annotated[
        str | None, typer.Option(help="A file or a released name: also score it on CamVid without and with CRFs.")
    ] = None,
    data_root: DataRoot = None,
    out: Annotated[pathlib.Path, typer.Option(help="The CSV of those scores.")] = CRF,
    cost_out: Annotated[pathlib.Path, typer.Option(help="The CSV of times, a row an image.")] = CRF_COST,
):
    """Time the dense CRF against its authors' code; with --weights, see what CRFs are worth on CamVid."""
    measured = [crfs.cost_apart(name, data_root=data_root) for name in crfs.pictures(data_root)]
    _store(pd.DataFrame(measured), cost_out, key="image")
    if weights is not None:
        file = pathlib.Path(pretrained.locate(weights))
        model = kseg.zoo.load(file)
        splits = {name: data.load("camvid", name, root=data_root) for name in ("val", "test")}
        _store(crfs.worth(model, splits).assign(weights_sha256=download.file_sha256(file)[:12]), out)


@app.command("release")
def release_run(
    run: Annotated[pathlib.Path, typer.Argument(help="A finished run's folder, or one of zoo/ to be written anew.")],
    data_root: DataRoot = None,
    dtype: Annotated[release.Dtype, typer.Option(help="How the weights are stored.")] = release.Dtype.float16,
    name: Annotated[str | None, typer.Option(help="builder-encoder-dataset, or that with -MORE behind it.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Put them in place of another recipe's.")] = False,
    to: Annotated[pathlib.Path, typer.Option(help="The folder of released weights.")] = release.ZOO,
    table: Annotated[pathlib.Path, typer.Option(help="The table of released weights.")] = release.table.TABLE,
):
    """Make released weights of a run: scores, card, picture, half-precision file and the entry in kseg's table."""
    folder = release.release(run, data_root=data_root, dtype=dtype, name=name, replace=replace, to=to, releases=table)
    console.print(str(folder))


@app.command("publish")
def publish_all(
    to: Annotated[pathlib.Path, typer.Option(help="A folder for a web server or a model hub.")],
):
    """Lay out all released weights under the addresses at which kseg looks for them."""
    for path in publish.publish(to):
        console.print(str(path))


@app.command()
def loader(
    name: Annotated[str, typer.Argument(metavar="SUITE", help="Whose data, crop and batch size.")] = "camvid",
    data_root: DataRoot = None,
    budget: Annotated[str, typer.Option(help="cpu or gpu.")] = "gpu",
    seconds: Annotated[float, typer.Option(help="How long to read for each number.")] = 5.0,
):
    """Measure how many images a second the input pipeline delivers, and where its time goes."""
    recipe = next(iter(suite.recipes(name, budget).values()))
    for measured in loaders.measure(recipe, data_root, seconds):
        console.print(measured.round(2).to_string(index=False))


def _left(minutes: float | None) -> float | None:
    """Minutes less those that this process has taken to start."""
    return None if minutes is None else minutes - (time.perf_counter() - benchmarks.START) / 60


def _store(rows: pd.DataFrame, path: pathlib.Path, key: str | None = None) -> None:
    """Shows rows and writes them to a CSV; with `key`, rows of another key that it holds stay."""
    console.print(rows.to_string(index=False))
    if key is not None and path.is_file():
        rows = pd.concat([pd.read_csv(path), rows]).drop_duplicates(key, keep="last").sort_values(key)
    pretrained.atomic_write(path, rows.to_csv(index=False, lineterminator="\n").encode())
    console.print(f"{path}")


def _print(rows: pd.DataFrame) -> None:
    if rows.empty:
        return
    shown = tables.shown(rows)[["name", "mIoU", "pixel accuracy", "parameters", "training", "inference"]]
    view = rich.table.Table(*shown.columns)
    for line in shown.to_numpy().tolist():
        view.add_row(*line)
    console.print(view)
