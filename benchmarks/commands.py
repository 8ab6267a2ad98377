"""`python -m benchmarks quickstart | run SUITE | table | cost | release RUN | publish`: suites in, results out."""

import pathlib
from typing import Annotated

import numpy as np
import pandas as pd
import rich.console
import rich.table
import typer
from PIL import Image

import kseg
from benchmarks import cost as costs
from benchmarks import crf as crfs
from benchmarks import leaderboard, publish, release, scoring, suite
from kseg import data, pretrained, visualize
from kseg.training import Recipe, Reporter, dataset, evaluate, train

ROOT = pathlib.Path(__file__).parents[1]
COST = ROOT / "benchmarks/cost.csv"
CRF = ROOT / "benchmarks/crf.csv"
app = typer.Typer(help=__doc__, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
console = rich.console.Console(highlight=False, soft_wrap=True)

DataRoot = Annotated[str | None, typer.Option(help="Folder of the data sets; KSEG_DATA if not given.")]


@app.command()
def quickstart(
    out: Annotated[pathlib.Path, typer.Option(help="Where runs and results go.")] = ROOT / "runs/quickstart",
):
    """Train five small models on drawn street scenes, with nothing to download: a table, a CSV and a picture."""
    pictures = {}
    for name, recipe in suite.recipes("quickstart").items():
        model = _benchmark(name, recipe, out, out / "leaderboard.csv", None, None)
        assert model is not None
        pictures[name] = model
    test = data.load("streets", "test")
    _save_grid(out / "predictions.png", test, pictures)
    _print(leaderboard.read(out / "leaderboard.csv"))
    console.print(f"{out / 'leaderboard.csv'}\n{out / 'predictions.png'}")


@app.command()
def run(
    name: Annotated[str, typer.Argument(metavar="SUITE", help="A name in benchmarks/suites, or a TOML file.")],
    data_root: DataRoot = None,
    only: Annotated[list[str] | None, typer.Option(help="Only the model of this name; may be repeated.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Stop cleanly in that time; the same command goes on.")] = None,
    out: Annotated[pathlib.Path, typer.Option(help="Where run folders go.")] = ROOT / "runs",
    board: Annotated[pathlib.Path | None, typer.Option(help="The CSV; benchmarks/leaderboards/SUITE.csv.")] = None,
):
    """Train the models of a suite and add their scores on the test split to its leaderboard."""
    recipes = suite.recipes(name)
    for model in only or []:
        if model not in recipes:
            raise ValueError(f"suite {name!r} has no model {model!r}: there are {', '.join(recipes)}")
    title = pathlib.Path(name).stem
    path = board or leaderboard.LEADERBOARDS / f"{title}.csv"
    for model, recipe in recipes.items():
        if not only or model in only:
            _benchmark(model, recipe, out / title, path, data_root, minutes)
    _print(leaderboard.read(path))
    console.print(str(path))


@app.command()
def table():
    """Write the leaderboards and the table of costs into README.md, and keep the last quickstart's picture."""
    readme = ROOT / "README.md"
    text = readme.read_text()
    boards = sorted(leaderboard.LEADERBOARDS.glob("*.csv"))
    tables = {f"leaderboard {path.stem}": leaderboard.shown(leaderboard.read(path)) for path in boards}
    tables["cost"] = costs.shown(pd.read_csv(COST))
    tables["crf"] = crfs.shown(pd.read_csv(CRF))
    for title, content in tables.items():
        begin, end = f"<!-- {title} -->\n", f"<!-- end {title} -->"
        if begin not in text or end not in text:
            raise ValueError(f"README.md lacks the line {begin.strip()!r} or {end!r}: add both")
        before, rest = text.split(begin)
        text = before + begin + leaderboard.markdown(content) + rest[rest.index(end) :]
    pretrained.write_aside(readme, text.encode())
    picture = ROOT / "runs/quickstart/predictions.png"
    if picture.is_file():
        pretrained.write_aside(ROOT / "benchmarks/quickstart.png", picture.read_bytes())


def _benchmark(name: str, recipe: Recipe, out: pathlib.Path, board: pathlib.Path, data_root, minutes):
    """Trains, tests and records one model; returns it, or None if the time was up first."""
    console.rule(name, align="left")
    began = out / name / "commit.txt"
    if not began.is_file():
        pretrained.write_aside(began, leaderboard.current_commit().encode())
    result = train(recipe, out / name, data_root=data_root, minutes=minutes)
    if not result["finished"]:
        console.print(f"{name}: stopped after epoch {result['epochs']} of {recipe.epochs}; the same command goes on")
        return None
    weights = out / name / result["weights"]
    test = dataset(recipe, "test", data_root)
    model = kseg.zoo.load(weights)
    scores = evaluate(model, test, batch_size=recipe.data.batch_size, reporter=Reporter())
    row = leaderboard.row(out.name, name, recipe, result, scores, model, test, weights, began.read_text())
    leaderboard.add(board, row)
    console.print(f"{name}: test mIoU {scores['miou']:.4f}, pixel accuracy {scores['pixel_accuracy']:.4f}")
    return model


@app.command()
def cost(
    size: Annotated[tuple[int, int], typer.Option(help="Height and width of the image.")] = (360, 480),
    out: Annotated[pathlib.Path, typer.Option(help="The CSV.")] = COST,
):
    """Compare what labelling one image costs: sliding window, full resolution, encoder and decoder."""
    table = costs.compare(size)
    pretrained.write_aside(out, table.to_csv(index=False, lineterminator="\n").encode())
    console.print(table.to_string(index=False))
    console.print(f"{out}")


@app.command()
def scores():
    """Time what scoring adds to an evaluation: to a U-Net's inference on images of 360x480."""
    for key, value in scoring.compare().items():
        console.print(f"{key:12} {value}")


@app.command()
def crf(
    weights: Annotated[str | None, typer.Option(help="Also score this model on CamVid without and with CRFs.")] = None,
    data_root: DataRoot = None,
    out: Annotated[pathlib.Path, typer.Option(help="The CSV of those scores.")] = CRF,
):
    """Time the dense CRF against its authors' code; with --weights, see what CRFs are worth on CamVid."""
    for key, value in crfs.cost_apart().items():
        console.print(f"{key:18} {value}")
    if weights is not None:
        splits = {name: data.load("camvid", name, root=data_root) for name in ("val", "test")}
        table = crfs.worth(kseg.zoo.load(weights), splits)
        pretrained.write_aside(out, table.to_csv(index=False, lineterminator="\n").encode())
        console.print(table.to_string(index=False))
        console.print(f"{out}")


@app.command("release")
def release_run(
    run: Annotated[pathlib.Path, typer.Argument(help="A finished run's folder, or one of zoo/ to be written anew.")],
    data_root: DataRoot = None,
    dtype: Annotated[str, typer.Option(help="How the weights are stored: float16 or float32.")] = "float16",
    to: Annotated[pathlib.Path, typer.Option(help="The folder of released weights.")] = release.ZOO,
    table: Annotated[pathlib.Path, typer.Option(help="The table of released weights.")] = release.table.TABLE,
):
    """Make released weights of a run: scores, card, picture, half-precision file and the entry in kseg's table."""
    console.print(str(release.release(run, data_root=data_root, dtype=dtype, to=to, releases=table)))


@app.command("publish")
def publish_all(
    to: Annotated[pathlib.Path, typer.Option(help="A folder for a web server, a release page or a model hub.")],
):
    """Lay out all released weights under the addresses at which kseg looks for them."""
    for path in publish.publish(to):
        console.print(str(path))


def _save_grid(path: pathlib.Path, test: data.Dataset, models: dict) -> None:
    """A row an image: image, label, and what each model predicts."""
    rows = []
    for place in np.linspace(0, len(test) - 1, 4).astype(int):
        image, label = test[int(place)]
        predicted = [model.predict_on_batch(image[None])[0].argmax(-1) for model in models.values()]
        rows.append([image, *(visualize.colorize(mask, test.palette) for mask in (label, *predicted))])
    picture = visualize.grid(rows, titles=["image", "label", *models])
    Image.fromarray(picture).save(path)


def _print(rows: pd.DataFrame) -> None:
    if rows.empty:
        return
    shown = leaderboard.shown(rows)[["name", "mIoU", "pixel accuracy", "parameters", "training", "inference"]]
    view = rich.table.Table(*shown.columns)
    for line in shown.to_numpy().tolist():
        view.add_row(*line)
    console.print(view)
