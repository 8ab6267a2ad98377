"""`kseg predict`."""

import io
import pathlib
import sys
import time
from typing import Annotated, Any

import typer

from kseg.cli.application import application, plain_errors

AUGMENTED: dict[str, Any] = {"flip": True, "scales": (0.75, 1.0, 1.25)}


@application.command()
def predict(
    context: typer.Context,
    inputs: Annotated[list[str], typer.Argument(help="Images, folders, patterns; - reads one from standard input.")],
    weights: Annotated[str, typer.Option(help="A released name, or a weight file by kseg.")],
    out: Annotated[pathlib.Path, typer.Option("--out", "-o", help="The folder to write to.")] = pathlib.Path("out"),
    format: Annotated[
        list[str], typer.Option(help="png, npy, geojson, coco: several with commas between, or repeated.")
    ] = ["png"],  # noqa: B006
    tta: Annotated[
        bool, typer.Option("--tta", help="Predict left-right mirrored and at 0.75 and 1.25 of the size too.")
    ] = False,
    crf: Annotated[
        bool, typer.Option("--crf", help="Refine by the image's colours (dense CRF, up to some 5 megapixels).")
    ] = False,
    tile: Annotated[
        int,
        typer.Option(
            min=0,
            help="Side of the tiles that larger images are cut into, which may change labels near seams; 0: whole.",
        ),
    ] = 1024,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Images of one size a step; on a CPU, 1 is as quick as more.")
    ] = 1,
) -> None:
    """Label images: palette masks, overlays and a table of class areas; exit code 1 if an image could not be read."""
    with plain_errors(context.obj):
        from kseg import inference, visualize, zoo
        from kseg.cli.results import Results

        chosen = _formats(format)
        if out.exists() and not out.is_dir():
            raise ValueError(f"{out} is a file: name a folder with -o")
        images = _images(inputs)
        model = zoo.load(weights)
        predictor = inference.Predictor(model, tile=tile or None, crf=crf, **(AUGMENTED if tta else {}))
        count = max(2, predictor.channels)
        classes = model.classes or [f"class {index}" for index in range(count)]
        palette = model.palette or visualize.default_palette(count)
        start, broken = time.perf_counter(), []
        names = zip(inference.output_names(list(images)), images, strict=True)
        with Results(out, chosen, classes, palette) as results:
            for found in predictor.many(images.values(), batch_size=batch_size, progress=len(images) > 1):
                name, shown = next(names)
                if found.image is None or found.label is None:
                    broken.append(str(found.error) if shown in str(found.error) else f"{shown}: {found.error}")
                else:
                    results.add(name, shown, found.image, found.label)
                del found  # not held while the next one is read
        done, seconds = len(images) - len(broken), time.perf_counter() - start
        print(f"{done} of {len(images)} labelled in {seconds:.1f} s ({done / seconds:.2f} a second): {out}")
        for text in broken:
            print(f"error: {' '.join(text.split())}", file=sys.stderr)
        if broken:
            raise typer.Exit(1)


def _formats(told: list[str]) -> set[str]:
    from kseg.cli.results import FORMATS

    chosen = {part.strip() for text in told for part in text.split(",")}
    if unknown := chosen - set(FORMATS):
        raise ValueError(f"--format takes {', '.join(FORMATS)}, got {', '.join(sorted(map(repr, unknown)))}")
    return chosen


def _images(inputs: list[str]) -> dict[str, Any]:
    """The images by the names they are shown under, each file once."""
    from kseg import inference

    found: dict[str, Any] = {}
    known = set()
    for text in inputs:
        if text == "-":
            found["stdin"] = _standard_input()
            continue
        for path in inference.list_images(text):
            if (whole := path.resolve()) not in known:
                known.add(whole)
                found[str(path)] = path
    return found


def _standard_input() -> Any:
    from kseg import inference

    if sys.stdin.isatty():
        raise ValueError("- reads an image from a pipe: kseg predict - < photo.jpg")
    file = io.BytesIO(sys.stdin.buffer.read())
    file.name = "standard input"  # for messages
    return inference.read_image(file)
