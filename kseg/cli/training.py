"""`kseg train` and `kseg evaluate`."""

import os
import pathlib
from typing import Annotated, Any

import rich.console
import rich.table
import typer

from kseg.cli.application import DataRoot, application, plain_errors
from kseg.cli.datasets import DataPlace, Ignore, Split, open_dataset


@application.command()
def train(
    context: typer.Context,
    recipe: Annotated[pathlib.Path, typer.Argument(help="A recipe, TOML.")],
    run_folder: Annotated[
        pathlib.Path | None, typer.Option(help="Where the run is kept; by default runs/ and the recipe's name.")
    ] = None,
    data_root: DataRoot = None,
    minutes: Annotated[float | None, typer.Option(help="Stop before so many minutes are over; go on later.")] = None,
) -> None:
    """Train a model; the same command resumes a run that was stopped."""
    with plain_errors(context.obj, interrupted="interrupted; `kseg train` goes on from its last epoch"):
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # off by default on some CPUs
        from kseg import training

        folder = run_folder or pathlib.Path("runs", recipe.stem)
        result = training.train(training.Recipe.from_toml(recipe), folder, data_root=data_root, minutes=minutes)
        if not result["finished"]:
            print(f"stopped after epoch {result['epochs']}: the same command goes on")
        _show(result["scores"])


@application.command()
def evaluate(
    context: typer.Context,
    weights: Annotated[str, typer.Argument(help="A weight file by kseg, e.g. best.safetensors, or a released name.")],
    data: DataPlace,
    split: Split = "test",
    ignore: Ignore = "",
    data_root: DataRoot = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images a step.")] = 8,
) -> None:
    """Score a model on every image of a split, at full size."""
    with plain_errors(context.obj):
        from kseg import training, zoo

        model = zoo.load(weights)
        dataset = open_dataset(data, split, model, ignore=ignore, data_root=data_root)
        _show(training.evaluate(model, dataset, batch_size=batch_size, reporter=training.Reporter()))


def _show(scores: dict[str, Any]) -> None:
    """Prints scores as a table."""
    if not scores:
        return
    table = rich.table.Table("score", rich.table.Column("value", justify="right"))
    for name in ("miou", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou"):
        table.add_row(name, f"{scores[name]:.4f}")
    table.add_section()
    for name, iou in scores["iou"].items():
        table.add_row(f"IoU {name}", "absent" if iou is None else f"{iou:.4f}")
    rich.console.Console().print(table)
