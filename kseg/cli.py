"""The command `kseg`: train, evaluate, and look at data sets."""

import contextlib
import errno
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import rich.console
import rich.table
import typer

# What a user can mend; anything else is a fault of kseg and keeps its traceback.
MISTAKES = (ValueError, OSError, ImportError)

application = typer.Typer(
    name="kseg", help="Semantic segmentation for Keras 3.", no_args_is_help=True, pretty_exceptions_enable=False
)
datasets = typer.Typer(help="Look at data sets.", no_args_is_help=True)
application.add_typer(datasets, name="datasets")

DataRoot = Annotated[pathlib.Path | None, typer.Option(help="Where data sets lie.", envvar="KSEG_DATA")]


def main() -> None:
    """Runs the command line."""
    application()


@contextlib.contextmanager
def _plain_errors(debug: bool) -> Iterator[None]:
    """Turns a user's mistake into one line on stderr and exit code 1."""
    try:
        yield
    except MISTAKES as error:
        if debug:
            raise
        text = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            text = f"the disk is full: {text}"
        print(f"error: {text}", file=sys.stderr)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        print("interrupted; `kseg train` goes on from its last epoch", file=sys.stderr)
        raise typer.Exit(130) from None


def _version(value: bool) -> None:
    if value:
        import kseg

        print(f"kseg {kseg.__version__}")
        raise typer.Exit


@application.callback()
def _options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    context.obj = debug


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
    with _plain_errors(context.obj):
        from kseg import training

        folder = run_folder or pathlib.Path("runs", recipe.stem)
        result = training.train(training.Recipe.from_toml(recipe), folder, data_root=data_root, minutes=minutes)
        if not result["finished"]:
            print(f"stopped after epoch {result['epochs']}: the same command goes on")
        _show(result["scores"])


@application.command()
def evaluate(
    context: typer.Context,
    weights: Annotated[pathlib.Path, typer.Argument(help="A weight file by kseg, e.g. best.safetensors.")],
    data: Annotated[str, typer.Option(help="A data set's name, a recipe, or a folder with images/ and masks/.")],
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    ignore: Annotated[str, typer.Option(help="Mask values of a folder that count for nothing, beside 255.")] = "",
    data_root: DataRoot = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images a step.")] = 8,
) -> None:
    """Score a model on every image of a split, at full size."""
    with _plain_errors(context.obj):
        from kseg import data as sets
        from kseg import training, zoo

        model = zoo.load(weights)
        dataset: sets.Dataset
        if data.endswith(".toml"):
            dataset = training.dataset(training.Recipe.from_toml(data), split, data_root)
        elif data in sets.DATASETS or not pathlib.Path(data).is_dir():
            dataset = sets.load(data, split, root=data_root)
        else:
            known = {"classes": model.classes, "palette": model.palette}
            dataset = sets.FolderDataset(data, split, **known, ignore=_integers(ignore))
        _show(training.evaluate(model, dataset, batch_size=batch_size, reporter=training.Reporter()))


@datasets.command("list")
def list_datasets(context: typer.Context) -> None:
    """List the data sets that kseg knows by name."""
    with _plain_errors(context.obj):
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
    with _plain_errors(context.obj):
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
                "ignore": _integers(ignore),
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


def _integers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise ValueError(f"--ignore takes whole numbers with commas between, got {text!r}") from None


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


if __name__ == "__main__":
    main()
