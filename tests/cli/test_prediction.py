import csv
import json
import os
import re
import sys

import fsspec
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import rasterio
from PIL import Image

from kseg import data, inference, metrics, pretrained, training, visualize, zoo
from kseg.cli import _inputs, prediction
from kseg.inference import calibration
from kseg.prediction import Results
from tests.cli.command import kseg_command, refused
from tests.data import folders

pytestmark = pytest.mark.usefixtures("numpy_initializers", "loaded_once")

PALETTE = [(10, 20, 30), (0, 255, 0), (200, 0, 0)]


@pytest.fixture(scope="module")
def weights(save):
    return save(3, ["soil", "leaf", "spot"], PALETTE)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two images with the same stem in different folders, another one, and a broken file."""
    folder = tmp_path_factory.mktemp("photos")
    for index, name in enumerate(("a/1.png", "b/1.png", "b/2.jpg")):
        (folder / name).parent.mkdir(exist_ok=True)
        pixels = np.random.default_rng(index).integers(0, 256, (30, 41, 3)).astype("uint8")
        Image.fromarray(pixels).save(folder / name)
    (folder / "broken.png").write_text("no image")
    return folder


def mask(path):
    with Image.open(path) as picture:
        assert picture.mode == "P"
        return np.asarray(picture)


def table(folder):
    return list(csv.DictReader((folder / "areas.csv").read_text().splitlines()))


def test_folders_patterns_and_files_become_masks_overlays_and_a_table(weights, photos, tmp_path):
    done = kseg_command("predict", photos / "a", f"{photos}/b/*.jpg", photos / "b/1.png", photos / "a/1.png",
                        "--weights", weights, "-o", tmp_path / "out")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("3 of 3 labeled in ") and done.stderr == ""
    written = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("[!.]*.*"))
    names = ["2", "a_1", "b_1"]
    pictures = [f"{kind}.{suffix}" for kind, suffix in (("masks/{}", "png"), ("overlays/{}", "jpg"))]
    assert written == sorted(["areas.csv", "objects.csv", *(path.format(name) for path in pictures for name in names)])
    label = mask(tmp_path / "out/masks/b_1.png")
    np.testing.assert_array_equal(label, inference.Predictor(zoo.load(weights))(photos / "b/1.png"))
    rows = table(tmp_path / "out")
    assert len(rows) == 9
    for row in rows[6:]:
        pixels = (label == int(row["id"])).sum()
        assert (row["image"], int(row["pixels"])) == (str(photos / "b/1.png"), pixels)
        assert float(row["share"]) == pytest.approx(pixels / label.size, abs=1e-6)


def test_every_format_holds_the_same_labels(weights, photos, tmp_path):
    done = kseg_command("predict", photos / "b", "--weights", weights, "-o", tmp_path,
                        "--format", "png,npy", "--format", "geojson, coco")  # fmt: skip
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "coco.json").read_text())
    assert [kind["name"] for kind in found["categories"]] == ["soil", "leaf", "spot"]
    assert len({row["id"] for row in found["annotations"]}) == len(found["annotations"])
    for image, name in zip(found["images"], ("1", "2"), strict=True):
        label = mask(tmp_path / f"masks/{name}.png")
        np.testing.assert_array_equal(np.load(tmp_path / f"labels/{name}.npy"), label)
        assert (image["height"], image["width"]) == label.shape
        areas = {row["category_id"]: row["area"] for row in found["annotations"] if row["image_id"] == image["id"]}
        shapes = json.loads((tmp_path / f"polygons/{name}.geojson").read_text())["features"]
        for index in range(3):
            pixels = sum(shape["properties"]["pixels"] for shape in shapes if shape["properties"]["id"] == index)
            assert (label == index).sum() == pixels == areas.get(index, 0)


def test_only_the_chosen_formats_are_written(weights, photos, tmp_path):
    options = ("--format", "npy", "--no-overlay")
    kseg_command("predict", photos / "a/1.png", "--weights", weights, "-o", tmp_path, *options)
    assert sorted(path.name for path in tmp_path.glob("[!.]*")) == ["areas.csv", "labels", "objects.csv"]


def test_objects_are_counted_without_the_background_and_measured_in_real_units(save, photos, tmp_path):
    weights = save(3, ["background", "leaf", "spot"])
    options = ("--weights", weights, "--format", "geojson,coco", "--pixel-size", "0.25 um", "--simplify", 1)
    told = kseg_command("predict", photos / "a", "-o", tmp_path / "out", *options).stdout
    rows = list(csv.DictReader((tmp_path / "out/objects.csv").read_text().splitlines()))
    shapes = json.loads((tmp_path / "out/polygons/1.geojson").read_text())["features"]
    assert [(row["class"], int(row["id"]), int(row["area"])) for row in rows] == [
        (each["properties"]["class"], each["properties"]["object"], each["properties"]["pixels"]) for each in shapes
    ]
    counts = [sum(row["class"] == name for row in rows) for name in ("background", "leaf", "spot")]
    assert (
        counts[0] == 0 < counts[1]
        and f"objects: {counts[1]} leaf, {counts[2]} spot; left out as background: background (" in told
    )
    for row in rows:
        assert float(row["real_area"]) == pytest.approx(int(row["area"]) / 16, rel=1e-5) and row["unit"] == "um"
    assert [kind["id"] for kind in json.loads((tmp_path / "out/coco.json").read_text())["categories"]] == [1, 2]
    kseg_command("predict", photos / "a", "-o", tmp_path / "all", *options, "--keep-background")
    found = list(csv.DictReader((tmp_path / "all/objects.csv").read_text().splitlines()))
    assert [row["area"] for row in found if row["class"] != "background"] == [row["area"] for row in rows]
    assert sum(int(row["area"]) for row in found) == 30 * 41


def test_parquet_and_addresses_in_and_out_hold_the_same_labels(weights, photos, tmp_path):
    rows = [{"bytes": (photos / name).read_bytes(), "path": name} for name in ("b/1.png", "b/2.jpg")]
    pyarrow.parquet.write_table(pyarrow.table({"image": rows}), tmp_path / "photos.parquet")
    options = ("--weights", weights, "--format", "png,parquet")
    kseg_command("predict", photos / "b", "-o", tmp_path / "out", *options)
    done = kseg_command("predict", tmp_path / "photos.parquet", "-o", "memory://results", *options)
    assert done.exit_code == 0, done.output
    done = kseg_command("predict", f"file://{photos}/b", "-o", f"file://{tmp_path}/other", *options)
    assert done.exit_code == 0, done.output
    files = fsspec.filesystem("memory")
    for name in ("masks/1.png", "masks/2.png", "overlays/1.jpg"):
        wanted = (tmp_path / "out" / name).read_bytes()
        assert wanted == files.cat(f"/results/{name}") == (tmp_path / "other" / name).read_bytes()
    assert files.cat("/results/areas.csv").count(b"\n") == 7
    found = pyarrow.parquet.read_table(tmp_path / "out/labels.parquet")
    assert json.loads(found.schema.metadata[b"kseg"])["classes"] == ["soil", "leaf", "spot"]
    for row, name in zip(found.to_pylist(), ("1", "2"), strict=True):
        label = mask(tmp_path / f"out/masks/{name}.png")
        assert row["mask"] == (tmp_path / f"out/masks/{name}.png").read_bytes()
        assert row["image"].startswith(str(photos / "b" / name)) and (row["height"], row["width"]) == label.shape
        assert row["areas"] == np.bincount(label.ravel(), minlength=3).tolist()


def test_names_in_another_encoding_and_of_any_length_stop_nothing(weights, photos, tmp_path):
    stems = [b"a", b"caf\xe9", b"\x83e\x83X\x83g", b"x" * 251, b"z"]
    (tmp_path / "in").mkdir()
    for stem in stems:
        (tmp_path / "in" / os.fsdecode(stem + b".png")).write_bytes((photos / "a/1.png").read_bytes())
    out = tmp_path / os.fsdecode(b"\xe9")
    done = kseg_command("predict", tmp_path / "in", "--weights", weights, "-o", out, "--format", "png,coco")
    assert done.exit_code == 0, done.output
    assert sorted(os.listdir(os.fsencode(out / "masks"))) == sorted(stem + b".png" for stem in stems)
    assert len(table(out)) == 15 and rf"{tmp_path}/in/caf\udce9.png" in {row["image"] for row in table(out)}
    assert len(json.loads((out / "coco.json").read_text())["images"]) == 5
    done = kseg_command("predict", tmp_path / "in", "--weights", weights, "-o", out, "--format", "geojson")
    assert done.exit_code == 0 and len(list((out / "polygons").iterdir())) == 5


def test_a_result_that_cannot_be_written_is_one_broken_image(weights, photos, tmp_path):
    (tmp_path / "out/masks/1.png").mkdir(parents=True)
    done = kseg_command("predict", photos / "b", "--weights", weights, "-o", tmp_path / "out")
    assert done.exit_code == 1 and done.stdout.startswith("1 of 2 labeled in ")
    place = tmp_path / "out/masks/1.png"
    assert done.stderr == f"error: {photos / 'b/1.png'}: cannot write {place}: Is a directory\n"
    assert (tmp_path / "out/masks/2.png").is_file() and (tmp_path / "out/overlays/1.jpg").is_file()
    assert len(table(tmp_path / "out")) == 6
    (tmp_path / "file/masks").parent.mkdir()
    (tmp_path / "file/masks").touch()  # before any image is labeled
    assert f"cannot make the folder {tmp_path / 'file/masks'} (File exists): choose another one with -o" in refused(
        "predict", photos / "b", "--weights", weights, "-o", tmp_path / "file"
    )


def test_equal_errors_of_many_images_are_one_line_and_files_that_are_not_read_are_counted(weights, photos, tmp_path):
    for index in range(7):
        (tmp_path / f"{index}.png").write_text("no image")
    (tmp_path / "notes.txt").touch()
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    done = kseg_command("predict", tmp_path, "--weights", weights, "-o", tmp_path / "out")
    names = ", ".join(str(tmp_path / f"{index}.png") for index in range(3))
    assert f"error: 7 images: not an image that can be read: {names} and 4 more\n" in done.stderr
    assert done.stderr.count("\n") == 2 and "loop.png" in done.stderr
    assert f"1 file is not an image and was skipped, such as {tmp_path / 'notes.txt'}\n" in done.stdout


def test_the_frames_of_a_video_become_masks_and_an_overlay_video(weights, tmp_path):
    with inference.VideoWriter(tmp_path / "clip.mp4", 10) as video:
        for index in range(3):
            video.add(np.random.default_rng(index).integers(0, 256, (34, 46, 3)).astype("uint8"))
    (tmp_path / "broken.avi").write_text("no video")
    done = kseg_command("predict", tmp_path / "*.*", "--weights", weights, "-o", tmp_path / "out")
    assert done.exit_code == 1 and done.stdout.startswith("3 of 4 labeled in ")
    assert done.stderr == f"error: {tmp_path / 'broken.avi'}: not a video that can be read\n"
    frames = list(inference.Frames(tmp_path / "clip.mp4"))
    predictor = inference.Predictor(zoo.load(weights))
    for index, frame in enumerate(frames):
        np.testing.assert_array_equal(mask(tmp_path / f"out/masks/clip/{index:06d}.png"), predictor(frame))
    overlays = list(inference.Frames(tmp_path / "out/overlays/clip.mp4"))
    assert len(overlays) == 3 and overlays[0].shape[0] > 34
    assert {row["image"] for row in table(tmp_path / "out")} == {f"{tmp_path / 'clip.mp4'} frame {n}" for n in range(3)}


def test_fewer_frames_than_a_video_declares_are_a_doubt(weights, tmp_path, monkeypatch):
    with inference.VideoWriter(tmp_path / "clip.mp4", 10) as video:
        for _ in range(3):
            video.add(np.zeros((34, 46, 3), "uint8"))

    class Estimated(inference.Frames):
        def __init__(self, path):
            super().__init__(path)
            self.count = 10

    monkeypatch.setattr("kseg.cli._labeling.Frames", Estimated)
    done = kseg_command("predict", tmp_path / "clip.mp4", "--weights", weights, "-o", tmp_path / "out")
    assert done.exit_code == 0 and done.stdout.startswith("3 of 3 labeled in ")
    assert done.stderr.startswith(f"warning: {tmp_path / 'clip.mp4'}: 3 of 10 declared frames were read: ")
    assert len(list(inference.Frames(tmp_path / "out/overlays/clip.mp4"))) == 3


def test_subfolders_that_are_not_read_are_named(weights, photos, tmp_path, monkeypatch):
    done = kseg_command("predict", photos, photos / "a", "--weights", weights, "-o", tmp_path)
    assert f"subfolders were skipped; to label them, give {photos / 'b'}\n" in done.stdout
    for name in ("1/a.JPG", "2/b.png", "2/c.mp4", "3/4/d.tif", "5/out/areas.csv", "5/out/masks/a.png", ".6/a.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    text = refused("predict", tmp_path / "in", "--weights", weights, "-o", tmp_path)
    first = ", ".join(str(tmp_path / "in" / name) for name in ("1", "2", "2/c.mp4"))
    assert text == f"error: {tmp_path / 'in'} has images in subfolders only: give {first} and others\n"
    places = [str(tmp_path / "in" / name) for name in ("2", "2/c.mp4", "3/4")]
    found = _inputs.find_inputs([str(tmp_path / "in/1"), str(tmp_path / "in/1/a.JPG"), *places])
    assert (len(found.images), len(found.videos), found.deeper) == (3, 1, [])
    monkeypatch.setattr(_inputs, "VISITED", 3)
    assert _inputs.find_inputs([str(photos)]).deeper == [str(photos / "a"), str(photos / "b")]
    (tmp_path / "in/0.png").touch()
    assert _inputs.find_inputs([str(tmp_path / "in")]).deeper == [first.split(", ")[0], *places[:2]]


def test_a_place_on_the_earth_is_not_lost_silently(weights, tmp_path, monkeypatch):
    place = {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 500_000, 0, -10, 5_400_000)}
    size = {"height": 20, "width": 30, "count": 3}
    with rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", dtype="uint8", **size, **place) as file:
        file.write(np.full((3, 20, 30), 9, "uint8"))
    Image.new("RGB", (30, 20)).save(tmp_path / "b.png")
    told = ("--weights", weights, "-o", tmp_path / "out", "--format", "geojson")
    text = refused("predict", tmp_path / "b.png", *told, "--crs", "source")
    assert "--crs source is for georeferenced images, and none of the images is: leave it out" in text
    done = kseg_command("predict", tmp_path / "*.*", *told, "--crs", "EPSG:3857")
    assert "the polygons of 1 georeferenced image (EPSG:32633) are in EPSG:3857" in done.stdout
    assert "; those of the other image are in pixels\n" in done.stdout
    done = kseg_command("predict", "-", *told, stdin=(tmp_path / "a.tif").read_bytes())
    doubt = "the georeference is ignored: give the name of the file instead of -"
    assert done.exit_code == 0 and done.stderr == f"warning: standard input: {doubt}\n"
    monkeypatch.setitem(sys.modules, "rasterio", None)
    done = kseg_command("predict", tmp_path / "*.*", *told)
    doubt = "the georeference is ignored, because rasterio is not installed: pip install 'kseg[geo]'"
    assert done.exit_code == 0 and done.stderr.startswith(f"warning: {tmp_path / 'a.tif'}: {doubt}\n")
    assert "pip install 'kseg[geo]'" in refused("predict", tmp_path / "a.tif", *told, "--crs", "source")


def test_standard_input_is_an_image(weights, photos, tmp_path):
    pixels = (photos / "a/1.png").read_bytes()
    done = kseg_command("predict", "-", "--weights", weights, "-o", tmp_path, stdin=pixels)
    assert done.exit_code == 0, done.output
    wanted = inference.Predictor(zoo.load(weights))(photos / "a/1.png")
    np.testing.assert_array_equal(mask(tmp_path / "masks/stdin.png"), wanted)
    broken = refused("predict", "-", "--weights", weights, "-o", tmp_path, stdin=b"")
    assert broken == "error: standard input: not an image that can be read\n"


def test_broken_files_are_listed_at_the_end_and_do_not_stop_the_others(weights, photos, tmp_path):
    done = kseg_command("predict", photos / "broken.png", photos / "a", "--weights", weights, "-o", tmp_path)
    assert done.exit_code == 1
    assert done.stdout.startswith("1 of 2 labeled in ")
    assert done.stderr == f"error: {photos / 'broken.png'}: not an image that can be read\n"
    assert (tmp_path / "masks/1.png").is_file()
    assert len((tmp_path / "areas.csv").read_text().splitlines()) == 4


def test_options_reach_the_predictor(weights, photos, tmp_path, monkeypatch):
    seen = []

    class Recorded(inference.Predictor):
        def __init__(self, model, **options):
            options.pop("pixels", None)
            seen.append(options)
            super().__init__(model)

        def many(self, sources, **options):
            seen.append(options)
            return super().many(sources)

    monkeypatch.setattr(inference, "Predictor", Recorded)
    kseg_command("predict", photos / "a", "--weights", weights, "-o", tmp_path)
    assert seen == [{"tile": 1024, "crf": False, "engine": "keras"}, {"batch_size": 1, "progress": False}]
    seen.clear()
    options = ("--tta", "--crf", "--tile", 0, "--batch-size", 5, "--engine", "onnxruntime")
    kseg_command("predict", photos / "b", "--weights", weights, "-o", tmp_path, *options)
    chosen = {"tile": 0, "crf": True, "engine": "onnxruntime", "flip": True, "scales": (0.75, 1.0, 1.25)}
    assert seen == [chosen, {"batch_size": 5, "progress": True}]
    monkeypatch.setattr(training, "evaluate", lambda model, dataset, **more: seen.append((model, more["batch_size"])))
    for given, wanted in ((options, (chosen, 5)), ((), ({"tile": None, "crf": False, "engine": "keras"}, 8))):
        seen.clear()
        done = kseg_command("evaluate", weights, "--data", "streets", *given)
        assert done.exit_code == 0, done.output
        assert isinstance(seen[1][0], Recorded) and (seen[0], seen[1][1]) == wanted
    predict = ("predict", photos / "a", "--weights", weights, "-o", tmp_path)
    for command in (predict, ("evaluate", weights, "--data", "streets")):
        seen.clear()
        kseg_command(*command, "--resize", "processor")
        assert seen[0] == {"tile": None, "crf": False, "engine": "keras", "resize": "processor"}
    seen.clear()
    monkeypatch.setattr(prediction, "MANY_PIXELS", 2)  # from which `auto` is left to the predictor
    kseg_command("predict", photos / "b", "--weights", weights, "-o", tmp_path)
    assert seen[0]["engine"] == "auto"
    seen.clear()
    monkeypatch.setattr(calibration, "COUNT", 1)
    kseg_command("predict", photos / "a", "--weights", weights, "-o", tmp_path, "--int8", photos / "b")
    int8 = {"engine": "openvino", "precision": "int8", "calibration": inference.list_images(photos / "b")[:1]}
    assert seen[0] == {"tile": 1024, "crf": False} | int8
    monkeypatch.undo()
    text = refused("evaluate", weights, "--data", "streets", "--int8", photos / "b")
    assert text == "error: --int8 needs --engine openvino, got keras\n"
    text = refused("predict", photos / "b", "--weights", weights, "-o", tmp_path, "--engine", "tensorrt")
    assert text == "error: engine must be one of keras, openvino, onnxruntime, auto, got 'tensorrt'\n"


def test_evaluate_scores_the_labels_of_a_predictor_with_the_same_options(save, monkeypatch):
    streets = data.load("streets", "val", count=2, size=(70, 90))
    monkeypatch.setattr(data, "load", lambda *_, **__: streets)
    weights = save(8, streets.classes)
    done = kseg_command("evaluate", weights, "--data", "streets", "--tta", "--crf", "--tile", 0)
    assert done.exit_code == 0, done.output
    predictor = inference.Predictor(zoo.load(weights), flip=True, scales=(0.75, 1, 1.25), crf=True, tile=0)
    matrix = sum(metrics.confusion_matrix(label, predictor(image), 8) for image, label in streets)
    assert re.search(r"miou +│ +(\S+)", done.stdout)[1] == f"{metrics.scores(matrix)['miou']:.4f}"


def test_the_values_of_black_and_white_masks_in_rgb_replace_the_colors_of_the_model(save, tmp_path):
    mask = np.zeros((40, 44, 3), "uint8")
    mask[:20] = 255
    folders.write_pair(tmp_path / "own", "0", mask, "images/test", "masks/test")
    weights = save(1, ["soil", "leaf"], visualize.default_palette(2))
    done = kseg_command("evaluate", weights, "--data", tmp_path / "own", "--values", "0,255")
    assert done.exit_code == 0, done.output
    assert "IoU leaf" in done.output


def test_weights_without_names_get_numbers_and_the_default_palette(save, photos, tmp_path):
    done = kseg_command("predict", photos / "a", "--weights", save(1), "-o", tmp_path)
    assert done.exit_code == 0, done.output
    rows = table(tmp_path)
    assert [row["class"] for row in rows] == ["class 0", "class 1"]
    with Image.open(tmp_path / "masks/1.png") as picture:
        assert tuple(picture.getpalette()[3:6]) == visualize.default_palette(2)[1]


def test_mistakes_are_one_line(weights, photos, tmp_path, monkeypatch):
    told = ("--weights", weights, "-o", tmp_path / "out")
    assert "no images at" in refused("predict", photos / "*.bmp", *told)
    assert "--format takes png, tif, npy, geojson, coco, parquet, got 'bmp'" in refused(
        "predict", photos, *told, "--format", "bmp"
    )
    assert "tile must be a multiple of 32, got 100" in refused("predict", photos, *told, "--tile", "100")
    assert "leave out tile= (--tile)" in refused("predict", photos, *told, "--tile", 32, "--resize", "processor")
    assert "does not store how a processor resizes" in refused("predict", photos, *told, "--resize", "processor")
    assert "no weight file at" in refused("predict", photos / "a", "--weights", "nowhere.safetensors")
    assert "--simplify is for polygons: add --format geojson" in refused("predict", photos, *told, "--simplify", 1)
    for size in ("um", "0", "-1um", "1.2.3"):
        assert f"got {size!r}" in refused("predict", photos, *told, f"--pixel-size={size}")
    assert "name a folder with -o" in refused("predict", photos, *told[:2], "-o", photos / "a/1.png")
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert "pip install 'kseg[train]'" in refused("predict", photos / "a", *told, "--format", "geojson")
    assert not (tmp_path / "out").exists()


def test_an_image_too_large_for_the_crf_is_named(weights, photos, tmp_path, monkeypatch):
    channels = zoo.load(weights).output_shape[-1]
    monkeypatch.setattr("kseg.inference.refinement.CRF_BYTES", 41 * 30 * (450 + 25 * channels) - 1)
    done = kseg_command("predict", photos / "b/2.jpg", "--weights", weights, "-o", tmp_path, "--crf", "--tile", "32")
    assert done.exit_code == 1
    assert done.stderr.startswith(f"error: {photos / 'b/2.jpg'}: the CRF takes at most 1,229 pixels of")


def test_a_full_disk_leaves_no_partial_file(weights, photos, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    told = refused("predict", photos / "a", "--weights", weights, "-o", tmp_path)
    assert "the disk is full: " in told and "areas.csv" in told
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_released_weights_label_a_street_without_a_network(tmp_path, monkeypatch):
    def offline(*arguments, **options):
        raise AssertionError("there is no network")

    monkeypatch.setattr("urllib.request.urlopen", offline)
    monkeypatch.setattr("socket.create_connection", offline)
    monkeypatch.delenv("KSEG_WEIGHTS_URL", raising=False)
    monkeypatch.setenv("KSEG_HOME", str(tmp_path / "home"))
    image, _ = data.load("streets", "test", count=1, size=(96, 128))[0]
    Image.fromarray(image).save(tmp_path / "photo.jpg")
    name = "unet-efficientnet_lite0-camvid"
    done = kseg_command("predict", tmp_path / "photo.jpg", "--weights", name, "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    label = mask(tmp_path / "out/masks/photo.png")
    road = pretrained.RELEASES[name].classes.index("road")
    assert label.shape == (96, 128) and (label[-8:] == road).mean() > 0.9 and (label[:8] != road).all()
    assert sum(float(row["share"]) for row in table(tmp_path / "out")) == pytest.approx(1, abs=0.01)
    assert (tmp_path / "out/overlays/photo.jpg").is_file() and not (tmp_path / "home").exists()


def test_files_of_the_user_in_the_places_of_results_are_kept(weights, photos, tmp_path):
    """A data set's folder as the folder of results: its masks have the names of the predicted ones."""
    for place in ("masks/1.png", "coco.json", "areas.csv"):
        out = tmp_path / place.replace("/", "-")
        (out / place).parent.mkdir(parents=True)
        (out / place).write_text("precious")
        text = refused("predict", photos / "b", "--weights", weights, "-o", out, "--format", "png,coco")
        assert f"{out / place} was not written by kseg predict: name another folder with -o" in text
        assert (out / place).read_text() == "precious"
    out = tmp_path / "masks-1.png"
    for options, code in ((("--format", "npy", "--no-overlay"), 0), ((), 1), (("--format", "npy"), 0)):
        done = kseg_command("predict", photos / "b", "--weights", weights, "-o", out, *options)
        assert done.exit_code == code and (out / "masks/1.png").read_text() == "precious"
        assert (f"{out / 'masks/1.png'} is no result that .kseg-results lists: name" in done.stderr) == bool(code)
    formats = [
        kind(["a", "b"], [(0, 0, 0), (9, 9, 9)]) for kind in (inference.FORMATS["png"], *inference.ALWAYS_WRITTEN)
    ]
    killed = Results(tmp_path / "killed", formats).__enter__()
    killed.add("1", "1.png", np.zeros((3, 4, 3), "uint8"), np.zeros((3, 4), "uint8"))
    with pytest.raises(ValueError, match="another kseg predict writes to"):
        Results(tmp_path / "killed", formats).__enter__()
    (tmp_path / "blocked" / ".kseg.lock").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"cannot write to .*blocked \(Is a directory\): name another folder"):
        Results(tmp_path / "blocked", formats).__enter__()
    for file in killed.collected.values():
        file.close()
    killed._lock.close()
    with Results(tmp_path / "killed", formats):  # without an error
        pass
    with pytest.raises(KeyError), Results(tmp_path / "stopped", formats):
        raise KeyError
    assert [path for path in (tmp_path / "stopped").rglob("*") if path.is_file()] == []
    for _ in range(2):  # results may be written again
        assert kseg_command("predict", photos / "b", "--weights", weights, "-o", tmp_path / "new").exit_code == 0
