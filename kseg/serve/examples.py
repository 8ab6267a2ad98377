"""Example images of the page: drawn pictures, so that none has to be downloaded."""

import dataclasses
import io
from collections.abc import Collection

import numpy as np
from PIL import Image

from kseg.data import streets

STREETS = (3, 1, 10)
"""Which images of the test split of `kseg.data.streets` are examples."""
CELLS = (0, 1)
"""The seeds of the pictures of cells."""


@dataclasses.dataclass(frozen=True)
class Example:
    """An image that the page offers.

    Attributes:
        name: What the button of the image says.
        content: The image as a PNG file.
        models: Names of the models for which the image is meant.
    """

    name: str
    content: bytes
    models: tuple[str, ...]


def street_examples(models: Collection[str]) -> list[Example]:
    """Draws road scenes, 360x480 as the images of CamVid, for the models with the given names."""
    scenes = streets("test", size=(360, 480))
    return _examples("Street", [scenes[index][0] for index in STREETS], models)


def cell_examples(models: Collection[str]) -> list[Example]:
    """Draws pictures of cells, 360x480, for the models with the given names."""
    return _examples("Cells", [cells(seed, (360, 480))[0] for seed in CELLS], models)


def cells(seed: int, size: tuple[int, int], count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Draws bright cells on dark ground, as a fluorescence microscope shows their nuclei.

    Args:
        seed: Seed of the places, shapes and brightness of the cells, and of the noise.
        size: Height and width.
        count: Most cells; there are fewer if they find no place.

    Returns:
        A gray image, uint8 `(H, W, 3)`, and its labels, uint8 `(H, W)`: 1 in cells.

    Example:
        >>> image, label = cells(0, (64, 96))
        >>> bool(image[label == 1].mean() > 4 * image[label == 0].mean())
        True
    """
    rng, light, label = np.random.default_rng(seed), np.zeros(size), np.zeros(size, "uint8")
    rows, columns = np.ogrid[: size[0], : size[1]]
    placed: list[tuple[float, float, float]] = []
    for _ in range(10 * count):
        row, column, radius = rng.uniform((0, 0, 9), (*size, 15))
        near = any(np.hypot(row - y, column - x) < 0.9 * (radius + other) + 3 for y, x, other in placed)
        if near or len(placed) == count:
            continue
        placed.append((row, column, radius))
        angle, stretch, brightness = rng.uniform((0, 1, 0.45), (np.pi, 1.4, 1))
        along = (np.cos(angle) * (columns - column) + np.sin(angle) * (rows - row)) / (radius * stretch)
        across = (np.cos(angle) * (rows - row) - np.sin(angle) * (columns - column)) / (radius / stretch)
        distance = np.hypot(along, across)  # 1 at the edge of the cell
        label |= distance < 1
        light = np.maximum(light, brightness * np.clip((1.1 - distance) * 6, 0, 1) * (1 - distance**2 / 4))
    spots = Image.fromarray(rng.standard_normal((size[0] // 6, size[1] // 6), "float32"))
    texture = 1 + 0.12 * np.asarray(spots.resize(size[::-1], Image.Resampling.BICUBIC))
    gray = 14 + 190 * light * texture + rng.normal(0, 4, size)
    return np.clip(gray, 0, 255).astype("uint8")[..., None].repeat(3, axis=2), label


def _examples(kind: str, images: list[np.ndarray], models: Collection[str]) -> list[Example]:
    found = []
    for number, image in enumerate(images, start=1):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "PNG")
        found.append(Example(f"{kind} {number}", file.getvalue(), tuple(models)))
    return found
