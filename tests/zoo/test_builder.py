"""What the decorator does for every builder: documentation, weights with their options, described models."""

import inspect
import re

import keras
import numpy as np
import pytest

from kseg import pretrained, zoo
from tests.training import tiny
from tests.zoo.cheap import CHEAP, encoder_to

pytestmark = pytest.mark.usefixtures("numpy_initializers")

TINY = {"name": "convnext_tiny", "filters": (4, 4, 6, 6), "depths": (1, 1, 1, 1), "feature_norms": False}
TABLE = {"encoder": TINY, "encoder_weights": None}
BUILT = {
    **CHEAP,
    "fcn_dilated": {"output_stride": 16, **TABLE},
    "deeplabv3": {**CHEAP["deeplabv3"], **TABLE},
    "deeplabv3plus": {**CHEAP["deeplabv3plus"], **TABLE},
    "pspnet": {**CHEAP["pspnet"], **TABLE},
    "pan": {**CHEAP["pan"], **TABLE},
    "lraspp": {**CHEAP["lraspp"], **TABLE},
    "dpt": {
        **CHEAP["dpt"],
        "encoder": {"name": "vit_tiny", "filters": 8, "depth": 3, "heads": 2, "blocks": [0, 1, 2]},
        "readout": "add",
    },
}
"""Dilation and class tokens need an encoder of the table."""
CHANGES_NO_TENSOR = {
    "activation": "softmax",
    "align_corners": True,
    "at_once": True,
    "doubling": True,
    "dropout": 0.25,
    "interleaved": True,
    "interpolation": "bilinear",
    "pan interpolation": "nearest",
    "pan output_stride": 32,
    "pspnet output_stride": 16,
    "lraspp output_stride": 32,
    "pidnet align_corners": False,
    "multi_grid": (1, 2),
    "num_blocks": 1,
    "output_stride": 8,
    "outputs_per_scale": True,
    "padding": "valid",
    "rate": 3,
    "readout": "ignore",
    "rates": (3, 1),
    "scales": (0.75, 1.0),
    "unpooling": "nearest",
}
CHANGES_TENSORS = {
    *("auxiliary", "batch_norm", "decoder_convs", "encoder", "extra_conv", "filters"),
    *("low_level_filters", "separable", "up", "bins", "encoder_depth", "kernel_sizes", "merge", "pyramid_filters"),
    *("attention", "attention_filters", "auxiliary_convs", "auxiliary_filters", "center", "feature_norms"),
    *("finest", "full_size"),
    *("pyramid", "level_norms", "head_kernel_size", "variant", "head_filters"),
    *("first_units", "level_filters"),
    *("num_queries", "num_upscales"),
}
ALONE = {"unet": ("doubling",)}
"""Options that exclude others of the same builder."""
CASES = [
    (name, options)
    for name, build in zoo.BUILDERS.items()
    for alone in [ALONE.get(name, ())]
    for options in [
        [key for key in build.options if key not in CHANGES_TENSORS.union(alone)],
        *([key] for key in alone),
    ]
]


def test_a_dictionary_with_only_the_name_of_an_encoder_is_that_name(without_memory):
    model = zoo.deeplabv3(2, **CHEAP["deeplabv3"] | {"encoder": {"name": "resnet18"}, "encoder_weights": None})
    assert model.arguments["encoder"] == "resnet18"


@pytest.mark.parametrize(("name", "options"), CASES)
def test_options_that_change_no_tensor_load_and_warn(name, options, tmp_path):
    trained = zoo.build(name, 4, **BUILT[name])
    file = pretrained.save(trained, tmp_path / "model.safetensors")
    other = {option: CHANGES_NO_TENSOR.get(f"{name} {option}", CHANGES_NO_TENSOR.get(option)) for option in options}
    side = 220 if name == "unet_2015" else 224  # without padding, few sizes are possible
    with pytest.warns(UserWarning, match="was trained with .*: pass these options") as warned:
        model = zoo.BUILDERS[name](weights=file, **{**BUILT[name], **other, "input_shape": (side, side, 3)})
    (text,) = (str(each.message) for each in warned)
    assert re.findall(r"(\w+)=\S.*?\(here ", text) == sorted(options)
    found = pretrained.weight_keys(model)
    for key, expected in pretrained.weight_keys(trained).items():
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (found[key], expected)))


def test_the_norms_of_features_do_not_depend_on_the_output_stride(tmp_path):
    encoder = {"name": "convnext_tiny", "filters": [4, 4, 6, 8], "depths": [1, 1, 1, 1]}
    options = {**CHEAP["deeplabv3"], "encoder": encoder, "encoder_weights": None}
    file = pretrained.save(zoo.deeplabv3(2, **options), tmp_path / "model.safetensors")
    with pytest.warns(UserWarning, match="was trained with output_stride=16"):
        zoo.deeplabv3(weights=file, **options, output_stride=8)


@pytest.mark.parametrize("build", [*zoo.BUILDERS.values(), zoo.patch_classifier], ids=lambda build: build.__name__)
def test_every_parameter_is_documented_once(build):
    described = re.findall(r"^    (\w+): ", build.__doc__.split("Args:\n")[1].split("\n\n")[0], flags=re.MULTILINE)
    assert described == list(inspect.signature(build).parameters) == ["num_classes", *build.defaults]
    for section in ("Returns", "Raises", "Example"):
        assert build.__doc__.count(f"\n{section}:\n") == 1


def test_a_trained_model_needs_no_more_than_a_path(tmp_path, monkeypatch):
    monkeypatch.setitem(zoo.BUILDERS, "tiny", tiny.tiny)
    image = np.random.default_rng(0).integers(0, 256, (2, 32, 48, 3)).astype("uint8")
    trained = tiny.tiny(2)
    trained.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    trained.fit(image, image[..., 0] // 128, verbose=0)
    model = zoo.with_crf(trained)
    model.get_layer("crf").strengths.assign([2.0, 1.0])  # in place of training: JAX takes a minute to compile its step
    model.classes, model.palette = ("ground", "plant"), [(0, 0, 0), (0, 160, 0)]
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.save(tmp_path / "model.keras")
    whole = keras.saving.load_model(tmp_path / "model.keras")
    loaded = zoo.load(pretrained.save(whole, tmp_path / "model.safetensors", epochs=1))
    again = tiny.tiny(weights=tmp_path / "model.safetensors")
    for found in (whole, loaded, again, zoo.load(tmp_path / "model.keras")):
        assert pretrained.description_of(found) == pretrained.description_of(model)
        assert found.arguments["crf"] and found.layers[-1].name == "crf"
        np.testing.assert_allclose(found.predict_on_batch(image), model.predict_on_batch(image), atol=1e-5)
    assert zoo.load(tmp_path / "model.safetensors").palette == ((0, 0, 0), (0, 160, 0))


def test_a_described_model_clones_and_nests():
    model = zoo.full_resolution(3, filters=(4,))
    clone = keras.models.clone_model(model)
    assert [weight.shape for weight in clone.weights] == [weight.shape for weight in model.weights]
    image = keras.Input((8, 9, 3))
    outer = keras.Model(image, keras.layers.Softmax()(model(image)))
    again = keras.Model.from_config(outer.get_config())
    assert again.get_layer("full_resolution").arguments == model.arguments
    assert list(pretrained.weight_keys(outer)) == [f"full_resolution/{key}" for key in pretrained.weight_keys(model)]


def test_an_own_encoder_must_be_passed_again_to_load_weights(tmp_path):
    own = encoder_to(32)
    model = zoo.unet(2, filters=(8, 8, 8, 8, 8), **own)
    file = pretrained.save(model, tmp_path / "model.safetensors")
    np.testing.assert_array_equal(zoo.unet(weights=file, **own).get_weights()[0], model.get_weights()[0])
    for load in (zoo.unet, zoo.load):
        with pytest.raises(ValueError, match="was trained on an encoder of your own"):
            load(**{"source" if load is zoo.load else "weights": file})


def test_a_net_that_the_decorator_cannot_wrap_is_refused_at_once():
    for net in (lambda num_classes, *, width=8: None, lambda num_classes, weights=None: None):
        with pytest.raises(TypeError, match="must have keyword-only options, among them weights=None"):
            zoo.builder(net)


def ends(*layers):
    """A model of one 1x1 convolution and the steps that follow it."""
    x = image = keras.Input((8, 9, 3))
    for layer in (keras.layers.Conv2D(2, 1), *layers):
        x = layer(x)
    return keras.Model(image, x, name="mine")


class Subclassed(keras.Model):
    def call(self, image):
        return image


def enlarged(x):
    return keras.ops.image.resize(x, (8, 9))


def sequential(image):
    return keras.Sequential([keras.layers.Conv2D(2, 1), keras.layers.Softmax()])(image)


@pytest.mark.parametrize(
    ("model", "activation"),
    [
        (ends(), None),
        (ends(keras.ops.log_softmax), None),
        (ends(keras.layers.ReLU(), keras.layers.Conv2D(2, 1), enlarged), None),
        (ends(keras.layers.Softmax()), "softmax"),
        (ends(keras.layers.Conv2D(1, 1, activation="sigmoid")), "sigmoid"),
        (ends(keras.ops.softmax, enlarged), "softmax"),
        (ends(keras.layers.Softmax(), keras.layers.Activation("linear", dtype="float32")), "softmax"),
        (ends(sequential), "softmax"),
        (ends(lambda x: keras.layers.Average()([keras.ops.softmax(x), keras.ops.softmax(2 * x)])), "softmax"),
        (keras.Sequential([keras.Input((8, 9, 3)), keras.layers.Conv2D(2, 1, activation="softmax")]), "softmax"),
        (keras.Model((m := ends()).input, m.outputs), None),
    ],
)
def test_a_crf_is_appended_to_logits_and_to_probabilities(model, activation):
    refined = zoo.with_crf(model)
    assert refined.layers[-1].from_logits is (activation is None) and refined.layers[-1].activation == activation
    refined.layers[-1].iterations = 0  # leaves only log-probabilities and the activation
    pixels = np.random.default_rng(0).random((1, 8, 9, 3), "float32")
    before, after = (keras.tree.flatten(each.predict_on_batch(pixels))[0] for each in (model, refined))
    before = before if activation else before - np.log(np.exp(before).sum(-1, keepdims=True))
    np.testing.assert_allclose(after, before, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (zoo.build("full_resolution", 2, filters=(4,), crf=True), "'full_resolution' has a CRF already"),
        (ends(keras.layers.ReLU()), "ends in relu, not logits or probabilities: append kseg.layers.ConvCRF"),
        (ends(keras.ops.softmax, keras.ops.log), "ends in softmax, log, not logits"),
        (ends(lambda x: [x, x + 1]), 'one output or a dictionary with "logits": append kseg.layers.ConvCRF'),
        (ends(lambda x: {"a": x, "b": x + 1}), "one output or a dictionary with"),
        (ends(keras.layers.Flatten()), r"must output \(N, H, W, num_classes\), not \(None, 144\)"),
        (Subclassed(name="mine"), "'mine' is a subclassed model or not built: append kseg.layers.ConvCRF"),
        (ends(Subclassed(name="inner")), "ends in 'inner', a subclassed model: append kseg.layers.ConvCRF"),
    ],
)
def test_a_model_that_a_crf_does_not_fit_is_refused_in_one_line(model, message):
    with pytest.raises(ValueError, match=message) as error:
        zoo.with_crf(model)
    assert "\n" not in str(error.value)
