"""`kseg datasets list` and `kseg datasets check`."""

import contextlib
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kseg.cli._application import DataRoot, application, integers, plain_errors

if TYPE_CHECKING:
    from kseg.data import Dataset

DataPlace = Annotated[str, typer.Option(help="The name of a data set, a recipe, or a folder with images/ and masks/.")]
Split = Annotated[str, typer.Option(help="train, val or test.")]
Ignore = Annotated[str, typer.Option(help="Mask values of a folder to ignore besides 255, as 7,9.")]
BatchSize = Annotated[
    int, typer.Option(min=1, help="Largest number of images per batch; it does not change the scores.")
]

commands = typer.Typer(help="List and check data sets.", no_args_is_help=True)
application.add_typer(commands, name="datasets")


@commands.command("list")
def list_datasets(context: typer.Context) -> None:
    """List the data sets that can be named."""
    with plain_errors(context.obj):
        from kseg import data as sets

        for name, function in sets.DATASETS.items():
            print(f"{name:10} {(function.__doc__ or '').strip().splitlines()[0]}")


@commands.command("check")
def check_dataset(
    context: typer.Context,
    path: Annotated[pathlib.Path, typer.Argument(help="A recipe, or a folder with images/ and masks/.")],
    classes: Annotated[str, typer.Option(help="Class names of a folder in the order of their ids, as a,b,c.")] = "",
    ignore: Ignore = "",
    split: Annotated[str | None, typer.Option(help="The split to check; by default every one that exists.")] = None,
    data_root: DataRoot = None,
) -> None:
    """Check every file of a data set of your own; exit code 1 if something is wrong."""
    with plain_errors(context.obj):
        from kseg import data as sets

        if path.suffix == ".toml":
            from kseg import training

            recipe = training.Recipe.from_toml(path)
            opened = _splits(lambda name: training.dataset(recipe, name, data_root), split)
        else:
            if not classes:
                raise ValueError(
                    "--classes is missing: name the classes in the order of their ids, background included, as a,b,c"
                )
            names, ignored = [name.strip() for name in classes.split(",")], integers(ignore)
            opened = _splits(lambda name: sets.FolderDataset(path, name, classes=names, ignore=ignored), split)
        reports = {name: sets.check(dataset) for name, dataset in opened.items()}
        for name, report in reports.items():
            print(*[f"{name}:"] * (name is not None), report, sep="\n")
        if not all(report.ok for report in reports.values()):
            raise typer.Exit(1)


def _splits(opened: Callable[[str | None], Any], split: str | None) -> dict[str | None, Any]:
    """Opens one split, or every split that exists, or a whole folder without splits."""
    if split is not None:
        return {split: opened(split)}
    found: dict[str | None, Any] = {}
    for name in ("train", "val", "test"):
        with contextlib.suppress(FileNotFoundError):
            found[name] = opened(name)
    return found or {None: opened(None)}


def open_dataset(data: str, split: str, model: Any, *, ignore: str, data_root: pathlib.Path | None) -> "Dataset":
    """Opens the data set of `--data`: that of a recipe, one with a name, or a folder with the classes of the model."""
    from kseg import data as sets

    if data.endswith(".toml"):
        from kseg import training

        return training.dataset(training.Recipe.from_toml(data), split, data_root)
    if data in sets.DATASETS or not pathlib.Path(data).is_dir():
        return sets.load(data, split, root=data_root)
    return sets.FolderDataset(data, split, classes=model.classes, palette=model.palette, ignore=integers(ignore))
