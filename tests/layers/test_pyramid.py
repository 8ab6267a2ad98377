import keras
import numpy as np
import pytest

from kseg.layers import ASPP, AtrousScoreSum, PyramidPooling
from tests.layers.tracing import at_unknown_size
from tests.reference.convolution import batch_norm, conv2d
from tests.reference.resize import sample


def test_aspp_equals_the_reference():
    x = np.random.default_rng(8).normal(size=(1, 5, 6, 3)).astype("float32")
    layer = ASPP(2, rates=(1, 3))
    layer.build(x.shape)

    def branch(part, features, rate=1):
        kernel, *norm = part.get_weights()
        return np.maximum(batch_norm(conv2d(features, kernel, rate=rate), *norm), 0)

    maps = [branch(part, x[0], rate) for part, rate in zip(layer.branches, (1, 1, 3), strict=True)]
    mean = branch(layer.image, x[0].mean((0, 1), keepdims=True))
    truth = branch(layer.project, np.concatenate([*maps, np.broadcast_to(mean, maps[0].shape)], axis=-1))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(x))[0], truth, atol=1e-5)


def test_dropout_is_active_in_training_only():
    layer, x = ASPP(4, rates=(1,), dropout=0.5), np.ones((1, 16, 16, 3), "float32")
    assert (keras.ops.convert_to_numpy(layer(x, training=True)) == 0).mean() > 0.2
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer(x)), keras.ops.convert_to_numpy(layer(x)))


def test_the_mean_of_a_large_map_does_not_overflow_float16():
    layer = ASPP(2, rates=(1,), dtype="mixed_float16")
    y = layer(np.full((1, 64, 64, 2), 100.0, "float32"))  # the sum is 409,600; float16 ends at 65,504
    assert np.isfinite(keras.ops.convert_to_numpy(y)).all()


@pytest.mark.parametrize("layer", [ASPP, AtrousScoreSum])
def test_weight_keys_do_not_depend_on_the_rates(layer):
    first, second = layer(2, rates=(1, 1), name="pyramid"), layer(2, rates=(3, 2), name="pyramid")
    first.build((1, 8, 8, 3))
    second.build((1, 8, 8, 3))
    keys = [variable.path for variable in first.weights]
    assert [variable.path for variable in second.weights] == keys
    assert any(key.startswith("pyramid/branch_2") for key in keys)


@pytest.mark.parametrize("size", [(6, 12), (7, 5), (2, 1)])
def test_pyramid_pooling_averages_the_cells_of_each_grid(size):
    x = np.random.default_rng(0).normal(size=(1, *size, 3)).astype("float32")
    layer = PyramidPooling(2, bins=(1, 3), normalization=False, align_corners=True)
    found = at_unknown_size(layer, x)[0]
    for index, (count, branch) in enumerate(zip(layer.bins, layer.branches, strict=True)):
        kernel, bias = branch.get_weights()
        rows, columns = ([(i * n // count, -(-(i + 1) * n // count)) for i in range(count)] for n in size)
        means = np.array([[x[0, a:b, c:d].mean((0, 1)) for c, d in columns] for a, b in rows])
        features = np.maximum(means @ kernel[0, 0] + bias, 0)
        rows, columns = ([i * (count - 1) / max(n - 1, 1) for i in range(n)] for n in size)
        truth = sample(features, rows, columns)
        np.testing.assert_allclose(found[..., 2 * index : 2 * index + 2], truth, atol=1e-5)
