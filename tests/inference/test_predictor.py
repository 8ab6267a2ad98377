"""Images of every kind, flips and scales, broken files."""

import keras
import numpy as np
import pytest
from PIL import Image

from kseg.inference import Predictor, read_image


def pointwise(classes=3, activation=None):
    keras.utils.set_random_seed(1)
    image = keras.Input((None, None, 3))
    return keras.Model(image, keras.layers.Conv2D(classes, 1, activation=activation)(image / 255))


def photo():
    return np.random.default_rng(0).integers(0, 256, (12, 17, 3)).astype("uint8")


def test_files_images_and_arrays_are_the_same(tmp_path):
    pixels = photo()
    Image.fromarray(pixels).save(tmp_path / "a.png")
    for source in (tmp_path / "a.png", str(tmp_path / "a.png"), Image.fromarray(pixels), pixels):
        np.testing.assert_array_equal(read_image(source), pixels)


def test_every_kind_of_file_is_understood(tmp_path):
    pixels = photo()
    gray = pixels[..., 0]
    path = tmp_path / "a.png"
    Image.fromarray(np.dstack([pixels, gray])).save(path)
    np.testing.assert_array_equal(read_image(path), pixels)
    Image.fromarray(gray).save(path)
    np.testing.assert_array_equal(read_image(path), np.dstack([gray] * 3))
    Image.fromarray(gray.astype("uint16") * 257).save(path)
    np.testing.assert_array_equal(read_image(path), np.dstack([gray] * 3))
    palette = Image.fromarray(gray % 4)
    palette.putpalette([9, 8, 7, 1, 2, 3, 4, 5, 6, 0, 0, 200])
    palette.save(path)
    np.testing.assert_array_equal(read_image(path)[gray % 4 == 3][0], [0, 0, 200])
    Image.new("CMYK", (3, 2), (0, 255, 255, 0)).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[0, 0], [255, 0, 0])


def test_a_turned_photo_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn clockwise
    Image.fromarray(photo()).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.rot90(photo(), -1))


def test_what_is_no_image_is_named(tmp_path):
    (tmp_path / "a.png").write_text("no image")
    for source, error, message in (
        (tmp_path / "a.png", ValueError, "a.png: not an image that can be read"),
        (tmp_path / "b.png", FileNotFoundError, "no image at .*b.png"),
        (np.zeros((2, 2, 7), "uint8"), ValueError, "got uint8 \\(2, 2, 7\\)"),
        (np.zeros((2, 2, 3)), ValueError, "got float64"),
        (Image.new("F", (2, 2)), ValueError, "no known range"),
    ):
        with pytest.raises(error, match=message):
            read_image(source)


def test_labels_are_the_largest_logits_and_one_class_is_cut_at_one_half():
    model = pointwise()
    logits = model.predict_on_batch(photo()[None].astype("float32"))[0]
    np.testing.assert_array_equal(Predictor(model)(photo()), logits.argmax(-1))
    p = Predictor(model).probabilities(photo())
    np.testing.assert_allclose(p, np.exp(logits) / np.exp(logits).sum(-1, keepdims=True), rtol=1e-4)
    binary = pointwise(1)
    logits = binary.predict_on_batch(photo()[None].astype("float32"))[0, ..., 0]
    np.testing.assert_array_equal(Predictor(binary)(photo()), logits > 0)


def test_a_model_that_ends_in_probabilities_is_taken_as_it_is():
    model = pointwise(3, "softmax")
    np.testing.assert_allclose(
        Predictor(model).probabilities(photo()), model.predict_on_batch(photo()[None].astype("float32"))[0], rtol=1e-5
    )


def test_flips_are_undone_before_the_mean():
    """A net of single pixels does not see that it is mirrored; one with a place-dependent answer is averaged."""
    model = pointwise()
    plain, flipped = (Predictor(model, flip=flip).probabilities(photo()) for flip in (False, True))
    np.testing.assert_allclose(flipped, plain, atol=1e-6)
    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 3))
    wide = keras.Model(image, keras.layers.Conv2D(3, (1, 3), padding="same")(image / 255))
    one = Predictor(wide).probabilities(photo())
    other = Predictor(wide).probabilities(photo()[:, ::-1])[:, ::-1]
    np.testing.assert_allclose(Predictor(wide, flip=True).probabilities(photo()), (one + other) / 2, atol=1e-6)


def test_scales_return_to_the_size_of_the_image():
    model = pointwise()
    even = np.full((9, 13, 3), 77, "uint8")
    plain = Predictor(model).probabilities(even)
    np.testing.assert_allclose(Predictor(model, scales=(0.5, 1, 1.5)).probabilities(even), plain, atol=1e-5)


def test_a_broken_file_stops_nothing(tmp_path):
    for name in ("b.png", "c.jpg"):
        Image.fromarray(photo()).save(tmp_path / name)
    (tmp_path / "a.png").write_text("no image")
    (tmp_path / "notes.txt").write_text("no image either")
    found = dict(Predictor(pointwise()).many(tmp_path))
    assert [path.name for path in found] == ["a.png", "b.png", "c.jpg"]
    errors = [path.name for path, label in found.items() if isinstance(label, Exception)]
    assert errors == ["a.png"]
    assert [path.name for path, _ in Predictor(pointwise()).many(str(tmp_path / "*.jpg"))] == ["c.jpg"]
    with pytest.raises(FileNotFoundError, match="no images at"):
        list(Predictor(pointwise()).many(tmp_path / "*.bmp"))
