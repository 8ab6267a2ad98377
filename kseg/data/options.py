"""The options of a recipe or command that say where images are and what they mean, as arguments of `FolderDataset`."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from kseg.data.pixels import Pixels
from kseg.data.wording import PIXELS


def folder_arguments(options: Mapping[str, Any], pixels: Pixels = Pixels()) -> dict[str, Any]:
    """Returns the options of a recipe or command as arguments of `FolderDataset`.

    Args:
        options: Values by the names in a recipe: `split` is the argument `splits`; `range`, `bands` and `page` are
            those of `Pixels`. None stands for the default.
        pixels: What the numbers of the images mean where the options do not tell.

    Returns:
        The arguments.

    Raises:
        ValueError: If a value is invalid.

    Example:
        >>> found = folder_arguments({"split": "80/20", "range": (0, 4095), "masks": None})
        >>> found["splits"], found["pixels"].range, "masks" in found
        ('80/20', (0.0, 4095.0), False)
    """
    given = {"splits" if name == "split" else name: value for name, value in options.items() if value is not None}
    meaning = {name: given.pop(name) for name in PIXELS if name in given}
    return given | {"pixels": dataclasses.replace(pixels, **meaning)}
