"""One panel per class."""

import numpy as np
import pytest

from kseg.visualize import borders, class_panels, default_palette, probability_panels
from kseg.visualize.panels import heat
from tests.visualize.test_overlay import blobs

NAMES = ["road", "sky", "car", "tree"]


def count(picture, color):
    """How many pixels have a color, give or take the rounding of mixed ones."""
    return int((np.abs(picture - np.array(color)) <= 1).all(axis=-1).sum())


def test_a_panel_shows_the_pixels_of_its_class_in_its_color():
    mask, palette = blobs((60, 80)), default_palette(4)
    image = np.full((60, 80, 3), 100, "uint8")
    for index, name in enumerate(NAMES):
        picture = class_panels(image, mask, palette, NAMES, only=[name], panel_width=80)
        inside = mask == index
        tinted = [100 + 0.6 * (value - 100) for value in palette[index]]
        assert count(picture, tinted) == (inside & ~borders(inside)).sum() > 0
        assert count(picture, (40, 40, 40)) >= (~inside & ~borders(inside)).sum()  # letters may be as gray


def test_there_are_as_many_panels_as_classes():
    image, mask = np.zeros((20, 20, 3)), np.zeros((20, 20), "uint8")
    one = class_panels(image, mask, default_palette(4), NAMES, only=["car"])
    rows = class_panels(image, mask, default_palette(4), NAMES, columns=2)
    assert rows.shape[0] > 1.9 * one.shape[0]
    assert rows.shape[1] > 1.9 * one.shape[1]
    twice = class_panels(
        image, mask, default_palette(4), ["road", "x", "x", "tree"], columns=2
    )  # two classes of one name
    assert twice.shape == rows.shape


def test_images_of_any_size_give_pictures_of_one_size():
    palette = default_palette(4)
    shapes = []
    for shape in ((20, 30), (2000, 3000)):
        image, mask = np.zeros(shape, "uint8"), np.full(shape, 3)
        shapes.append(class_panels(image, mask, palette, NAMES).shape)
        probabilities = np.zeros((*shape, 1), "float16")
        shapes.append(probability_panels(image, probabilities, ["no", "yes"], columns=1).shape)
    assert shapes[:2] == shapes[2:]


def test_probabilities_are_warm_where_they_are_high():
    probabilities = np.zeros((10, 10, 4))
    probabilities[:, :4, 2] = 1
    probabilities[:, 4:, 0] = 1
    image = np.zeros((10, 10))
    hot = 0.9 * heat(np.ones((1, 1)))[0, 0]
    for name, expected in zip(NAMES, (60, 0, 40, 0), strict=True):
        picture = probability_panels(image, probabilities, NAMES, only=[name], panel_width=10)
        assert count(picture, hot) == expected


def test_one_channel_is_the_second_of_two_classes():
    p = np.random.default_rng(0).random((10, 12, 1))
    image = np.full((10, 12), 50)
    two = np.concatenate([1 - p, p], axis=-1)
    one = probability_panels(image, p, ["no", "yes"])
    assert np.array_equal(one, probability_panels(image, two.astype("float32"), ["no", "yes"]))
    assert not np.array_equal(one, probability_panels(image, 1 - p, ["no", "yes"]))


def test_the_scale_grows_lighter():
    brightness = heat(np.linspace(0, 1, 50)[None]).astype(int) @ [0.299, 0.587, 0.114]
    assert (np.diff(brightness[0]) > 0).all()


def test_inputs_that_do_not_match_are_refused():
    image, mask = np.zeros((4, 4, 3)), np.zeros((4, 4), int)
    with pytest.raises(ValueError, match="only: no class 'bus' among road, sky, car, tree"):
        class_panels(image, mask, default_palette(4), NAMES, only=["bus"])
    with pytest.raises(ValueError, match=r"the image is \(4, 4\) pixels, its mask \(4, 5\)"):
        class_panels(image, np.zeros((4, 5)), default_palette(4), NAMES)
    with pytest.raises(ValueError, match="4 classes need as many colors; the palette has 2"):
        class_panels(image, mask, default_palette(2), NAMES)
    with pytest.raises(ValueError, match="4 classes do not fit probabilities of 1 channels"):
        probability_panels(image, np.zeros((4, 4, 1)), NAMES)
    with pytest.raises(ValueError, match=r"its probabilities have shape \(4, 4\)"):
        probability_panels(image, np.zeros((4, 4)), NAMES)
    with pytest.raises(ValueError, match="probabilities must be from 0 to 1, got -2 to 1: apply softmax to logits"):
        probability_panels(image, np.full((4, 4, 4), -2.0), NAMES)
    with pytest.raises(ValueError, match="got nan to nan"):
        probability_panels(image, np.full((4, 4, 4), np.nan), NAMES)
