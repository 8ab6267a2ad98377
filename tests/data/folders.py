"""Writes small folders of images and masks."""

from pathlib import Path

import numpy as np
from PIL import Image


def write(path: Path, pixels: np.ndarray | Image.Image) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path)
    return path


def write_pair(
    root: Path, stem: str, mask: np.ndarray | Image.Image, images: str = "images", masks: str = "masks"
) -> None:
    """An image of random pixels with a mask of the same size."""
    height, width = mask.shape[:2] if isinstance(mask, np.ndarray) else mask.size[::-1]
    pixels = np.random.default_rng(len(stem)).integers(0, 256, (height, width, 3), np.uint8)
    write(root / images / f"{stem}.png", pixels)
    write(root / masks / f"{stem}.png", mask)


def ids(*rows: list[int]) -> np.ndarray:
    return np.array(rows, np.uint8)
