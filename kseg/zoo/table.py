"""The table of builders, and what works on all of them."""

import difflib
from collections.abc import Sequence
from typing import Any

from kseg import pretrained
from kseg.zoo._builder import Builder, with_crf
from kseg.zoo.measure import Summary, rows

BUILDERS: dict[str, Builder[...]] = {}
"""The builders by name; `kseg/zoo/__init__.py` lists them."""


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
    if builder not in BUILDERS:
        near = difflib.get_close_matches(builder, BUILDERS, n=3, cutoff=0.4) or list(BUILDERS)
        raise ValueError(f"unknown builder {builder!r}: did you mean {' or '.join(near)}?")
    model = BUILDERS[builder](num_classes, **arguments)
    return with_crf(model) if crf and not model.arguments.get("crf") else model


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

    Example:
        >>> print(summary(builders=["segnet_basic"], num_classes=11))  # doctest: +NORMALIZE_WHITESPACE
        builder       encoder  fit  parameters  multiply-adds  output stride  receptive field
        segnet_basic  its own  -    1.42 M      59.19 G        16             196 px
    """
    names = list(BUILDERS) if builders is None else builders
    return rows({name: BUILDERS[name] for name in names}, size=size, num_classes=num_classes)
