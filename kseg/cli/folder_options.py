"""The options that say where the files of a folder of one's own data are and what they contain."""

import functools
import inspect
import typing
from collections.abc import Callable
from typing import Annotated, Any

import typer


def _text(help: str) -> Any:
    return Annotated[str | None, typer.Option(help=help)]


OPTIONS: dict[str, Any] = {
    "classes": _text("Class names in the order of their ids, as a,b,c."),
    "images": _text("Folder of the images, or a pattern as {split}/{stem}.jpg; by default images."),
    "masks": _text("Folder of the masks, or a pattern as {split}/{stem}_mask.png; by default masks."),
    "image_suffix": _text("What follows the common part in the names of images."),
    "mask_suffix": _text("What follows the common part in the names of masks, as _mask."),
    "values": _text("The mask value of each class, as 0,255 for black-and-white masks."),
    "palette": _text("The color of each class in RGB masks, as #000000,#ff0000."),
    "ignore": _text("Mask values, colors or names of annotated objects to ignore besides 255, as 7,#ffffff."),
    "annotations": _text("A file or folder of polygons in place of masks (COCO, labelme, YOLO, CVAT, Label Studio)."),
    "splits": _text("Shares of train, val and test, as 80/10/10; or the lists: a folder, a pattern with {split}."),
    "split_seed": Annotated[int | None, typer.Option(help="Chooses which images fall into which share.")],
    "range": _text("The image values that are black and white, as 0,4095; or percentile."),
    "bands": _text("The bands of the images to use, from 1, as 4,3,2."),
    "page": Annotated[int | None, typer.Option(min=1, help="The page of files with several, from 1.")],
    "channels": Annotated[int | None, typer.Option(min=1, help="1 converts images to gray, 3 to RGB.")],
}


def with_folder_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds `OPTIONS` to a command, whose argument `folder` becomes a dict of those that are given, parsed."""
    signature = inspect.signature(command)
    hints = typing.get_type_hints(command, include_extras=True)
    kept = [
        each.replace(annotation=hints[each.name]) for each in signature.parameters.values() if each.name != "folder"
    ]
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    added = [inspect.Parameter(name, kind, default=None, annotation=hint) for name, hint in OPTIONS.items()]

    @functools.wraps(command)
    def wrapped(**given: Any) -> None:
        folder = {name: value for name in OPTIONS if (value := given.pop(name)) is not None}
        command(**given, folder=folder)

    wrapped.__signature__ = signature.replace(parameters=[*kept, *added])  # type: ignore[attr-defined]
    wrapped.__annotations__ = {each.name: each.annotation for each in [*kept, *added]}
    del wrapped.__wrapped__  # typer must not look behind it
    return wrapped


def parsed(folder: dict[str, Any]) -> dict[str, Any]:
    """Returns the values of `OPTIONS` as arguments of `kseg.data.FolderDataset`.

    Raises:
        ValueError: If a value has another form; the message names the option.
    """
    found = dict(folder)
    for name, parse in _PARSERS.items():
        if name in found:
            try:
                found[name] = parse(found[name])
            except ValueError:
                raise ValueError(f"--{name.replace('_', '-')} takes {_FORMS[name]}, got {folder[name]!r}") from None
    return found


def refuse(folder: dict[str, Any], place: str) -> None:
    """Raises a ValueError if options of a folder are given for data that are no folder."""
    if folder:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in folder)
        raise ValueError(f"{flags}: {place}")


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _integers(text: str) -> tuple[int, ...]:
    return tuple(map(int, _parts(text)))


def _color(text: str) -> tuple[int, ...]:
    if not text.startswith("#") or len(text) != 7:
        raise ValueError
    return tuple(bytes.fromhex(text[1:]))


def _ignored(text: str) -> list[Any]:
    def one(part: str) -> Any:
        return _color(part) if part.startswith("#") else int(part) if part.lstrip("-").isdigit() else part

    return [one(part) for part in _parts(text)]


def _range(text: str) -> Any:
    low, high = ("", "") if text == "percentile" else map(float, text.split(","))
    return text if text == "percentile" else (low, high)


def _splits(text: str) -> Any:
    return dict(part.split("=", 1) for part in _parts(text)) if "=" in text else text


_PARSERS: dict[str, Callable[[str], Any]] = {
    "classes": _parts, "values": _integers, "bands": _integers, "ignore": _ignored, "range": _range, "splits": _splits,
    "palette": lambda text: [_color(part) for part in _parts(text)],
}  # fmt: skip
_FORMS = {
    "values": "integers separated by commas, as 0,255", "bands": "integers separated by commas, as 4,3,2",
    "ignore": "integers, colors or names separated by commas, as 7,#ffffff",
    "range": "two numbers, as 0,4095, or percentile",
    "palette": 'colors separated by commas, as "#000000,#ff0000"', "splits": "shares, a place, or train=FILE,val=FILE",
}  # fmt: skip
