"""The files that the code blocks of the pages work on, all of them small.

| path | content |
|---|---|
| `leaves/images/*.jpg`, `leaves/masks/*_mask.png` | 12 photos of 64x64 pixels, masks of 0 and 255 |
| `shapes/{images,masks}/{train,val}/*.png` | class ids 0, 1, 2 |
| `fields/images/*.tif`, `fields/masks/*.tif` | five bands of 12 bits, class ids 0, 1, 2 |
| `scene.tif` | a GeoTIFF of five bands |
| `photo.jpg`, `photos/a.jpg`, `photos/b.jpg` | drawn streets of 96x128 pixels |
| `cells.png` | bright cells on dark ground, 160x160 pixels |
| `clip.mp4` | a video of four frames of 64x64 pixels |
| `model.onnx` | an exported model that returns labels: dark and light |
| `runs/leaves`, `runs/fields`, `runs/shapes` | finished runs of one epoch with a tiny network |
"""

import pathlib
import tomllib

import numpy as np
import rasterio
from PIL import Image, ImageDraw

from docs.figures import prediction
from kseg import data, inference, training
from tests.data import folders
from tests.export import brightness

RUNS = {
    "leaves": 'mask_suffix = "_mask"\nvalues = [0, 255]\nclasses = ["background", "leaf"]\nsplit = "60/20/20"',
    "fields": 'classes = ["other", "wheat", "maize"]\nbands = [1, 2, 3, 4, 5]\nrange = [0, 4095]\nsplit = "80/20"',
    "shapes": 'classes = ["ground", "disk", "square"]',
}


def write(root: pathlib.Path) -> None:
    """Writes the files into a folder."""
    for index in range(12):
        _leaf(root / "leaves", f"{index:02}")
    for split, count in (("train", 8), ("val", 4)):
        for index in range(count):
            image, mask = _shapes(index)
            folders.write(root / f"shapes/images/{split}/{index}.png", image)
            folders.write(root / f"shapes/masks/{split}/{index}.png", mask)
    rng = np.random.default_rng(0)
    for index in range(10):
        bands = rng.integers(0, 4096, (5, 32, 32)).astype("uint16")
        _geotiff(root / f"fields/images/{index}.tif", bands)
        folders.write(root / f"fields/masks/{index}.tif", (bands[0] // 1366).astype("uint8"))
    _geotiff(root / "scene.tif", rng.integers(0, 4096, (5, 40, 48)).astype("uint16"))
    streets = data.load("streets", "test", size=(96, 128), count=3)
    for index, name in enumerate(("photo.jpg", "photos/a.jpg", "photos/b.jpg")):
        folders.write(root / name, np.asarray(streets[index][0], "uint8"))
    folders.write(root / "cells.png", prediction.cells())
    with inference.VideoWriter(root / "clip.mp4", 25) as video:
        for index in range(4):
            video.add(_shapes(index)[0])
    brightness.write(root / "model.onnx", labels=True)
    for name, keys in RUNS.items():
        recipe = tomllib.loads(
            "epochs = 1\ntensorboard = false\n"
            'model = { builder = "tiny", encoder = "small", encoder_weights = "none" }\n'
            f'[data]\nfolder = "{(root / name).as_posix()}"\ncrop = [32, 32]\nbatch_size = 4\n{keys}\n'
        )
        training.train(training.Recipe.from_dict(recipe), root / "runs" / name)


def _leaf(root: pathlib.Path, stem: str) -> None:
    mask = Image.new("L", (64, 64))
    left = 4 + int(stem)
    ImageDraw.Draw(mask).ellipse((left, 16, left + 40, 48), fill=255)
    image = Image.composite(
        Image.new("RGB", mask.size, (60, 140, 50)), Image.new("RGB", mask.size, (150, 130, 110)), mask
    )
    folders.write(root / "images" / f"{stem}.jpg", image)
    folders.write(root / "masks" / f"{stem}_mask.png", mask)


def _shapes(index: int) -> tuple[np.ndarray, np.ndarray]:
    mask = Image.new("L", (64, 64))
    ImageDraw.Draw(mask).ellipse((8 + index, 8, 28 + index, 28), fill=1)
    ImageDraw.Draw(mask).rectangle((30, 36 - index, 54, 56 - index), fill=2)
    labels = np.asarray(mask)
    return np.array([[30, 30, 40], [220, 90, 60], [70, 90, 220]], "uint8")[labels], labels


def _geotiff(path: pathlib.Path, bands: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = bands.shape
    place = {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 500000, 0, -10, 5400000)}
    options = {"count": count, "height": height, "width": width, "dtype": bands.dtype, "driver": "GTiff"}
    with rasterio.open(path, "w", **options, **place) as file:
        file.write(bands)
