import keras
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from kseg.layers import BedOfNailsUnpooling2D, MaxPoolingWithArgmax2D, MaxUnpooling2D, NearestUnpooling2D
from tests.layers.tracing import at_unknown_size, gradient
from tests.reference import pooling as reference

SIZES = [(4, 6), (5, 7)]


def plane(rows):
    return np.array(rows, "float32")[None, :, :, None]


def flat(x):
    return keras.ops.convert_to_numpy(x)[0, :, :, 0].astype(int).tolist()


def image(height, width, ties=False):
    rng = np.random.default_rng(height * 10 + width)
    x = rng.integers(-2, 2, (2, height, width, 3)) if ties else rng.normal(size=(2, height, width, 3)) - 1
    return x.astype("float32")


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_copies_and_nails_take_any_factor(factor):
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
def test_pooling_equals_the_reference(pool, padding, size, ties):
    x = image(*size, ties=ties)
    layer = MaxPoolingWithArgmax2D(pool, padding)
    truth = [np.stack(parts) for parts in zip(*(reference.max_pool(one, pool, padding) for one in x), strict=True)]
    for result in (layer(x), at_unknown_size(layer, x)):
        for got, wanted in zip(result, truth, strict=True):
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(got), wanted)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("padding", ["floor", "ceil"])
@pytest.mark.parametrize("pool", [2, 3])
def test_unpooling_equals_the_reference_at_the_pooled_tensors_size(pool, padding, size):
    like = image(*size)
    _, places = (np.stack(parts) for parts in zip(*(reference.max_pool(x, pool, padding) for x in like), strict=True))
    values = np.random.default_rng(3).normal(size=places.shape).astype("float32")
    truth = np.stack([reference.max_unpool(x, p, pool, *size) for x, p in zip(values, places, strict=True)])
    layer = MaxUnpooling2D(pool)

    def unpool(values, places, like):
        return layer(values, places, like=like)

    np.testing.assert_array_equal(keras.ops.convert_to_numpy(unpool(values, places, like)), truth)
    np.testing.assert_array_equal(at_unknown_size(unpool, values, places, like), truth)


@pytest.mark.parametrize("padding", ["floor", "ceil"])
def test_gradients_equal_those_of_pytorch(padding):
    x = image(5, 7)
    layer = MaxPoolingWithArgmax2D(2, padding)
    weight = np.random.default_rng(4).normal(size=(2, 5, 7, 3)).astype("float32")

    leaf = torch.tensor(x.transpose(0, 3, 1, 2), requires_grad=True)
    values, index = F.max_pool2d(leaf, 2, ceil_mode=padding == "ceil", return_indices=True)
    restored = F.max_unpool2d(values, index, 2, output_size=(5, 7))
    (restored * torch.tensor(weight.transpose(0, 3, 1, 2))).sum().backward()

    def round_trip(x, weight):
        return MaxUnpooling2D()(*layer(x), like=x) * weight

    np.testing.assert_allclose(gradient(round_trip, x, weight), leaf.grad.numpy().transpose(0, 2, 3, 1), atol=1e-6)


def test_the_gradient_of_unpooling_picks_the_places():
    values, argmax = plane([[1, 2], [3, 4]]), plane([[3, 0], [2, 3]]).astype("int32")
    weight = np.arange(16, dtype="float32").reshape(1, 4, 4, 1)
    slope = gradient(lambda v, a, w: MaxUnpooling2D()(v, a) * w, values, argmax, weight)
    assert flat(slope) == [[5, 2], [12, 15]]


def test_among_equals_the_first_alone_receives_the_gradient():
    slope = gradient(lambda x: MaxPoolingWithArgmax2D()(x)[0], plane([[0, 0, 1, 2], [0, 0, 2, 2]]))
    assert flat(slope) == [[1, 0, 0, 1], [0, 0, 0, 0]]


def test_a_window_of_infinite_depth_points_inside_the_image():
    # Padding must not win over a real value, however low.
    pooled, argmax = MaxPoolingWithArgmax2D(2, "ceil")(np.full((1, 3, 3, 1), -np.inf, "float32"))
    assert flat(argmax) == [[0, 0], [0, 0]]
    assert np.isneginf(keras.ops.convert_to_numpy(pooled)).all()


def test_integers_are_pooled_too():
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


def test_unpooling_to_a_size_that_was_never_pooled_is_refused():
    pooled, argmax = MaxPoolingWithArgmax2D()(image(4, 6))
    with pytest.raises(ValueError, match="pass the tensor that was pooled"):
        MaxUnpooling2D()(pooled, argmax, like=image(9, 6))


@pytest.mark.parametrize("layer", [NearestUnpooling2D, BedOfNailsUnpooling2D, MaxPoolingWithArgmax2D, MaxUnpooling2D])
@pytest.mark.parametrize("value", [0, -2, 1.5])
def test_a_window_that_is_no_positive_integer_is_refused(layer, value):
    with pytest.raises(ValueError, match="positive integer"):
        layer(value)


def test_an_image_smaller_than_the_window_is_refused_unless_rounded_up():
    with pytest.raises(ValueError, match="does not fit into 1 pixels"):
        MaxPoolingWithArgmax2D()(image(1, 4))
    assert MaxPoolingWithArgmax2D(padding="ceil")(image(1, 4))[0].shape[1] == 1


def test_an_unknown_padding_is_refused():
    with pytest.raises(ValueError, match="floor"):
        MaxPoolingWithArgmax2D(padding="same")
