"""ConvCRF against all pairs of pixels, and as the last layer of the zoo's models."""

import keras
import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from kseg import zoo
from kseg.inference import dense_crf
from kseg.layers import ConvCRF
from kseg.metrics import gives_logits
from tests.layers.tracing import at_unknown_size, gradient
from tests.reference import crf
from tests.zoo.cheap import CHEAP

pytestmark = pytest.mark.usefixtures("numpy_initializers")

OPTIONS = {"smoothness_xy": 2.0, "appearance_xy": 9.0, "appearance_rgb": 60.0}


def scene(height=9, width=12, classes=3):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (1, height, width, 3)).astype("float32")
    return rng.normal(size=(1, height, width, classes)).astype("float32"), image


def run(layer, *inputs):
    return keras.ops.convert_to_numpy(layer(*inputs))


@pytest.mark.parametrize("radius", [0, 2, 12])
def test_the_result_equals_inference_over_all_pairs_of_pixels_in_the_window(radius):
    scores, image = scene()
    inside = crf.window(9, 12, radius)
    smooth, appear = (crf.normalized(inside * kernel) for kernel in crf.kernels(image[0], **OPTIONS))
    expected = crf.mean_field(log_softmax(scores[0], axis=-1), 3 * smooth + 4 * appear, 5)
    found = run(ConvCRF(radius=radius, stride=1, **OPTIONS), scores, image)[0]
    np.testing.assert_allclose(log_softmax(found, axis=-1), log_softmax(expected, axis=-1), atol=1e-4)


def test_a_window_as_large_as_the_image_approximates_the_dense_crf():
    scores, image = scene(16, 20)
    image = np.sort(image, axis=2)  # smooth, as images are
    dense = dense_crf(image[0].astype("uint8"), softmax(scores[0], axis=-1), iterations=5, **OPTIONS)
    found = softmax(run(ConvCRF(radius=20, stride=1, **OPTIONS), scores, image)[0], axis=-1)
    assert np.abs(found - dense).mean() < 0.02


def test_with_a_stride_messages_pass_between_means_of_cells():
    """A stride of 3 on cells that hold one value each is the exact field of the cells, at triple distances."""
    scores, image = scene(4, 5)
    large = [np.repeat(np.repeat(x, 3, axis=1), 3, axis=2) for x in (scores, image)]
    inside = crf.window(4, 5, 2)
    options = OPTIONS | {"smoothness_xy": 2 / 3, "appearance_xy": 3.0}
    smooth, appear = (crf.normalized(inside * kernel) for kernel in crf.kernels(image[0], **options))
    q = softmax(scores[0], axis=-1).reshape(-1, 3)
    message = ((3 * smooth + 4 * appear) @ q).reshape(4, 5, 3)
    found = run(ConvCRF(radius=2, stride=3, iterations=1, **OPTIONS), *large)[0] - log_softmax(large[0][0], axis=-1)
    np.testing.assert_allclose(found[1::3, 1::3], message, atol=1e-4)  # the cells' middles


def test_one_channel_is_the_difference_of_two():
    scores, image = scene(classes=1)
    both = np.concatenate([np.zeros_like(scores), scores], -1)
    one, two = (run(ConvCRF(radius=2, stride=2, **OPTIONS), x, image) for x in (scores, both))
    np.testing.assert_allclose(one[..., 0], two[..., 1] - two[..., 0], atol=1e-5)


def test_probabilities_as_input_and_output():
    scores, image = scene()
    logits = run(ConvCRF(radius=1), scores, image)
    p = run(ConvCRF(radius=1, from_logits=False, activation="softmax"), softmax(scores, axis=-1), image)
    np.testing.assert_allclose(p, softmax(logits, axis=-1), atol=1e-5)


def test_unknown_and_odd_sizes_work():
    layer = ConvCRF(radius=1, stride=4)
    for size in ((9, 13), (8, 12), (1, 2)):
        scores, image = scene(*size)
        known = run(layer, scores, image)
        assert known.shape == (1, *size, 3)
        np.testing.assert_allclose(at_unknown_size(layer, scores, image), known, atol=1e-4)


def test_the_gradient_equals_a_finite_difference():
    layer = ConvCRF(radius=1, stride=2, iterations=2, **OPTIONS)
    scores, image = scene(4, 5)
    side = np.random.default_rng(2).normal(size=scores.shape).astype("float32")
    slope = gradient(lambda x, image: keras.ops.multiply(layer(x, image), side), scores, image)
    step = np.zeros_like(scores)
    step[0, 1, 2, 1] = 1e-2
    ends = [float((run(layer, scores + sign * step, image) * side).sum(dtype="float64")) for sign in (1, -1)]
    assert slope[0, 1, 2, 1] == pytest.approx((ends[0] - ends[1]) / 2e-2, rel=0.02, abs=1e-3)


@pytest.mark.parametrize("builder", zoo.BUILDERS)
def test_every_builder_can_append_a_crf(builder, without_memory):
    model = zoo.build(builder, 4, crf=True, **CHEAP[builder])
    assert model.layers[-1].name == "crf"
    assert model.output_shape == (None, None, None, 4)
    assert model.name == builder
    assert gives_logits(model)


def test_the_crf_of_an_unpadded_u_net_uses_the_middle_of_the_image():
    model = zoo.with_crf(zoo.unet_2015(2, filters=(2, 2, 2, 2, 2)))
    assert model(keras.KerasTensor((1, 188, 204, 1))).shape == (1, 4, 20, 2)


def test_other_outputs_are_not_refined():
    model = zoo.with_crf(zoo.deeplabv3(3, auxiliary=True, **CHEAP["deeplabv3"]))
    assert list(model.output) == ["logits", "auxiliary"]


@pytest.mark.parametrize(
    ("options", "classes", "message"),
    [
        ({"radius": -1}, 3, "radius must be 0 or more"),
        ({"stride": 0}, 3, "stride must be 1 or more"),
        ({"appearance_rgb": 0}, 3, "appearance_rgb must be positive"),
        ({"activation": "relu"}, 3, 'must be None, "softmax" or "sigmoid"'),
        ({"activation": "softmax"}, 1, "always 1"),
    ],
)
def test_invalid_options_are_refused(options, classes, message):
    with pytest.raises(ValueError, match=message):
        ConvCRF(**options)(*scene(classes=classes))


def test_scores_and_image_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match="do not fit an image of size"):
        ConvCRF()(np.zeros((1, 4, 5, 2), "float32"), np.zeros((1, 4, 6, 3), "float32"))
