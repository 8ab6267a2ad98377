"""DeepLab V1 to V3+: counts, sums, scales, and errors."""

import keras
import numpy as np
import pytest

from kseg import zoo
from tests.reference.convolution import conv2d
from tests.zoo.cheap import LITE, encoder_to

pytestmark = pytest.mark.usefixtures("numpy_initializers")


def test_v2_sums_its_branches():
    model = zoo.deeplabv2(3, rates=(1, 2), **encoder_to(8))
    feature = np.random.default_rng(0).normal(size=(1, 6, 7, 10)).astype("float32")
    scores = model.get_layer("scores")
    expected = np.zeros((6, 7, 3))
    for rate, (conv,) in zip((1, 2), scores.branches, strict=True):
        kernel, bias = conv.get_weights()
        expected += conv2d(feature[0], kernel, rate=rate, bias=bias)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(scores(feature))[0], expected, atol=1e-4)


def test_scales_are_fused_by_their_maximum():
    scales = (0.5, 0.75, 1.0)
    model = zoo.deeplabv2(3, scales=scales, outputs_per_scale=True, rates=(1, 2), **encoder_to(8))
    image = np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3)).astype("uint8")
    outputs = model.predict_on_batch(image)
    assert list(outputs) == ["logits", "scale_0.5", "scale_0.75", "scale_1"]
    assert {output.shape for output in outputs.values()} == {(1, 64, 96, 3)}
    inner = keras.Model(model.input, [model.get_layer("maximum").input, model.get_layer("maximum").output])
    apart, fused = inner.predict_on_batch(image)
    np.testing.assert_array_equal(fused, np.max(apart, axis=0))
    # The scale 1 alone is what the net without scales computes.
    alone = zoo.deeplabv2(3, rates=(1, 2), **encoder_to(8))
    alone.set_weights(model.get_weights())
    np.testing.assert_allclose(outputs["scale_1"], alone.predict_on_batch(image), atol=1e-5)


@pytest.mark.parametrize(
    ("builder", "options"),
    [
        ("deeplabv3", {"auxiliary": True, "filters": 8, **encoder_to(16)}),
        ("deeplabv2", {"scales": (0.5, 1.0), "outputs_per_scale": True, **encoder_to(8)}),
    ],
)
def test_every_output_has_a_loss(builder, options):
    model = zoo.build(builder, 3, rates=(1, 2), **options)
    model.compile("sgd", dict.fromkeys(model.output, keras.losses.SparseCategoricalCrossentropy(from_logits=True)))
    image = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype("uint8")
    logs = model.train_on_batch(image, dict.fromkeys(model.output, image[..., 0] // 86), return_dict=True)
    total = float(logs.pop("loss"))
    assert logs.keys() == {f"{name}_loss" for name in model.output}
    assert total == pytest.approx(sum(map(float, logs.values())), rel=1e-4)


def test_v3plus_refines_at_stride_4():
    model = zoo.deeplabv3plus(3, input_shape=(321, 321, 3), filters=8, **LITE)
    assert model.get_layer("concatenate").output.shape == (None, 81, 81, 8 + 48)


@pytest.mark.parametrize("builder", ["deeplabv1", "deeplabv2", "deeplabv3", "deeplabv3plus"])
def test_rates_beyond_the_feature_map_warn(builder):
    rates = {"rate": 24} if builder == "deeplabv1" else {"rates": (2, 24)}
    small = encoder_to(8 if builder in ("deeplabv1", "deeplabv2") else 16)
    with pytest.warns(UserWarning, match=r"(aspp|scores): rates \[24\] exceed the feature map of \d+x\d+") as caught:
        zoo.build(builder, 2, input_shape=(96, 128, 3), **rates, **small)
    assert len(caught) == 1
    model = zoo.build(builder, 2, **rates, **small)  # silent as long as no size is known
    with pytest.warns(UserWarning, match="exceed the feature map"):
        model.predict_on_batch(np.zeros((1, 96, 512, 3), "uint8"))  # one side is enough
