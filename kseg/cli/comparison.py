"""`kseg compare`."""

import contextlib
import io
import math
import pathlib
from typing import Annotated, Any

import rich.console
import rich.table
import typer

from kseg.cli._application import DataRoot, application, plain_errors
from kseg.cli._datasets import BatchSize, DataPlace, Split, check_options, open_dataset
from kseg.cli._models import load_model
from kseg.cli._process import prepare
from kseg.cli.folder_options import with_folder_options

WRITER = "kseg compare"
"""The text `Software` in the picture, by which an earlier picture of this command is told from other files."""


@application.command()
@with_folder_options
def compare(
    context: typer.Context,
    a: Annotated[
        str,
        typer.Argument(
            help="A file written by kseg, a run folder, a .keras or .h5 file, an address or a released name."
        ),
    ],
    b: Annotated[str, typer.Argument(help="Another one with the same classes.")],
    data: DataPlace,
    folder: dict[str, Any],
    split: Split = "test",
    out: Annotated[pathlib.Path, typer.Option("--out", "-o", help="The picture to write, a PNG file.")] = pathlib.Path(
        "compare.png"
    ),
    count: Annotated[int, typer.Option(min=1, help="Largest number of images in the picture.")] = 5,
    data_root: DataRoot = None,
    batch_size: BatchSize = 1,
) -> None:
    """Compare two models: their scores, who is right where they differ, and the images that differ most."""
    with plain_errors(context.obj):
        prepare(training=False)
        from PIL import Image
        from PIL.PngImagePlugin import PngInfo

        from kseg import inference, metrics
        from kseg.pretrained import atomic_write

        check_options(data, folder)
        _check_own(out)
        models = [load_model(weights) for weights in (a, b)]
        _check_classes(*models)
        dataset = open_dataset(data, split, models[0], folder=folder, data_root=data_root)
        found = inference.compare(models[0], models[1], dataset, count=count, batch_size=batch_size, progress=True)
        scores = [metrics.scores(matrix) for matrix in (found.matrix_a, found.matrix_b)]
        console = rich.console.Console(markup=False, emoji=False, highlight=False, soft_wrap=True)
        console.print(f"A  {a}\nB  {b}")
        console.print(_table(dataset.classes, *scores))
        print(f"A and B disagree on {found.disagreement:.2%} of the labeled pixels")
        if found.most:
            shares = zip(inference.OUTCOMES, found.outcomes / found.outcomes.sum(), strict=True)
            print(f"of those, {', '.join(f'{name} on {share:.1%}' for name, share in shares)}")
            picture = io.BytesIO()
            mark = PngInfo()
            mark.add_text("Software", WRITER)
            Image.fromarray(found.picture(dataset)).save(picture, "PNG", pnginfo=mark)
            atomic_write(out, picture.getvalue())
            print(f"the {len(found.most)} images with the greatest disagreement: {out}")


def _check_own(out: pathlib.Path) -> None:
    """Raises a ValueError if the file to write exists and is no picture of this command."""
    if not out.exists():
        return
    from PIL import Image

    with contextlib.suppress(OSError), Image.open(out) as picture:
        if picture.info.get("Software") == WRITER:
            return
    raise ValueError(f"{out} was not written by kseg compare: name another file with -o")


def _check_classes(a: Any, b: Any) -> None:
    (count_a, names_a), (count_b, names_b) = ((model.output_shape[-1], tuple(model.classes)) for model in (a, b))
    if count_a != count_b or (names_a and names_b and names_a != names_b):
        shown_a, shown_b = (
            ", ".join(names) or f"{count} without names" for count, names in ((count_a, names_a), (count_b, names_b))
        )
        raise ValueError(f"models with different classes cannot be compared: A has {shown_a}; B has {shown_b}")


def _table(classes: tuple[str, ...], a: dict[str, Any], b: dict[str, Any]) -> rich.table.Table:
    table = rich.table.Table("score", *(rich.table.Column(name, justify="right") for name in ("A", "B", "B - A")))
    rows = [(name, a[name], b[name]) for name in ("miou", "pixel_accuracy")]
    rows += [(f"IoU {name}", x, y) for name, x, y in zip(classes, a["iou"], b["iou"], strict=True)]
    for name, x, y in rows:
        cells = ["absent" if math.isnan(value) else f"{value:.4f}" for value in (x, y)]
        table.add_row(name, *cells, "" if math.isnan(x - y) else f"{y - x:+.4f}", end_section=name == "pixel_accuracy")
    return table
