"""Every format, written from a tiny network and read by its runtime and by `Predictor`."""

import contextlib
import errno
import json
import pathlib

import keras
import numpy as np
import pytest

from kseg import data, export, layers, zoo
from kseg.engines import exported, runtimes
from kseg.export.agreement import Report, check_agreement, street_images
from kseg.inference import Predictor
from kseg.visualize import default_palette
from tests.export import brightness
from tests.zoo.cheap import encoder_to

pytestmark = pytest.mark.usefixtures("numpy_initializers")

BACKEND = keras.backend.backend()
NAMES = {"openvino": "m.xml", "onnx": "m.onnx", "litert": "m.tflite", "saved_model": "m", "torch": "m.pt2"}
TAKES = [name for name, each in export.FORMATS.items() if BACKEND in each.backends]
CLASSES = ('"sky"', "Straße", "a <b> & 'c'")


@pytest.fixture(scope="module")
def model(numpy_initializers):
    model = zoo.unet(3, filters=(8, 8, 4), **encoder_to(8))
    rng = np.random.default_rng(0)
    for weight in model.weights:  # so that the classes are not nearly equal
        if len(weight.shape) == 1:
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    model.classes, model.palette = CLASSES, ((0, 0, 0), (255, 0, 0), (0, 0, 255))
    model.pixels = {"range": [0, 4095]}
    return model


def photo(*size):
    return np.random.default_rng(1).integers(0, 256, (*size, 3)).astype("uint8")


def labels(model, image):
    return model.predict_on_batch(image[None].astype("float32"))[0].argmax(-1)


def refused(format, model, tmp_path):
    """Whether the backend's models cannot be converted, which must be refused with the cure."""
    if format in TAKES:
        return False
    with pytest.raises(ValueError, match=f"{format} takes no models of the backend {BACKEND}: set KERAS_BACKEND="):
        export.export(model, tmp_path / NAMES[format], format=format, size=(40, 56))
    return not list(tmp_path.iterdir())


@pytest.mark.parametrize("format", NAMES)
def test_a_written_file_describes_itself_and_gives_the_models_labels(format, model, tmp_path):
    if refused(format, model, tmp_path):
        return
    path = tmp_path / "new" / NAMES[format]
    any_size = BACKEND in export.FORMATS[format].any_size
    report = export.export(model, path, format=format, size=None if any_size else (40, 56))
    assert report.path == path and report.labels >= 0.999
    beside = path.with_name(path.name + ".json")
    names = {path.name, beside.name} | ({"m.bin"} if format == "openvino" else set())
    assert {each.name for each in path.parent.iterdir()} == names
    beside.unlink()  # the file has it inside
    predictor = Predictor(exported.Exported(path, trusted=True))
    assert predictor.model.classes == CLASSES and predictor.model.palette == model.palette
    assert predictor.pixels.range == (0, 4095) and predictor.from_logits
    assert predictor.model.description["builder"] == "unet"
    for size in ((40, 56), (33, 50)):  # a model of fixed size gets smaller images padded
        found = predictor(photo(*size).astype("float32"))
        assert found.shape == size and found.dtype == "uint8"
        if any_size or size == (40, 56):
            assert (found == labels(model, photo(*size))).mean() >= 0.999
    p = predictor.probabilities(photo(40, 56).astype("float32"))
    np.testing.assert_allclose(p, Predictor(model).probabilities(photo(40, 56).astype("float32")), atol=1e-4)


@pytest.mark.parametrize("format", NAMES)
def test_labels_at_a_fixed_size_and_weights_in_half_precision(format, tmp_path):
    model = brightness.network()
    if refused(format, model, tmp_path):
        return
    half = "float16" in export.FORMATS[format].precisions and BACKEND == "tensorflow"
    path = tmp_path / NAMES[format]
    options = {"format": format, "size": (40, 56), "output": "labels", "precision": "float16" if half else "float32"}
    assert export.export(model, path, **options).labels >= 0.999
    predictor = Predictor(exported.Exported(path, trusted=True))
    image = photo(40, 56).astype("float32")
    assert predictor.model.run(image[None]).dtype == "uint8"
    assert (predictor(image) == brightness.is_light(image)).mean() >= 0.99
    with pytest.raises(ValueError, match=r"gives labels only, no probabilities: export the model without --labels"):
        predictor.probabilities(image)
    with pytest.raises(ValueError, match=r"takes images of 40x56 pixels, got 41x56: shrink the image, or export the "):
        predictor(photo(41, 56))


@pytest.mark.parametrize("format", NAMES)
def test_probabilities_end_the_graph(format, tmp_path):
    model = brightness.network()
    if refused(format, model, tmp_path):
        return
    options = {"format": format, "size": (40, 56), "output": "probabilities"}
    assert export.export(model, tmp_path / NAMES[format], **options).labels >= 0.999
    found = exported.Exported(tmp_path / NAMES[format], trusted=True).run(photo(40, 56)[None])
    np.testing.assert_allclose(found[0], Predictor(model).probabilities(photo(40, 56)), atol=1e-4)
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)


@pytest.mark.parametrize("format", ["openvino", "onnx", "litert"])
def test_half_precision_halves_the_file(format, tmp_path):
    image = keras.Input((16, 16, 3))
    model = keras.Model(image, keras.layers.Conv2D(2, 1)(keras.layers.Conv2D(512, 3, padding="same")(image / 255)))
    if BACKEND != "tensorflow":
        return
    sizes = []
    for precision in ("float32", "float16"):
        path = tmp_path / precision / NAMES[format]
        export.export(model, path, format=format, precision=precision)
        sizes.append(path.with_suffix(".bin" if format == "openvino" else path.suffix).stat().st_size)
    assert 0.4 < sizes[1] / sizes[0] < 0.65


@pytest.mark.parametrize("format", NAMES)
def test_unpooling_and_attention_are_in_every_format(format, numpy_initializers, tmp_path, monkeypatch):
    image = keras.Input((None, None, 3))
    pooled, argmax = layers.MaxPoolingWithArgmax2D(padding="ceil")(image)
    x = layers.MaxUnpooling2D()(keras.layers.Conv2D(3, 3, padding="same")(pooled), argmax, like=image)
    x = keras.layers.Activation(layers.exact_gelu)(keras.layers.Rescaling(0.01)(x))
    x = keras.layers.AveragePooling2D(4, padding="same")(x)  # attention between all pixels would take gigabytes
    x = x + layers.SpatialReductionAttention(3, reduction=2)(x)  # its dense layers have biases of zero,
    x = x + layers.SpatialReductionAttention(1)(x)  # which converters leave out
    for shift in (0, 2):
        windows = layers.WindowAttention(3, window=5, shift=shift, always_shift=False)
        x = x + windows(x)
        windows.position_bias.assign(np.random.default_rng(shift).normal(size=(81, 3)))
    grid = layers.FitGrid(2)(x)
    x = layers.Resize()(grid + layers.GridAttention(3)(grid), like=x)
    x = layers.Resize()(layers.SpaceToDepth()(x), like=image)
    model = keras.Model(image, x)
    if refused(format, model, tmp_path):
        return
    size = None if BACKEND in export.FORMATS[format].any_size else (33, 41)
    export.export(model, tmp_path / NAMES[format], format=format, size=size)
    found = exported.Exported(tmp_path / NAMES[format], trusted=True).scores(photo(33, 41)[None])
    expected = model.predict_on_batch(photo(33, 41)[None].astype("float32"))
    np.testing.assert_allclose(found, expected, atol=1e-3)
    file = exported.Exported(tmp_path / NAMES[format], trusted=True)
    for rows, equal in ((2, True), (33, False)):  # where two values are nearly equal, another position may be chosen
        expected[:, :rows] += 0.01 * np.abs(expected).max()
        monkeypatch.setattr(model, "predict_on_batch", lambda images: expected)
        with contextlib.nullcontext() if equal else pytest.raises(RuntimeError, match="they differ by"):
            check_agreement(file, model, [photo(33, 41)], "float32")


@pytest.mark.parametrize("format", ["openvino", "onnx", "litert"])
def test_int8_is_scored_on_images_held_out_from_the_calibration(format, model, tmp_path):
    if BACKEND != "tensorflow":
        with pytest.raises(ValueError, match="set KERAS_BACKEND=tensorflow"):
            export.export(model, tmp_path / NAMES[format], format=format, precision="int8", calibration=[photo(8, 8)])
        return
    streets = data.load("streets", "val", count=8, size=(40, 56))
    images = [streets[index][0].astype("float32") for index in range(8)]  # values that `range` does not scale
    options = {"format": format, "precision": "int8", "output": "probabilities"}  # for any size
    report = export.export(model, tmp_path / NAMES[format], calibration=images, **options)
    assert 0.5 < report.miou <= 1 and report.labels > 0.8 and np.isnan(report.keras_miou)
    found = Predictor(tmp_path / NAMES[format])
    for image in (images[0], images[0][:33, :50]):
        np.testing.assert_allclose(found.probabilities(image).sum(-1), 1, atol=0.02)  # LiteRT: 8 bits
        assert (found(image) == labels(model, image)).mean() > 0.8
    with pytest.raises(ValueError, match="int8 needs 4 images or more"):
        export.export(model, tmp_path / NAMES[format], calibration=images[:3], **options)


def test_images_for_int8_are_padded_to_what_the_model_takes(tmp_path):
    image = keras.Input((None, None, 3))
    half = keras.layers.UpSampling2D(2)(keras.layers.MaxPooling2D(2)(image))
    model = keras.Model(image, keras.layers.Conv2D(2, 1)(keras.layers.Concatenate()([image, half])))
    images = [photo(31, 45) for _ in range(4)]
    if BACKEND != "tensorflow":
        with pytest.raises(ValueError, match="set KERAS_BACKEND=tensorflow"):
            Predictor(model, engine="auto", precision="int8", calibration=images)
        return
    expected = Predictor(model)(images[0])
    int8 = Predictor(model, engine="openvino", precision="int8", calibration=images)
    assert (int8(images[0]) == expected).mean() > 0.9
    report = export.export(model, tmp_path / "m.xml", format="openvino", precision="int8", calibration=images)
    assert report.labels > 0.9 and (Predictor(report.path)(images[0]) == expected).mean() > 0.9


def test_a_warning_says_that_int8_loses_much():
    report = Report(pathlib.Path("m.onnx"), 0.7, miou=0.55, keras_miou=0.6)
    assert report.warning == ""
    assert "the mIoU of m.onnx is 0.5300, that of the Keras model 0.6000" in report._replace(miou=0.53).warning


def test_with_a_data_set_int8_is_scored_against_its_labels(tmp_path):
    streets = data.load("streets", "val", count=8, size=(40, 56))
    if BACKEND != "tensorflow":
        return
    options = {"format": "onnx", "precision": "int8", "calibration": streets}
    with pytest.raises(ValueError, match=r"streets needs a model with num_classes=8, .* has 2: calibrate with"):
        export.export(brightness.network(), tmp_path / "m.onnx", **options)
    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.Conv2D(8, 1)(image))
    report = export.export(model, tmp_path / "m.onnx", **options)
    assert 0 < report.keras_miou < 0.5 and abs(report.miou - report.keras_miou) < 0.05


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), OSError, "No space left"),
        (ImportError("No module named 'flatbuffers'"), ImportError, "No module named"),
        (RuntimeError("RESOURCE_EXHAUSTED: OOM"), MemoryError, r"memory ran out while .* was converted to \w+: RES"),
        (RuntimeError("\nno such operation"), ValueError, r"\w+ cannot hold \w+: no such operation"),
    ],
)
def test_only_what_the_format_cannot_hold_is_called_so(error, kind, message, model, tmp_path, monkeypatch):
    format = TAKES[0] if TAKES else "onnx"
    if refused(format, model, tmp_path):
        return

    def write(task, path):
        raise error

    monkeypatch.setattr(f"kseg.export._{format}.write", write)
    with pytest.raises(kind, match=message):
        export.export(model, tmp_path / NAMES[format], format=format, size=(40, 56))
    assert not list(tmp_path.iterdir())


def test_a_model_without_names_and_colors_gets_those_of_kseg_predict(tmp_path):
    image = keras.Input((8, 8, 3))
    if BACKEND != "tensorflow":
        return
    model = keras.Model(image, keras.layers.Conv2D(1, 1)(image))
    path = export.export(model, tmp_path / "m.onnx", format="onnx").path
    description = json.loads(path.with_name("m.onnx.json").read_text())
    assert description["classes"] == ["class 0", "class 1"]
    assert description["palette"] == [list(color) for color in default_palette(2)]
    assert exported.Exported(path).classes == ()  # so that it is scored on any data set


def test_a_file_that_disagrees_is_not_kept(model, tmp_path, monkeypatch):
    if refused("openvino", model, tmp_path):
        return
    format = "onnx" if BACKEND == "tensorflow" else "openvino"
    predict = model.predict_on_batch
    monkeypatch.setattr(model, "predict_on_batch", lambda images: predict(images) + 1)
    with pytest.raises(RuntimeError, match=r"m\.\w+ gives other logits than unet: they differ by \d"):
        export.export(model, tmp_path / NAMES[format], format=format, size=(40, 56))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"format": "tensorrt"}, "format must be one of openvino, onnx, litert, saved_model, torch, got 'tensorrt'"),
        ({"output": "ids"}, "output must be one of scores, probabilities, labels, got 'ids'"),
        (
            {"format": "torch", "precision": "int8"},
            "torch takes the precision float32, got 'int8': use openvino, ",
        ),
        ({"backend": "jax"}, "onnx takes no models of the backend jax: set KERAS_BACKEND=tensorflow"),
        ({"precision": "int8"}, "int8 needs typical images, which set the ranges of the integers: add calibration="),
        ({"calibration": "photos"}, "calibration= is for int8, got float32: leave it out, or add precision=int8"),
        ({"path": "m.pb"}, r"must end in \.onnx, got m\.pb: use m\.onnx"),
        ({"format": "saved_model", "path": "m.pb"}, "a SavedModel is a folder: give path= .*, such as m"),
        ({"path": "."}, "is no name of a file: give path= a name, such as model.onnx"),
        ({"format": "torch", "path": "m.pt2", "backend": "torch"}, "needs the size of the images"),
        ({"size": (0, 8)}, r"height and the width of the images, got \(0, 8\)"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_converted(changed, message):
    options = {"format": "onnx", "path": "m.onnx", "backend": "tensorflow"} | changed
    with pytest.raises(ValueError, match=message):
        export.check_options(**options)


def test_what_exists_is_not_replaced_by_a_folder(tmp_path):
    (tmp_path / "m").touch()
    (tmp_path / "m.onnx").mkdir()
    for format, name in (("saved_model", "m"), ("onnx", "m.onnx")):
        with pytest.raises(FileExistsError, match=rf"{name} exists: choose another name \(path=\)"):
            export.check_options(format, tmp_path / name, backend="tensorflow")


@pytest.mark.parametrize("beside", ["m.bin", "m.xml.json"])
def test_what_others_wrote_is_not_replaced_by_what_belongs_beside_the_file(beside, tmp_path):
    (tmp_path / beside).touch()
    with pytest.raises(FileExistsError, match=rf"{beside} exists, and m\.xml would replace it: choose another name"):
        export.check_options("openvino", tmp_path / "m.xml", backend="tensorflow")
    (tmp_path / "m.xml").touch()  # an earlier export, which is replaced
    export.check_options("openvino", tmp_path / "m.xml", backend="tensorflow")


def test_a_litert_file_of_any_size_survives_a_size_that_it_cannot_take(tmp_path):
    image = keras.Input((None, None, 3))
    half = keras.layers.UpSampling2D(2)(keras.layers.MaxPooling2D(2)(image))
    model = keras.Model(image, keras.layers.Conv2D(2, 1)(keras.layers.Concatenate()([image, half])))
    if refused("litert", model, tmp_path):
        return
    file = exported.Exported(export.export(model, tmp_path / "m.tflite", format="litert").path)
    even = np.zeros((1, 8, 8, 3), "float32")
    first = file.run(even)
    with pytest.raises(ValueError, match=r"m\.tflite"):
        file.run(even[:, :7])
    np.testing.assert_array_equal(file.run(even), first)
    np.testing.assert_array_equal(Predictor(file)(photo(7, 5)), Predictor(model)(photo(7, 5)))  # which pad it
    with pytest.raises(ValueError, match=r"heights and widths that are multiples of 2, got 7: round size= up"):
        export.export(model, tmp_path / "odd.tflite", format="litert", size=(8, 7))


def test_the_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr(runtimes.importlib.util, "find_spec", lambda name: None if name == "tf2onnx" else name)
    with pytest.raises(ModuleNotFoundError, match=r"onnx needs tf2onnx, not installed: pip install 'kseg\[export\]'"):
        export.check_options("onnx", "m.onnx", backend="tensorflow")


def test_the_reason_of_an_error_is_its_first_line_that_names_no_source():
    text = (
        "Exception from src/core.cpp:84:\nCheck 'is_ok' failed at src/reader.cpp:14:\nUnable to read the model:\n a.xml"
    )
    assert runtimes.reason(RuntimeError(text)) == "Unable to read the model: a.xml"
    assert runtimes.reason(RuntimeError("\n\nno such operation\nat line 3")) == "no such operation"
    assert runtimes.reason(MemoryError()) == "MemoryError"


def test_files_of_other_origin_are_refused(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"no graph")
    with pytest.raises(ValueError, match=r"m\.onnx cannot be opened by ONNX Runtime: "):
        Predictor(tmp_path / "m.onnx")
    (tmp_path / "m.xml").write_text("<net>")
    with pytest.raises(FileNotFoundError, match=r"no file .*m\.bin, which holds the weights of m\.xml: copy it to"):
        Predictor(tmp_path / "m.xml")
    if BACKEND != "jax":  # which warns of the processes that OpenVINO starts when it is imported
        (tmp_path / "m.bin").touch()
        with pytest.raises(ValueError, match=r"m\.xml cannot be opened by OpenVINO: (?!Exception from)(?!Check ')"):
            Predictor(tmp_path / "m.xml")
    with pytest.raises(ValueError, match=r"https://host/m\.onnx is an exported model: download it"):
        Predictor("https://host/m.onnx")
    with pytest.raises(FileNotFoundError, match=r"there is no file .*absent\.xml"):
        Predictor(tmp_path / "absent.xml")
    with pytest.raises(ValueError, match=r"is no exported model .*: kseg.zoo.load reads weights"):
        exported.Exported("unet-efficientnet_lite0-camvid")
    with pytest.raises(ValueError, match=r"m\.pt2 may run code when PyTorch opens it: export the model to ONNX"):
        Predictor(tmp_path / "m.pt2")


def test_a_file_that_opens_but_cannot_run_is_named(tmp_path):
    path = brightness.write(tmp_path / "m.onnx")
    beside = path.with_name("m.onnx.json")
    beside.write_text(beside.read_text().replace("null, 3]", "null, 4]"))
    with pytest.raises(ValueError, match=r"ONNX Runtime cannot run m\.onnx: .*"):
        Predictor(path)(np.zeros((8, 8, 4), "uint8"))


def test_labels_alone_are_refused_where_probabilities_are_needed(tmp_path):
    path = brightness.write(tmp_path / "m.onnx", labels=True)
    for options, name in (
        ({"flip": True}, r"flip= and scales= \(--tta\)"),
        ({"scales": (0.5, 1), "crf": True}, r"\(--tta\), crf= \(--crf\)"),
    ):
        with pytest.raises(ValueError, match=rf"m\.onnx gives labels only, .* {name}: leave this out, or export"):
            Predictor(path, **options)
    assert Predictor(path, tile=32)(photo(20, 32)).shape == (20, 32)
    with pytest.raises(ValueError, match=r"leave tiles out \(--tile 0, tile=0\), or export the model without"):
        Predictor(path, tile=32)(photo(40, 40))
    assert Predictor(path, tile=0)(photo(40, 40)).shape == (40, 40)


def test_images_of_the_comparison_have_the_channels_of_the_model():
    image = keras.Input((None, 24, 5))
    model = keras.Model(image, keras.layers.Conv2D(2, 1)(image))
    assert {each.shape for each in street_images(model, None)} == {(128, 24, 5), (96, 24, 5)}
