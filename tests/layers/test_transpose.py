import warnings

import keras
import numpy as np
import pytest

from kseg.layers import BilinearKernel, TransposeUpsampling2D
from tests.layers.tracing import at_unknown_size, gradient
from tests.reference import resize as reference
from tests.reference.convolution import conv2d


def with_kernel(kernel, factor):
    """A layer whose kernel is (rows, columns, outputs, inputs)."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*checkerboard", category=UserWarning)
        layer = TransposeUpsampling2D(
            kernel.shape[2], factor, kernel_size=kernel.shape[0], kernel_initializer="glorot_uniform"
        )
    layer.build((None, None, None, kernel.shape[3]))
    layer.set_weights([kernel])
    return layer


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


@pytest.mark.parametrize(("size", "factor"), [(2, 2), (3, 2), (4, 2), (6, 3), (5, 4)])
def test_a_transposed_convolution_is_the_transpose_of_the_convolution(size, factor):
    kernel = normal(size, size, 3, 2)  # read by the convolution as from 3 to 2 channels, by its transpose as 2 to 3
    x, y = normal(4 * factor, 5 * factor, 3, seed=1), normal(4, 5, 2, seed=2)
    forth = conv2d(x, kernel, factor)
    back = keras.ops.convert_to_numpy(with_kernel(kernel, factor)(y[None]))[0]
    np.testing.assert_allclose((forth * y).sum(), (x * back).sum(), rtol=1e-4)


def test_the_gradient_is_the_convolution():
    kernel = normal(4, 4, 3, 2)
    layer, x, y = with_kernel(kernel, 2), normal(1, 3, 4, 2, seed=1), normal(1, 6, 8, 3, seed=2)
    slope = gradient(lambda x, y: layer(x) * y, x, y)
    np.testing.assert_allclose(slope[0], conv2d(y[0], kernel, 2), atol=1e-4)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_the_initial_kernel_equals_half_pixel_resizing_away_from_the_border(factor):
    x, border = normal(1, 4, 5, 2), factor // 2
    upsampled = at_unknown_size(TransposeUpsampling2D(2, factor), x)[0]
    truth = reference.bilinear(x[0], 4 * factor, 5 * factor)
    assert upsampled.shape == truth.shape
    inside = np.s_[border:-border, border:-border]
    np.testing.assert_allclose(upsampled[inside], truth[inside], atol=1e-5)


@pytest.mark.parametrize(
    ("taps", "row"),
    [
        (1, [1]),
        (2, [0.5, 0.5]),
        (3, [0.5, 1, 0.5]),
        (4, [0.25, 0.75, 0.75, 0.25]),
        (5, [1 / 3, 2 / 3, 1, 2 / 3, 1 / 3]),
    ],
)
def test_the_bilinear_kernel_equals_the_one_of_the_paper(taps, row):
    kernel = keras.ops.convert_to_numpy(BilinearKernel()((taps, taps, 3, 3)))
    for i, j in np.ndindex(3, 3):
        np.testing.assert_allclose(kernel[:, :, i, j], np.outer(row, row) * (i == j), atol=1e-7)


def test_an_uneven_kernel_makes_a_checkerboard_and_warns():
    with pytest.warns(UserWarning, match="a kernel of 3 overlaps unevenly at factor 2 and makes checkerboard patterns"):
        layer = TransposeUpsampling2D(1, kernel_size=3, kernel_initializer="ones")
    y = keras.ops.convert_to_numpy(layer(np.ones((1, 8, 8, 1), "float32")))
    assert y[0, 4:8, 4:8, 0].tolist() == [[4, 2, 4, 2], [2, 1, 2, 1], [4, 2, 4, 2], [2, 1, 2, 1]]


def test_a_bias_is_added():
    layer = TransposeUpsampling2D(2, use_bias=True)
    layer.build((None, None, None, 2))
    layer.bias.assign([1.0, 2.0])
    y = keras.ops.convert_to_numpy(layer(np.zeros((1, 1, 1, 2), "float32")))
    np.testing.assert_array_equal(y, np.broadcast_to([1.0, 2.0], (1, 2, 2, 2)))


def test_a_bilinear_kernel_between_different_channels_is_refused():
    with pytest.raises(ValueError, match=r"64 into 32.*glorot_uniform"):
        TransposeUpsampling2D(32)(np.zeros((1, 2, 2, 64), "float32"))
