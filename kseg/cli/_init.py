"""`kseg init`."""

import pathlib
import shlex
import tomllib
from typing import Annotated, Any

import typer

from kseg.cli._application import application, plain_errors

TRIED = 10  # pairs of a split, of which one must be readable


@application.command()
def init(
    context: typer.Context,
    folder: Annotated[pathlib.Path, typer.Argument(help="A folder with images and masks or annotations.")],
    output: Annotated[pathlib.Path, typer.Option("--output", "-o", help="The recipe to write.")] = pathlib.Path(
        "recipe.toml"
    ),
) -> None:
    """Look at a folder of your own images and labels, and write a recipe that trains on them."""
    with plain_errors(context.obj):
        from kseg import data, pretrained, training

        if output.exists():
            raise ValueError(f"{output} exists and is kept: give another name, --output another.toml")
        found = data.draft(folder)
        recipe = training.Recipe.from_dict(tomllib.loads(found.recipe), source=str(output))
        for split in ("train", "val") if recipe.selection.every else ("train",):
            _read_one(training.dataset(recipe, split, None))  # fails here, not in training
        pretrained.atomic_write(output, found.recipe.encode())
        for line in found.findings:
            print(line)
        for line in found.problems:
            print(f"problem: {line}")
        name = shlex.quote(str(output))
        print(f"wrote {name}; next: kseg datasets check {name}, then kseg train {name}")


def _read_one(dataset: Any) -> None:
    """Reads the first pair that can be read; if there is none, raises the error of the first one."""
    first: Exception | None = None
    for index in range(min(TRIED, len(dataset))):
        try:
            dataset[index]
        except (ValueError, OSError) as error:
            first = first or error
        else:
            return
    if first is not None:
        raise first
