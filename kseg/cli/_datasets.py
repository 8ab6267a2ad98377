"""`kseg datasets list` and `kseg datasets check`."""

import pathlib
import shlex
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kseg.cli._application import DataRoot, application, plain_errors
from kseg.cli.folder_options import parsed, refuse, with_folder_options

if TYPE_CHECKING:
    from kseg.data import Dataset

DataPlace = Annotated[str, typer.Option(help="The name of a data set, a recipe, or a folder with images and masks.")]
Split = Annotated[str, typer.Option(help="train, val or test; all takes every image of a folder.")]
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
@with_folder_options
def check_dataset(
    context: typer.Context,
    path: Annotated[pathlib.Path, typer.Argument(help="A recipe, or a folder with images and masks.")],
    folder: dict[str, Any],
    split: Annotated[
        str | None, typer.Option(help="The split to check, or all; by default every one that exists.")
    ] = None,
    data_root: DataRoot = None,
) -> None:
    """Check every file of a data set of your own; exit code 1 if something is wrong."""
    with plain_errors(context.obj):
        from kseg import data as sets

        if _is_recipe(path):
            from kseg import training

            refuse(folder, f"these are keys of [data] in {path}")
            recipe = training.Recipe.from_toml(path)
            needed = "train", "val", *_split_names(recipe.data.split)
            opened = _splits(lambda name: training.dataset(recipe, name, data_root), split, needed)
        else:
            if "classes" not in folder:
                raise ValueError(
                    "--classes is missing: name the classes in the order of their ids, as background,cell, or "
                    f"let kseg init {shlex.quote(str(path))} write a recipe"
                )
            options = sets.folder_arguments(parsed(folder))
            splits = options.get("splits")
            needed = () if splits is None else _split_names(splits) or ("train",)
            opened = _splits(lambda name: sets.FolderDataset(path, name, interface="command", **options), split, needed)
        sets.compare_palettes(*opened.values())
        sound = True
        for name, dataset in opened.items():
            if name is not None:
                print(f"{name}:")
            if isinstance(dataset, Exception):
                print(f"problem: {dataset}")
                sound = False
            else:
                report = sets.check(dataset)
                print(report)
                sound = sound and report.ok
        if not sound:
            raise typer.Exit(1)


def _split_names(splits: str | Mapping[str, str] | None) -> tuple[str, ...]:
    """Returns the splits for each of which `splits` names a list."""
    return tuple(splits) if isinstance(splits, Mapping) else ()


def _splits(opened: Callable[[str | None], Any], split: str | None, needed: Collection[str]) -> dict[str | None, Any]:
    """Opens one split, or every split that exists, or a whole folder without splits.

    The error takes the place of a split that cannot be opened, and of a `needed` one that does not exist.
    """
    if split is not None:
        return {split: opened(None if split == "all" else split)}
    found: dict[str | None, Any] = {}
    for name in ("train", "val", "test"):
        try:
            found[name] = opened(name)
        except (FileNotFoundError, ValueError) as error:
            if isinstance(error, ValueError) or name in needed:
                found[name] = error
    errors = [each for each in found.values() if isinstance(each, ValueError)]
    if errors and len(errors) == len(found) and len({str(error) for error in errors}) == 1:
        raise errors[0]  # of the options, not of a split
    exists = any(not isinstance(each, FileNotFoundError) for each in found.values())
    return found if exists else {None: opened(None), **found}


def open_dataset(
    data: str, split: str, model: Any, *, folder: dict[str, Any], data_root: pathlib.Path | None
) -> "Dataset":
    """Opens the data set of `--data`: that of a recipe, one with a name, or a folder with the classes of the model."""
    from kseg import data as sets

    if _is_recipe(data):
        from kseg import training

        recipe = training.Recipe.from_toml(data)
        return training.dataset(recipe, None if split == "all" and recipe.data.name is None else split, data_root)
    if not _is_folder(data):
        if data not in sets.DATASETS:
            raise FileNotFoundError(f"--data: there is no folder or recipe {data}, nor a data set of that name")
        return sets.load(data, split, root=data_root)
    given = parsed(folder)
    palette = None if "values" in given else model.palette or None  # colors of a model may be the default ones
    options = {"classes": model.classes, "palette": palette} | given
    if not options["classes"]:
        raise ValueError("--classes is missing: this model has no class names, name them in the order of their ids")
    bands = model.inputs[0].shape[-1]
    options = sets.folder_arguments(options, sets.Pixels.from_json(getattr(model, "pixels", {}), bands))
    return sets.FolderDataset(data, None if split == "all" else split, interface="command", **options)


def check_options(data: str, folder: dict[str, Any]) -> None:
    """Raises a ValueError if options of a folder are given for other data, or have a wrong form."""
    if _is_recipe(data):
        refuse(folder, f"these are keys of [data] in {data}")
    if not _is_folder(data):
        refuse(folder, "--data must be a folder for these options")
    parsed(folder)


def _is_recipe(place: str | pathlib.Path) -> bool:
    """Whether a place is a recipe: a name that ends in `.toml`, or any file, such as `recipe.toml.txt`."""
    from kseg import data as sets

    path = pathlib.Path(place)
    return path.suffix.lower() == ".toml" or (str(place) not in sets.DATASETS and path.is_file())


def _is_folder(data: str) -> bool:
    from kseg import data as sets

    return data not in sets.DATASETS and pathlib.Path(data).is_dir()
