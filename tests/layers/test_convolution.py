import keras
import numpy as np
import pytest

from kseg.layers import FAST_LAYERS, Conv2D, ConvNormAct, depthwise, grouped, single_operation
from tests.layers.tracing import compiled, gradient
from tests.reference.convolution import batch_norm, conv2d


def randomize(layer):
    rng = np.random.default_rng(5)
    layer.set_weights(
        [
            rng.uniform(0.5, 1.5, w.shape) * rng.choice([-1, 1], w.shape[-1:]) ** (w.ndim > 1)
            for w in layer.get_weights()
        ]
    )


@pytest.mark.parametrize(
    ("size", "strides", "rate", "normalization"),
    [(3, 1, 1, True), (3, 2, 1, True), (3, 1, 2, False), (5, 3, 1, False)],
)
def test_the_layer_equals_the_reference(size, strides, rate, normalization):
    x = np.random.default_rng(6).normal(size=(1, 5, 7, 3)).astype("float32")
    layer = ConvNormAct(4, size, strides=strides, dilation_rate=rate, normalization=normalization)
    layer.build(x.shape)
    randomize(layer)
    if normalization:
        kernel, *norm = layer.get_weights()
        truth = batch_norm(conv2d(x[0], kernel, strides, rate), *norm)
    else:
        truth = conv2d(x[0], layer.get_weights()[0], strides, rate, bias=layer.get_weights()[1])
    y = keras.ops.convert_to_numpy(layer(x))
    np.testing.assert_allclose(y[0], np.maximum(truth, 0), atol=1e-4)
    assert layer.compute_output_shape(x.shape) == y.shape


@pytest.mark.parametrize(
    ("options", "weights"),
    [
        ({}, 9 * 3 * 8 + 4 * 8),
        ({"normalization": False}, 9 * 3 * 8 + 8),
        ({"use_bias": True}, 9 * 3 * 8 + 8 + 4 * 8),
        ({"normalization": False, "use_bias": False}, 9 * 3 * 8),
    ],
)
def test_there_is_a_bias_only_without_normalization(options, weights):
    layer = ConvNormAct(8, **options)
    layer.build((None, None, None, 3))
    assert layer.count_params() == weights


def test_the_moving_statistics_converge_within_50_steps():
    layer = ConvNormAct(1, 1, activation=None)
    layer.build((None, None, None, 1))
    layer.conv.set_weights([np.ones((1, 1, 1, 1))])
    x = np.random.default_rng(7).normal(3, 1, (4, 8, 8, 1)).astype("float32")
    for _ in range(50):
        layer(x, training=True)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(layer(x)), keras.ops.convert_to_numpy(layer(x, training=True)), atol=0.05
    )


def test_valid_padding_reduces_the_size():
    assert ConvNormAct(2, padding="valid").compute_output_shape((None, 9, None, 3)) == (None, 7, None, 2)


def twins(kind, shape, **options):
    """A layer of Keras and the fast one, with equal random weights."""
    pair = kind(**options, name="layer"), FAST_LAYERS[kind](**options, name="layer")
    for layer in pair:
        layer.build(shape)
        layer.set_weights([np.random.default_rng(8).uniform(0.5, 1.5, w.shape) for w in layer.weights])
    return pair


def same(a, b, tolerance):
    a, b = (np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(x, "float32"))) for x in (a, b))
    np.testing.assert_allclose(b, a, atol=tolerance * max(1, np.abs(a).max()))


@pytest.mark.parametrize(
    ("kernel_size", "size", "options"),
    [
        (3, (7, 10), {"strides": 2}),
        (3, (6, 9), {"dilation_rate": 2}),
        ((5, 3), (4, 7), {"dilation_rate": 3}),  # the outer rows of the kernel meet only padding
        (3, (5, 6), {"dilation_rate": 6}),  # all but its center
        (3, (7, 10), {"strides": 2, "padding": "valid"}),
        (2, (8, 7), {"strides": 2}),
        ((3, 5), (6, 9), {}),
        (1, (5, 6), {"strides": 2}),
        (3, (9, 8), {"padding": "valid", "dilation_rate": 2, "dtype": "mixed_bfloat16"}),
        (3, (5, 6), {"dtype": "mixed_float16"}),
    ],
)
@pytest.mark.parametrize("kind", [keras.layers.Conv2D, keras.layers.DepthwiseConv2D])
def test_a_fast_convolution_equals_that_of_keras(kind, kernel_size, size, options, monkeypatch):
    monkeypatch.setattr(depthwise, "SMALLEST", 0)
    own = {"filters": 4, "use_bias": kernel_size != 2} if kind is keras.layers.Conv2D else {"depth_multiplier": 2}
    own |= (
        {"groups": 2} if "filters" in own and keras.backend.backend() == "torch" else {}
    )  # TensorFlow supports groups on a CPU only under XLA
    shape = (2, *size, 4)
    options = {"padding": "same", "activation": "relu", **own, **options}
    first, second = twins(kind, shape, kernel_size=kernel_size, **options)
    x = np.random.default_rng(9).normal(size=shape).astype("float32")
    kernel, *bias = first.get_weights()

    def kernel_gradient(layer):
        return gradient(lambda value: layer.stateless_call([value, *bias], [], x)[0] ** 2, kernel)

    def image_gradient(layer):
        return gradient(lambda image: layer(image) ** 2, x)

    def inferred(layer):
        with single_operation():
            return layer(x)

    half = "dtype" in options
    for got in (lambda layer: layer(x), inferred, image_gradient, kernel_gradient):
        same(got(first), got(second), 1e-2 if half else 1e-6)
    assert second.get_config() == first.get_config()
    assert [w.path.split("/")[-1] for w in second.weights] == [w.path.split("/")[-1] for w in first.weights]


@pytest.mark.parametrize("channels", [2, 4, 16])  # one group each, two together, all together
def test_a_grouped_convolution_equals_one_convolution_per_group(channels, monkeypatch):
    monkeypatch.setattr(grouped, "CHANNELS", channels)
    layer = Conv2D(12, 3, strides=2, padding="same", groups=4)
    x = np.random.default_rng(9).normal(size=(1, 7, 10, 8)).astype("float32")
    layer.build(x.shape)
    randomize(layer)
    kernels, biases = (np.split(array, 4, axis=-1) for array in layer.get_weights())
    images = np.split(x[0], 4, axis=-1)
    parts = [conv2d(*pair, 2, 1, bias=bias) for *pair, bias in zip(images, kernels, biases, strict=True)]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(x))[0], np.concatenate(parts, -1), atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((4, 9, 12, 3), {}),
        ((2, 5, 7, 3), {"center": False, "dtype": "mixed_bfloat16"}),
        ((2, 5, 7, 3), {"scale": False, "dtype": "mixed_float16"}),
        ((2, 1, 1, 3), {}),
        ((1, 1, 1, 3), {}),  # a single value: its variance is 0
        ((2, 5, 7, 3), {"trainable": False}),
        ((2, 5, 3), {}),  # not an image
        ((2, 3, 7, 5), {"axis": 1}),
        ((2, 5, 7, 3), {"renorm": True}),
        ((2, 5, 7, 3), {"masked": True}),
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_fast_batch_normalization_equals_that_of_keras(shape, options, training):
    options = {**options}
    masked = options.pop("masked", False)
    first, second = twins(keras.layers.BatchNormalization, shape, **options)
    x = np.random.default_rng(9).normal(2, 3, shape).astype("float32")
    mask = x[..., 0] > 1 if masked else None
    half = "dtype" in options

    def slope(layer):
        pure = keras.backend.backend() == "jax"  # its gradients allow no update of the moving averages
        return gradient(lambda image: layer(image, training=training and not pure, mask=mask) ** 2, x)

    for got in (lambda layer: layer(x, training=training, mask=mask), slope):
        same(got(first), got(second), 1e-2 if half else 1e-5)
    for a, b in zip(first.weights, second.weights, strict=True):
        same(a, b, 1e-5)
    assert second.get_config() == first.get_config()


def test_fast_batch_normalization_is_right_under_xla():
    first, second = twins(keras.layers.BatchNormalization, (2, 5, 7, 3))
    x = np.random.default_rng(9).normal(2, 3, (2, 5, 7, 3)).astype("float32")
    if keras.backend.backend() == "jax":  # which forbids side effects
        run = [compiled(lambda image, of=layer: of(image, training=False)) for layer in (first, second)]
    else:
        run = [compiled(lambda image, of=layer: of(image, training=True)) for layer in (first, second)]
    same(run[0](x), run[1](x), 1e-5)
    for a, b in zip(first.weights, second.weights, strict=True):
        same(a, b, 1e-5)
