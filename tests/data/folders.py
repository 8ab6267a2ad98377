"""Small data sets: folders of images and masks, and pairs in memory."""

from pathlib import Path

import numpy as np
from PIL import Image

from kseg import data


class Pairs(data.Dataset):
    """A data set of given images and label maps, which counts how often each pair is read."""

    def __init__(self, pairs, classes=("a", "b", "c"), **options):
        super().__init__("pairs", classes, **options)
        self.pairs = list(pairs)
        self.reads = [0] * len(self.pairs)

    def __len__(self):
        return len(self.pairs)

    def read(self, index):
        self.reads[index] += 1
        return self.pairs[index]


def numbered(count, **options):
    """Images filled with their index."""
    images = [np.full((4, 6, 3), index, np.uint8) for index in range(count)]
    return Pairs([(image, image[..., 0] % 3) for image in images], **options)


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
