"""Five-band images of 12 bits in GeoTIFF files: from a recipe to a map, without a script."""

import csv
import json

import numpy as np
import pytest
import rasterio
from rasterio import Affine

from kseg import data, inference, pretrained, zoo
from tests.cli.command import kseg_command, refused
from tests.data import folders

PLACE = Affine(10, 0, 500_000, 0, -10, 5_400_000)
CLASSES = ["other", "wheat", "maize"]


def write(path, seed=0, size=(40, 48)):
    """A GeoTIFF with five bands; the mask is in its second band."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 4096, (5, *size)).astype("uint16")
    label = (np.indices(size).sum(0) // 8 + seed) % 3
    values[1] = label * 2000
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {"height": size[0], "width": size[1], "tiled": True, "blockxsize": 64, "blockysize": 64}
    with rasterio.open(
        path, "w", driver="GTiff", count=5, dtype="uint16", crs="EPSG:32633", transform=PLACE, **profile
    ) as file:
        file.write(values)
    return values, label.astype("uint8")


@pytest.fixture(scope="module")
def run(tmp_path_factory, numpy_initializers):
    """The folder of a short training by the recipe of README.md's kind, and the recipe."""
    root = tmp_path_factory.mktemp("fields")
    for index in range(6):
        _, label = write(root / "data/images" / f"{index}.tif", index)
        folders.write(root / "data/masks" / f"{index}.tif", label)
    recipe = root / "fields.toml"
    recipe.write_text(
        'epochs = 1\nmodel = { builder = "tiny", encoder = "small", encoder_weights = "none" }\n'
        f'[data]\nfolder = "{root / "data"}"\nclasses = {json.dumps(CLASSES)}\nbands = [5, 4, 3, 2]\n'
        'range = [0, 4095]\nsplit = "70/30"\nbatch_size = 2\ncrop = [32, 32]\n'
    )
    checked = kseg_command("datasets", "check", recipe)
    assert checked.exit_code == 0, checked.output
    done = kseg_command("train", recipe, "--run-folder", root / "run")
    assert done.exit_code == 0, done.output
    return root


def test_the_weight_file_says_what_pixels_mean_and_every_command_applies_it(run, tmp_path):
    weights = run / "run/best.safetensors"
    assert pretrained.describe(weights)["pixels"] == {"range": [0, 4095], "bands": [5, 4, 3, 2]}
    model = zoo.load(weights)
    assert model.input_shape == (None, None, None, 4)
    values, _ = write(tmp_path / "scene.tif", 9)
    expected = inference.Predictor(model)(np.moveaxis(values[[4, 3, 2, 1]], 0, -1) * np.float32(255 / 4095))
    done = kseg_command("predict", tmp_path / "scene.tif", "--weights", weights, "-o", tmp_path / "map",
                        "--format", "png,tif,geojson")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert done.stderr == ""
    assert "the polygons of 1 georeferenced image (EPSG:32633) are in longitude and latitude (WGS 84)" in done.stdout
    with rasterio.open(tmp_path / "map/masks/scene.tif") as file:
        np.testing.assert_array_equal(file.read(1), expected)
        assert (file.crs.to_string(), file.transform) == ("EPSG:32633", PLACE)
    assert (tmp_path / "map/masks/scene.png").is_file()
    points = json.loads((tmp_path / "map/polygons/scene.geojson").read_text())["features"][0]["geometry"]
    east, north = points["coordinates"][0][0]
    assert 15 <= east < 15.01 and 48.7 < north < 48.8  # 500 km east of zone 33's false origin lies its meridian
    areas = {row["class"]: row for row in csv.DictReader((tmp_path / "map/areas.csv").read_text().splitlines())}
    assert sum(float(row["real_area"]) for row in areas.values()) == 40 * 48 * 100
    assert {row["unit"] for row in areas.values()} == {"m"}
    scores = [
        kseg_command("evaluate", weights, "--data", place, "--split", "val", *more).output
        for place, more in ((run / "fields.toml", ()), (run / "data", ("--splits", "70/30")))
    ]
    assert scores[0].split("miou")[1][:10] == scores[1].split("miou")[1][:10]


def test_options_replace_what_was_trained_on_and_doubts_are_counted(run, tmp_path):
    weights = run / "run/best.safetensors"
    for index in range(3):
        write(tmp_path / "scenes" / f"{index}.tif", index)
    done = kseg_command("predict", tmp_path / "scenes", "--weights", weights, "-o", tmp_path / "out",
                        "--range", "0,100", "--bands", "1,2,3,4")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert done.stderr.count("\n") == 1
    assert "0.tif: more than 1 of 20 values lie outside 0 to 100 and are clipped (and 2 more images)" in done.stderr
    assert "3 images are georeferenced (EPSG:32633): --format tif writes" in done.stdout
    for options, message in (
        (("--bands", "1,2"), "takes 4 bands, got --bands 1,2"),
        (("--bands", "a"), "--bands takes integers"),
        (("--crs", "EPSG:3857"), "--crs is for polygons: add --format geojson"),
        (("--crs", "mars", "--format", "geojson"), "--crs takes source, or a reference system such as EPSG:3857"),
    ):
        assert message in refused("predict", tmp_path / "scenes", "--weights", weights, "-o", tmp_path / "o", *options)
    done = kseg_command(
        "predict", tmp_path / "scenes/0.tif", "--weights", weights, "-o", tmp_path / "b", "--bands", "9,1,2,3"
    )
    assert done.exit_code == 1
    assert "0.tif: band 9 is asked for, but the image has 5 bands" in done.stderr


def test_a_file_larger_than_memory_is_read_by_windows(run, tmp_path, monkeypatch):
    """The same labels, also where only windows are read and the whole image never is."""
    write(tmp_path / "scene.tif", 3, (200, 264))
    predictor = inference.Predictor(zoo.load(run / "run"), tile=64)
    expected = predictor(tmp_path / "scene.tif")
    monkeypatch.setattr("kseg.data.raster.WHOLE", 1000)
    monkeypatch.setattr("kseg.inference.predictor.read_picture", None)
    read = []
    windows = data.Raster.__getitem__
    monkeypatch.setattr(data.Raster, "__getitem__", lambda self, at: read.append(windows(self, at)) or read[-1])
    np.testing.assert_array_equal(predictor(tmp_path / "scene.tif"), expected)
    (found,) = predictor.many([tmp_path / "scene.tif"])
    np.testing.assert_array_equal(found.label, expected)
    assert found.image.shape == (200, 264, 4)
    assert max(part.shape[:2] for part in read) == (64, 64)
    picture = inference.Overlays(CLASSES, [(0, 0, 0), (1, 1, 1), (2, 2, 2)]).picture(found.image, found.label)
    assert picture.shape[1] == 264
