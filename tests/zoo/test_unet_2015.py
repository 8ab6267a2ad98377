"""The network of the U-Net paper."""

import numpy as np
import pytest

from kseg import zoo

pytestmark = pytest.mark.usefixtures("numpy_initializers")

SMALL = {"filters": (2, 4, 4, 8, 8)}


def test_sizes_equal_those_in_the_figure_of_the_paper():
    model = zoo.unet_2015(2, input_shape=(572, 572, 1), **SMALL)
    assert model.output_shape == (None, 388, 388, 2)
    before = [model.get_layer("encoder").get_layer(f"conv{level}_2").output.shape[1] for level in (1, 2, 3, 4, 5)]
    assert before == [568, 280, 136, 64, 28]
    assert [model.get_layer(f"crop{level}").output.shape[1] for level in (1, 2, 3, 4)] == [392, 200, 104, 56]


def test_sizes_may_be_unknown_until_the_model_is_called():
    assert zoo.unet_2015(2, **SMALL).predict_on_batch(np.zeros((1, 188, 204, 1), "uint8")).shape == (1, 4, 20, 2)


@pytest.mark.parametrize(("side", "near"), [(100, "188 or 204"), (512, "508 or 524"), (573, "572 or 588")])
def test_the_error_for_an_invalid_size_names_the_nearest_valid_sizes(side, near):
    with pytest.raises(ValueError, match=f"a side of {side} pixels: use {near}, or padding"):
        zoo.unet_2015(2, input_shape=(572, side, 1))
    with pytest.raises(ValueError, match=f"a side of {side} pixels: use {near}, or padding"):
        zoo.unet_2015(2, **SMALL).predict_on_batch(np.zeros((1, 188, side, 1), "uint8"))


def test_valid_logits_are_the_inner_part_of_any_larger_tile():
    """Without padding, logits depend on pixels of the tile only: the overlap-tile strategy of the paper."""
    model = zoo.unet_2015(2, **SMALL)
    image = np.random.default_rng(0).integers(0, 256, (1, 220, 220, 1)).astype("uint8")
    whole = model.predict_on_batch(image)
    tile = model.predict_on_batch(image[:, 16:204, 32:220])
    np.testing.assert_allclose(tile, whole[:, 16:20, 32:36], atol=1e-5)


@pytest.mark.parametrize("up", ["transposed", "bilinear"])
def test_same_padding_takes_any_size(up):
    model = zoo.unet_2015(3, padding="same", up=up, **SMALL)
    assert model.predict_on_batch(np.zeros((1, 45, 61, 1), "uint8")).shape == (1, 45, 61, 3)
