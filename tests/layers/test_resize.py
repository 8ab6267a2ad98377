import keras
import numpy as np
import pytest
import torch

from kseg.layers import Resize, single_operation
from tests.layers.tracing import at_unknown_size, compiled, gradient
from tests.reference import resize as reference

TARGETS = [(1, 1), (3, 4), (5, 7), (10, 14), (9, 20)]


def image(height=5, width=7, channels=2, dtype="float32"):
    return (np.random.default_rng(0).normal(size=(2, height, width, channels)) * 50 + 100).astype(dtype)


def expected(images, interpolation, height, width, align_corners):
    function = getattr(reference, interpolation)
    return np.stack([function(x, height, width, align_corners) for x in images])


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_resizing_equals_the_reference_at_known_and_unknown_size(interpolation, align_corners, target):
    x = image() / 100
    layer = Resize(target, interpolation=interpolation, align_corners=align_corners)
    truth = expected(x, interpolation, *target, align_corners)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(x)), truth, atol=1e-5)
    np.testing.assert_allclose(at_unknown_size(layer, x), truth, atol=1e-5)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("interpolation", "target"), [("bilinear", (9, 4)), ("nearest", (10, 21))])
def test_a_single_operation_gives_the_same_values(interpolation, target, align_corners):
    x = image() / 100
    layer = Resize(target, interpolation=interpolation, align_corners=align_corners)
    outside = keras.ops.convert_to_numpy(layer(x))
    with single_operation():
        np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(x)), outside, atol=1e-5)
        np.testing.assert_allclose(at_unknown_size(layer, x), outside, atol=1e-5)


@pytest.mark.parametrize(("source", "target"), [(14, 23), (24, 37), (30, 53), (32, 61)])
def test_nearest_is_exact_where_float32_positions_are_not(source, target):
    x = np.arange(source, dtype="float32").reshape(1, source, 1, 1)
    expected = [
        (2 * i + 1) * source // (2 * target) for i in range(target)
    ]  # the source pixel that contains the center
    got = keras.ops.convert_to_numpy(Resize((target, 1), interpolation="nearest")(x))
    assert got.ravel().tolist() == expected


@pytest.mark.parametrize(("source", "target"), [((32, 17), (65, 32)), ((6, 9), (18, 9)), ((35, 18), (69, 34))])
def test_nearest_floor_copies_the_pixels_that_pytorch_copies(source, target):
    x = image(*source)
    channels_first = torch.from_numpy(x.transpose(0, 3, 1, 2))
    truth = torch.nn.functional.interpolate(channels_first, target, mode="nearest").numpy().transpose(0, 2, 3, 1)
    layer = Resize(target, interpolation="nearest_floor")
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer(x)), truth)
    np.testing.assert_array_equal(at_unknown_size(layer, x), truth)
    with single_operation():
        np.testing.assert_array_equal(at_unknown_size(layer, x), truth)


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_positions_in_a_large_image_are_exact(interpolation):
    x = image(2, 1501, 1) / 100
    layer = Resize((3, 2003), interpolation=interpolation)
    truth = expected(x, interpolation, 3, 2003, False)
    # Some backends count positions in float32: a ten-thousandth of a pixel at column 2000.
    np.testing.assert_allclose(at_unknown_size(layer, x), truth, atol=5e-4)


@pytest.mark.parametrize(
    ("factor", "size"),
    [(2, (10, 14)), (0.5, (2, 3)), (1 / 3, (1, 2)), (1.5, (7, 10)), ((3, 1), (15, 7)), (0.1, (1, 1))],
)
def test_a_factor_rounds_the_size_down(factor, size):
    x = image(10, 14) if factor == 0.1 else image()
    layer = Resize(factor=factor)
    assert tuple(layer(x).shape[1:3]) == size
    assert layer.compute_output_shape(x.shape)[1:3] == size
    assert at_unknown_size(layer, x).shape[1:3] == size


def test_like_sets_the_size_even_if_it_is_unknown():
    x, like = image(), image(4, 9, 1)
    layer = Resize()
    truth = expected(x, "bilinear", 4, 9, False)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(x, like=like)), truth, rtol=1e-5)
    np.testing.assert_allclose(at_unknown_size(lambda x, like: layer(x, like=like), x, like), truth, rtol=1e-5)


def test_unknown_sizes_stay_unknown_in_the_symbolic_shape():
    x, like = keras.Input((None, 8, 3)), keras.Input((6, None, 1))
    assert Resize(factor=2)(x).shape == (None, None, 16, 3)
    assert Resize((4, 5))(x).shape == (None, 4, 5, 3)
    assert Resize()(x, like=like).shape == (None, 6, None, 3)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float16", "bfloat16", "float32"])
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_the_dtype_is_kept(interpolation, dtype):
    layer = Resize((6, 9), interpolation=interpolation, dtype=dtype if "float" in dtype else None)
    x = keras.ops.cast(image(), dtype)
    y = layer(x)
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    assert layer(keras.KerasTensor(x.shape, dtype)).dtype == dtype
    x, y = (keras.ops.convert_to_numpy(keras.ops.cast(t, "float32")) for t in (x, y))
    tolerance = {"float32": 1e-3, "float16": 0.1, "bfloat16": 1.0}.get(dtype, 0.5 + 1e-3)
    np.testing.assert_allclose(y, expected(x, interpolation, 6, 9, False), atol=tolerance)


# At the first five, TensorFlow's own bilinear resizing mixes wrong pixels when XLA has compiled it.
SIZES = [
    ((27, 25), (45, 19)),
    ((5, 5), (33, 40)),
    ((3, 6), (51, 14)),
    ((17, 4), (43, 36)),
    ((16, 33), (20, 55)),
    ((6, 8), (24, 16)),
    ((12, 10), (6, 5)),
    ((9, 21), (3, 28)),
]
CASES = [*((*sizes, False) for sizes in SIZES), ((5, 7), (9, 4), True)]


@pytest.mark.parametrize(("source", "target", "align_corners"), CASES)
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_compiled_resizing_is_the_same_and_its_gradient_is_the_adjoint(interpolation, source, target, align_corners):
    x, layer = image(*source) / 100, Resize(target, interpolation=interpolation, align_corners=align_corners)
    y = np.random.default_rng(2).normal(size=(2, *target, 2)).astype("float32")
    truth = expected(x, interpolation, *target, align_corners)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(compiled(layer)(x)), truth, atol=1e-5)
    np.testing.assert_allclose(at_unknown_size(compiled(layer), x), truth, atol=1e-5)
    # The layer is linear: <resize(x), y> = <x, gradient of <resize(.), y>> for every x.
    slope = gradient(compiled(lambda x, y: layer(x) * y), x, y)
    np.testing.assert_allclose((slope * x).sum(), (truth * y).sum(), rtol=1e-3)
    np.testing.assert_allclose(slope, gradient(lambda x, y: layer(x) * y, x, y), atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 4, "factor": 2}, "size or factor"),
        ({"size": (0, 4)}, "positive"),
        ({"factor": -1}, "positive"),
        ({"interpolation": "bicubic"}, "bilinear"),
        ({"interpolation": "nearest_floor", "align_corners": True}, "has no aligned corners"),
    ],
)
def test_contradicting_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Resize(**arguments)


def test_exactly_one_of_size_factor_and_like_is_needed():
    with pytest.raises(ValueError, match="exactly one"):
        Resize()(image())
    with pytest.raises(ValueError, match="exactly one"):
        Resize(factor=2)(image(), like=image())


def test_an_empty_feature_map_is_refused():
    with pytest.raises(ValueError, match="the feature map is empty: the image is too small"):
        Resize()(np.zeros((1, 0, 3, 2), "float32"), like=image())
