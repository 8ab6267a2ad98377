"""`kseg predict`."""

import io
import pathlib
import sys
import time
from typing import Annotated, Any

import typer

from kseg.cli._application import application, plain_errors
from kseg.cli._process import prepare

Tta = Annotated[
    bool,
    typer.Option(
        "--tta",
        help="Average the predictions for the image and its mirror image at 0.75, 1 and 1.25 of the size, which takes "
        "6 times as long.",
    ),
]
Crf = Annotated[
    bool,
    typer.Option(
        "--crf",
        help="Refine the labels by the colors of the image (dense CRF), which adds 1 to 12 s per megapixel; up to "
        "about 5 megapixels.",
    ),
]
Engine = Annotated[
    str,
    typer.Option(
        help="What runs the network: keras, openvino, onnxruntime, or auto, which is openvino for many images if it is "
        "installed and the backend is TensorFlow on a CPU; fewer than 1 of 1,000 pixels change their label.",
    ),
]
Int8 = Annotated[
    str | None,
    typer.Option(
        help="Compute in 8-bit integers on OpenVINO, which is faster and changes more labels: a folder or a pattern of "
        "typical images, of which 64 set the ranges of the integers.",
    ),
]

MANY = 64
"""Number of images from which a faster engine makes up for the seconds in which it converts the network."""


def options(tta: bool, crf: bool, tile: int | None, engine: str, int8: str | None) -> dict[str, Any]:
    """Returns the options of a `kseg.inference.Predictor` for those of a command."""
    found: dict[str, Any] = {"tile": tile, "crf": crf, "engine": engine}
    if tta:
        found |= {"flip": True, "scales": (0.75, 1.0, 1.25)}
    if int8 is not None:
        from kseg import inference

        if engine not in ("openvino", "auto"):
            raise ValueError(f"--int8 needs --engine openvino, got {engine}")
        images = inference.list_images(int8)
        chosen = [images[index] for index in inference.spread(len(images))]
        found |= {"engine": "openvino", "precision": "int8", "calibration": chosen}
    return found


@application.command()
def predict(
    context: typer.Context,
    inputs: Annotated[list[str], typer.Argument(help="Images, folders, patterns; - reads one from standard input.")],
    weights: Annotated[
        str, typer.Option(help="A file written by kseg, a run folder, a .keras file, an address or a released name.")
    ],
    out: Annotated[pathlib.Path, typer.Option("--out", "-o", help="The folder to write to.")] = pathlib.Path("out"),
    format: Annotated[
        list[str], typer.Option(help="png, npy, geojson, coco: several separated by commas, or repeated.")
    ] = ["png"],  # noqa: B006
    tta: Tta = False,
    crf: Crf = False,
    tile: Annotated[
        int,
        typer.Option(
            min=0,
            help="Side of the tiles into which larger images are cut, which may change labels near seams; 0: never.",
        ),
    ] = 1024,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Largest number of images of one size per batch; on a CPU, 1 is as fast as more.")
    ] = 1,
    engine: Engine = "auto",
    int8: Int8 = None,
) -> None:
    """Label images: palette masks, overlays and a table of class areas; exit code 1 if an image could not be read."""
    with plain_errors(context.obj):
        prepare(training=False)
        from kseg import inference, visualize, zoo
        from kseg.cli.results import Results

        chosen = _formats(format)
        if out.exists() and not out.is_dir():
            raise ValueError(f"{out} is a file: name a folder with -o")
        images = _images(inputs)
        model = zoo.load(weights)
        if engine == "auto" and len(images) < MANY and int8 is None:
            engine = "keras"
        predictor = inference.Predictor(model, **options(tta, crf, tile, engine, int8))
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
        print(f"{done} of {len(images)} labeled in {seconds:.1f} s ({done / seconds:.2f} per second): {out}")
        for text in broken:
            print(f"error: {' '.join(text.split())}", file=sys.stderr)
        if broken:
            raise typer.Exit(1)


def _formats(values: list[str]) -> list[str]:
    from kseg.inference import FORMATS

    chosen = dict.fromkeys(part.strip() for text in values for part in text.split(","))
    if unknown := [name for name in chosen if name not in FORMATS]:
        raise ValueError(f"--format takes {', '.join(FORMATS)}, got {', '.join(map(repr, unknown))}")
    return list(chosen)


def _images(inputs: list[str]) -> dict[str, Any]:
    """Returns the images by the names that messages use, each file once."""
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
        raise ValueError("- reads an image from standard input: kseg predict - < photo.jpg")
    file = io.BytesIO(sys.stdin.buffer.read())
    file.name = "standard input"  # for messages
    return inference.read_image(file)
