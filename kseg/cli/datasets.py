"""`kseg datasets list` and `kseg datasets check`."""

import contextlib
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kseg.cli.application import DataRoot, application, integers, plain_errors

if TYPE_CHECKING:
    from kseg.data import Dataset

DataPlace = Annotated[str, typer.Option(help="A data set's name, a recipe, or a folder with images/ and masks/.")]
Split = Annotated[str, typer.Option(help="train, val or test.")]
Ignore = Annotated[str, typer.Option(help="Mask values of a folder that count for nothing, beside 255.")]

datasets = typer.Typer(help="Look at data sets.", no_args_is_help=True)
application.add_typer(datasets, name="datasets")


@datasets.command("list")
def list_datasets(context: typer.Context) -> None:
    """List the data sets that kseg knows by name."""
    with plain_errors(context.obj):
        from kseg import data as sets

        for name, function in sets.DATASETS.items():
            print(f"{name:10} {(function.__doc__ or '').strip().splitlines()[0]}")


@datasets.command("check")
def check_dataset(
    context: typer.Context,
    path: Annotated[pathlib.Path, typer.Argument(help="A recipe, or a folder with images/ and masks/.")],
    classes: Annotated[str, typer.Option(help="Of a folder: class names in the order of their ids, as a,b,c.")] = "",
    ignore: Annotated[str, typer.Option(help="Mask values that count for nothing, beside 255, as 7,9.")] = "",
    split: Annotated[str | None, typer.Option(help="Only this one; else all that are there.")] = None,
    data_root: DataRoot = None,
) -> None:
    """Look at every file of a data set of your own; exit code 1 if something is wrong."""
    with plain_errors(context.obj):
        from kseg import data as sets

        if path.suffix == ".toml":
            from kseg import training

            recipe = training.Recipe.from_toml(path)
            opened = _splits(lambda name: training.dataset(recipe, name, data_root), split)
        else:
            if not classes:
                raise ValueError("say --classes a,b,c: the names in the order of their ids, the background included")
            told: dict[str, Any] = {
                "classes": [name.strip() for name in classes.split(",")],
                "ignore": integers(ignore),
            }
            opened = _splits(lambda name: sets.FolderDataset(path, name, **told), split)
        reports = {name: sets.check(dataset) for name, dataset in opened.items()}
        for name, report in reports.items():
            print(*[f"{name}:"] * (name is not None), report, sep="\n")
        if not all(report.ok for report in reports.values()):
            raise typer.Exit(1)


def _splits(opened: Callable[[str | None], Any], split: str | None) -> dict[str | None, Any]:
    """Opens the split asked for, or every one that is there, or the whole of a folder without splits."""
    if split is not None:
        return {split: opened(split)}
    found: dict[str | None, Any] = {}
    for name in ("train", "val", "test"):
        with contextlib.suppress(FileNotFoundError):
            found[name] = opened(name)
    return found or {None: opened(None)}


def open_dataset(data: str, split: str, model: Any, *, ignore: str, data_root: pathlib.Path | None) -> "Dataset":
    """Opens what `--data` names: a recipe's data set, one that kseg knows, or a folder in the model's classes."""
    from kseg import data as sets

    if data.endswith(".toml"):
        from kseg import training

        return training.dataset(training.Recipe.from_toml(data), split, data_root)
    if data in sets.DATASETS or not pathlib.Path(data).is_dir():
        return sets.load(data, split, root=data_root)
    return sets.FolderDataset(data, split, classes=model.classes, palette=model.palette, ignore=integers(ignore))
