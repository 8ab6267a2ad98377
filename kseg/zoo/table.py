"""The table of builders, and what works on all of them."""

import difflib
import math
from collections.abc import Sequence
from typing import Any

from kseg import pretrained
from kseg.encoders import ENCODERS
from kseg.layers import Reach
from kseg.zoo._builder import Builder
from kseg.zoo._crf import with_crf
from kseg.zoo.measure import multiply_adds, reach_of_outputs, receptive_field

BUILDERS: dict[str, Builder[...]] = {}
"""The builders by name; `kseg/zoo/__init__.py` lists them."""

TRANSFORMERS = ("eomt",)
"""Builders that need the tokens of a Vision Transformer."""


def list_models() -> list[str]:
    """Returns the names of all builders.

    Example:
        >>> "unet" in list_models()
        True
    """
    return list(BUILDERS)


def build(
    builder: str, num_classes: int | None = None, *, crf: bool = False, **arguments: Any
) -> pretrained.SegmentationModel:
    """Builds a model by the name of its builder.

    Args:
        builder: A key of `BUILDERS`.
        num_classes: As in the builder.
        crf: Whether to append a CRF, see `with_crf`.
        **arguments: The builder's own keyword arguments.

    Returns:
        The model.

    Raises:
        TypeError: If the builder has no such argument.
        ValueError: If there is no such builder; the message names similar ones.
    """
    model = _builder(builder)(num_classes, **arguments)
    return with_crf(model) if crf and not model.arguments.get("crf") else model


def _builder(name: str) -> Builder[...]:
    if name not in BUILDERS:
        near = difflib.get_close_matches(name, BUILDERS, n=3, cutoff=0.4) or list(BUILDERS)
        raise ValueError(f"unknown builder {name!r}: did you mean {' or '.join(near)}?")
    return BUILDERS[name]


class Summary(list):
    """One dictionary per builder; `str` makes a table of them."""

    def __str__(self) -> str:
        cells = [["builder", "encoder", "fit", "parameters", "multiply-adds", "output stride", "receptive field"]]
        for row in self:
            fit, parameters = str(len(row["encoders"]) or "-"), f"{row['parameters'] / 1e6:.2f} M"
            cost = "-" if row["multiply_adds"] is None else f"{row['multiply_adds'] / 1e9:.2f} G"
            seen = "whole image" if math.isinf(row["receptive_field"]) else f"{row['receptive_field']} px"
            cells.append([row["builder"], row["encoder"], fit, parameters, cost, str(row["output_stride"]), seen])
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in cells)


def summary(
    size: tuple[int, int] = (360, 480), num_classes: int = 21, builders: Sequence[str] | None = None
) -> Summary:
    """Compares the builders, each on its default encoder; downloads nothing.

    Args:
        size: Height and width of the image for which multiply-adds are counted.
        num_classes: Number of classes of every model.
        builders: Names; None for all, which takes about half a minute.

    Returns:
        A list with one dictionary per builder, which prints as a table: `builder`, `encoder` (the default), `encoders`
        (those that fit), `parameters`, `multiply_adds` (None if the model cannot take the size), `output_stride` and
        `receptive_field` (in pixels; infinite if the model averages the whole image).

    Raises:
        TypeError: If `size` or `builders` is a name.
        ValueError: If there is no such builder; the message names similar ones.

    Example:
        >>> print(summary(builders=["segnet_basic"], num_classes=11))  # doctest: +NORMALIZE_WHITESPACE
        builder       encoder  fit  parameters  multiply-adds  output stride  receptive field
        segnet_basic  its own  -    1.42 M      59.19 G        16             196 px
    """
    for given in (size, builders):
        if isinstance(given, str):
            raise TypeError(f"got {given!r}: for one builder, write builders=[{given!r}]; size is (height, width)")
    found = Summary()
    for name in BUILDERS if builders is None else builders:
        options = _builder(name).defaults
        model = BUILDERS[name](num_classes, **({"encoder_weights": None} if "encoder_weights" in options else {}))
        try:
            cost = multiply_adds(model, size)
        except ValueError:  # unpadded convolutions allow some sizes only
            cost = None
        stride = round(max(each.step for each in reach_of_outputs(model.get_layer("encoder"), Reach(1, 1))))
        default = ENCODERS.get(options.get("encoder") or "")
        patches = default is not None and len(default.strides) == 1  # the builder takes Vision Transformers too
        fit = [
            key
            for key, entry in ENCODERS.items()
            if (patches if len(entry.strides) == 1 else name not in TRANSFORMERS and (patches or entry.reaches(stride)))
        ]
        row = {
            "builder": name,
            "encoder": options.get("encoder", "its own"),
            "encoders": fit if "encoder" in options else [],
            "parameters": model.count_params(),
            "multiply_adds": cost,
            "output_stride": stride,
            "receptive_field": receptive_field(model),
        }
        found.append(row)
    return found
