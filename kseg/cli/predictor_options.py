"""Options of the commands that label images, and those of a `kseg.inference.Predictor` that they stand for."""

from enum import StrEnum
from typing import Annotated, Any

import typer

MANY_PIXELS = 2**24
"""Number of pixels from which a faster engine makes up for the seconds in which it converts the network."""

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
        help="What runs the network: keras, openvino, onnxruntime, or auto: openvino if it is installed and "
        "the backend is TensorFlow on a CPU (in kseg predict for videos, or images of "
        f"{MANY_PIXELS / 1e6:.0f} megapixels in all), else keras. Engines other than keras change the labels of fewer "
        "than 1 of 1,000 pixels.",
    ),
]
Int8 = Annotated[
    str | None,
    typer.Option(
        help="Compute in 8-bit integers on OpenVINO, which is faster and changes more labels: a folder or a pattern of "
        "typical images, of which 64 set the ranges of the integers.",
    ),
]
ResizeRule = StrEnum("ResizeRule", ["processor"])
Resize = Annotated[
    ResizeRule | None,
    typer.Option(
        help="Resize whole images as the image processor of a checkpoint of transformers does, which repeats its "
        "published scores; by default they keep their size.",
    ),
]


def options(
    tta: bool, crf: bool, tile: int | None, engine: str, int8: str | None, resize: ResizeRule | None = None
) -> dict[str, Any]:
    """Returns the options of a `kseg.inference.Predictor` for those of a command."""
    found: dict[str, Any] = {"tile": tile, "crf": crf, "engine": engine}
    if resize:
        found["resize"] = resize.value
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
