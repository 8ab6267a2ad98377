"""`kseg train` and `kseg evaluate`."""

import pathlib
import sys
from typing import Annotated, Any

import rich.console
import rich.table
import typer

from kseg.cli._application import DataRoot, application, plain_errors
from kseg.cli._datasets import BatchSize, DataPlace, Split, check_options, open_dataset
from kseg.cli._models import load_model
from kseg.cli._process import prepare
from kseg.cli.folder_options import with_folder_options
from kseg.cli.predictor_options import Crf, Engine, Int8, Resize, Tta, options


@application.command()
def train(
    context: typer.Context,
    recipe: Annotated[pathlib.Path, typer.Argument(help="A recipe in TOML.")],
    run_folder: Annotated[
        pathlib.Path | None, typer.Option(help="Folder of the run; by default runs/ and the recipe's name.")
    ] = None,
    data_root: DataRoot = None,
    minutes: Annotated[
        float | None, typer.Option(help="Stop after the last epoch that ends within this time; the run can be resumed.")
    ] = None,
    devices: Annotated[
        int | None, typer.Option(min=1, help="Number of GPUs of this host, or of parts of the CPU; by default 1.")
    ] = None,
    hosts: Annotated[
        str | None,
        typer.Option(
            help="With several hosts: the address of the first one and a port, as node-1:29400. Start the command on "
            "each. Not needed under torchrun or SLURM's srun."
        ),
    ] = None,
    processes: Annotated[int | None, typer.Option(min=1, help="With several hosts: their number.")] = None,
    process: Annotated[
        int | None, typer.Option(min=0, help="With several hosts: the number of this one, from 0.")
    ] = None,
) -> None:
    """Train a model; the same command resumes a run that was stopped."""
    with plain_errors(context.obj, interrupted="interrupted; the same `kseg train` resumes after the last epoch"):
        prepare(training=True)
        from kseg import training

        folder = run_folder or pathlib.Path("runs", recipe.stem)
        content = training.Recipe.from_toml(recipe)
        content = content.on(devices=devices, hosts=hosts, processes=processes, process=process)
        number = training.start_processes(content, [sys.executable, "-m", "kseg.cli", *sys.argv[1:]])
        finished = (folder / "result.json").is_file()
        result = training.train(content, folder, data_root=data_root, minutes=minutes)
        if number == 0:
            if not result["finished"]:
                print(f"stopped after epoch {result['epochs']}: the same command resumes the run")
            if finished:
                print(f"{folder.as_posix()} is finished, nothing was trained; for another training give --run-folder")
            _show(result["scores"])


@application.command()
@with_folder_options
def evaluate(
    context: typer.Context,
    weights: Annotated[
        str,
        typer.Argument(
            help="A file written by kseg, a run folder, a .keras or .h5 file, an address or a released name."
        ),
    ],
    data: DataPlace,
    folder: dict[str, Any],
    split: Split = "test",
    data_root: DataRoot = None,
    batch_size: BatchSize = 8,
    tta: Tta = False,
    crf: Crf = False,
    tile: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Side of the tiles into which larger images are cut, which saves memory, takes up to a third longer "
            "and may change labels near seams; 0: never. By default 1024 for images above 2 megapixels.",
        ),
    ] = None,
    engine: Engine = "keras",
    int8: Int8 = None,
    resize: Resize = None,
) -> None:
    """Score a model on every image of a split, at full size."""
    with plain_errors(context.obj):
        prepare(training=False)
        from kseg import inference, training
        from kseg.progress import Reporter

        check_options(data, folder)
        model = load_model(weights)
        dataset = open_dataset(data, split, model, folder=folder, data_root=data_root)
        predictor = inference.Predictor(model, **options(tta, crf, tile, engine, int8, resize))
        _show(training.evaluate(predictor, dataset, batch_size=batch_size, reporter=Reporter()))


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
    rich.console.Console(markup=False, emoji=False).print(table)  # names may contain brackets and colons
