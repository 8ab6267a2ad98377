import keras
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from kseg.layers import BedOfNailsUnpooling2D, MaxPoolingWithArgmax2D, MaxUnpooling2D, NearestUnpooling2D
from tests.layers.tracing import at_unknown_size, gradient

SIZES = [(4, 6), (5, 7)]


def flat(x):
    return keras.ops.convert_to_numpy(x)[0, :, :, 0].astype(int).tolist()


def image(height, width, ties=False):
    rng = np.random.default_rng(height * 10 + width)
    x = rng.integers(-2, 2, (2, height, width, 3)) if ties else rng.normal(size=(2, height, width, 3)) - 1
    return x.astype("float32")


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_nearest_and_bed_of_nails_unpooling_by_any_factor(factor):
    x = image(2, 3)
    ones = np.ones((1, factor, factor, 1), "float32")
    corner = np.zeros_like(ones)
    corner[:, 0, 0] = 1
    for layer, pattern in ((NearestUnpooling2D(factor), ones), (BedOfNailsUnpooling2D(factor), corner)):
        np.testing.assert_array_equal(at_unknown_size(layer, x), np.kron(x, pattern))
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer(x)), np.kron(x, pattern))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("padding", ["floor", "ceil"])
@pytest.mark.parametrize("pool", [2, 3])
@pytest.mark.parametrize("ties", [False, True])
def test_values_positions_and_gradients_equal_pytorch(pool, padding, size, ties):
    x = image(*size, ties=ties)
    weight = np.random.default_rng(4).normal(size=x.shape).astype("float32")
    leaf = torch.tensor(x, requires_grad=True)
    values, index = F.max_pool2d(leaf.movedim(-1, 1), pool, ceil_mode=padding == "ceil", return_indices=True)
    restored = F.max_unpool2d(values, index, pool, output_size=size).movedim(1, -1)
    (restored * torch.tensor(weight)).sum().backward()
    row, column = index // size[1], index % size[1]
    truth = [t.detach().movedim(1, -1).numpy() for t in (values, row % pool * pool + column % pool)]
    layer, unpooling = MaxPoolingWithArgmax2D(pool, padding), MaxUnpooling2D(pool)

    def round_trip(x, weight):
        return keras.ops.multiply(unpooling(*layer(x), like=x), weight)

    for result in (layer(x), at_unknown_size(layer, x)):
        for got, wanted in zip(result, truth, strict=True):
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(got), wanted)
    for got in (round_trip(x, np.ones_like(x)), at_unknown_size(round_trip, x, np.ones_like(x))):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(got), restored.detach().numpy())
    np.testing.assert_allclose(gradient(round_trip, x, weight), leaf.grad.numpy(), atol=1e-6)


def test_a_window_of_minus_infinity_has_its_maximum_inside_the_image():
    # Padding must not win over a real value, however low.
    pooled, argmax = MaxPoolingWithArgmax2D(2, "ceil")(np.full((1, 3, 3, 1), -np.inf, "float32"))
    assert flat(argmax) == [[0, 0], [0, 0]]
    assert np.isneginf(keras.ops.convert_to_numpy(pooled)).all()


def test_integers_are_pooled():
    x = np.array([[-3, -2, -5]], "int32")[None, :, :, None]
    pooled, argmax = MaxPoolingWithArgmax2D(2, "ceil")(x)
    assert flat(pooled) == [[-2, -5]]
    assert flat(argmax) == [[1, 0]]


def test_unknown_sizes_stay_unknown_in_the_symbolic_shape():
    x = keras.Input((None, 7, 3))
    pooled, argmax = MaxPoolingWithArgmax2D(padding="ceil")(x)
    assert pooled.shape == argmax.shape == (None, None, 4, 3)
    assert argmax.dtype == "int32"
    assert MaxUnpooling2D()(pooled, argmax).shape == (None, None, 8, 3)
    assert MaxUnpooling2D()(pooled, argmax, like=x).shape == (None, None, 7, 3)
    assert NearestUnpooling2D(3)(x).shape == BedOfNailsUnpooling2D(3)(x).shape == (None, None, 21, 3)


def test_unpooling_to_a_size_that_does_not_fit_is_refused():
    pooled, argmax = MaxPoolingWithArgmax2D()(image(4, 6))
    with pytest.raises(ValueError, match="pass the tensor that was pooled"):
        MaxUnpooling2D()(pooled, argmax, like=image(9, 6))


@pytest.mark.parametrize("layer", [NearestUnpooling2D, BedOfNailsUnpooling2D, MaxPoolingWithArgmax2D, MaxUnpooling2D])
@pytest.mark.parametrize("value", [0, -2, 1.5])
def test_a_window_size_must_be_a_positive_integer(layer, value):
    with pytest.raises(ValueError, match="positive integer"):
        layer(value)


def test_an_image_smaller_than_the_window_is_refused_unless_padding_is_ceil():
    with pytest.raises(ValueError, match="does not fit into 1 pixels"):
        MaxPoolingWithArgmax2D()(image(1, 4))
    assert MaxPoolingWithArgmax2D(padding="ceil")(image(1, 4))[0].shape[1] == 1


def test_an_unknown_padding_is_refused():
    with pytest.raises(ValueError, match="floor"):
        MaxPoolingWithArgmax2D(padding="same")
