"""Properties of every builder, tested on all of them."""

import inspect

import keras
import numpy as np
import pytest

from kseg import pretrained, zoo
from tests.layers.tracing import computed
from tests.zoo.cheap import CHEAP, LITE

pytestmark = pytest.mark.usefixtures("numpy_initializers")


def _image(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (1, height, width, 3)).astype("uint8")


@pytest.fixture(scope="module", params=zoo.BUILDERS)
def model(request, numpy_initializers):
    return zoo.build(request.param, 4, **CHEAP[request.param])


@pytest.mark.parametrize("size", [(65, 97), (33, 40)])
def test_logits_have_the_size_of_the_image(model, size):
    logits = model.predict_on_batch(_image(*size))
    assert logits.shape == (1, *size, 4)
    assert logits.dtype == np.float32


def test_the_model_is_plain_and_its_encoder_a_layer(model):
    assert type(keras.Model(model.input, model.output)) in pretrained.SegmentationModel.__mro__  # functional
    assert isinstance(model.get_layer("encoder"), keras.Model)
    assert model.name in zoo.BUILDERS


def test_weight_paths_are_the_same_in_every_build(model):
    # `model` was built before this one, so that Keras's own numbering of layers has moved on.
    again = list(pretrained.weight_keys(zoo.build(model.name, 4, **CHEAP[model.name])))
    assert again == list(pretrained.weight_keys(model))
    assert again[0].startswith("encoder/")


@pytest.mark.parametrize("builder", zoo.BUILDERS)
def test_a_misspelt_option_raises(builder):
    with pytest.raises(TypeError, match=r"has no option 'encodr': .*[Ii]t has .*input_shape"):
        zoo.BUILDERS[builder](2, encodr="vgg16")
    assert not any(p.kind is p.VAR_KEYWORD for p in inspect.signature(zoo.BUILDERS[builder]).parameters.values())


def test_a_saved_model_loads_without_naming_custom_objects(model, tmp_path):
    image = _image(40, 48)
    expected = computed(model, image)
    assert expected.shape == (1, 40, 48, 4)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(computed(loaded, image), expected, atol=1e-5)
    assert list(pretrained.weight_keys(loaded)) == list(pretrained.weight_keys(model))


@pytest.mark.parametrize(
    ("builder", "policy"), [*((each, "mixed_float16") for each in CHEAP), ("unet", "mixed_bfloat16")]
)
def test_logits_are_float32_under_mixed_precision(builder, policy, set_dtype_policy):
    set_dtype_policy(policy)
    logits = computed(zoo.build(builder, 3, **CHEAP[builder]), _image(64, 64))
    assert (logits.shape, logits.dtype) == ((1, 64, 64, 3), np.float32)
    assert np.isfinite(logits).all()


@pytest.mark.parametrize(("activation", "num_classes"), [("softmax", 3), ("sigmoid", 1)])
@pytest.mark.parametrize("builder", ["fcn32", "unet", "deeplabv3"])
def test_an_activation_gives_probabilities(builder, activation, num_classes):
    output = computed(zoo.build(builder, num_classes, activation=activation, **CHEAP[builder]), _image(64, 64))
    assert 0 <= output.min() <= output.max() <= 1
    if activation == "softmax":
        np.testing.assert_allclose(output.sum(-1), 1, rtol=1e-5)


@pytest.mark.parametrize(("output_stride", "rates"), [(16, (6, 12, 18)), (8, (12, 24, 36))])
def test_deeplabv3_doubles_the_rates_at_stride_8(output_stride, rates):
    model = zoo.deeplabv3(2, output_stride=output_stride, **LITE)
    assert tuple(model.get_layer("aspp").rates) == rates
    feature = model.get_layer("aspp").input
    size = computed(keras.Model(model.input, feature), _image(64, 80)).shape[1:3]
    assert size == (64 // output_stride, 80 // output_stride)


@pytest.mark.parametrize(
    ("builder", "options", "message"),
    [
        ("u_net", {}, "unknown builder 'u_net': did you mean unet"),
        ("unet", {"filters": (64, 32), **LITE}, "filters has 2 widths for 5 blocks"),
        ("deeplabv3", {"output_stride": 4}, "output_stride must be 8, 16 or 32, got 4"),
        ("segnet_basic", {"unpooling": "min"}, "unpooling must be one of max, .*, got 'min'"),
        *(
            ("deeplabv2", {"scales": scales, **LITE}, "scales must be positive and the largest one 1")
            for scales in ((), (0.5, 0), (0.5, 0.75), (1.0, 1.5))
        ),
    ],
)
def test_an_invalid_option_is_named(builder, options, message):
    with pytest.raises(ValueError, match=message):
        zoo.build(builder, 2, **options)


@pytest.mark.parametrize(("builder", "missing"), [("fcn8", 32), ("deeplabv3", 16)])
def test_an_encoder_that_ends_too_early_is_refused(builder, missing):
    def encoder(image):
        return {8: keras.layers.Conv2D(4, 8, strides=8, padding="same", name="patches")(image)}

    with pytest.raises(ValueError, match=f"needs features at stride {missing}, but the encoder has only stride 8"):
        zoo.build(builder, 2, encoder=encoder)
