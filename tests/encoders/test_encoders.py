"""The contract of every encoder; `extract` with names, models and functions."""

import itertools
import re

import keras
import numpy as np
import pytest
import safetensors.numpy

from kseg import encoders, pretrained, zoo
from kseg.encoders import ENCODERS
from kseg.encoders.channels import CAFFE
from tests.encoders.test_atrous import SMALL
from tests.layers.tracing import computed
from tests.zoo.cheap import encoder_to

pytestmark = pytest.mark.usefixtures("numpy_initializers")

SMALLEST = (
    "efficientnet_lite0",
    "vgg16",
    "resnet18",
    "resnet50",
    "resnet50_v1",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "efficientnet_b0",
    "efficientnet_v2_b0",
    "densenet121",
    "convnext_tiny",
)


def shapes(features: encoders.Features) -> dict:
    return {stride: tuple(feature.shape[1:]) for stride, feature in features.by_stride.items()}


# The first of those that differ in their depths only.
DISTINCT = {
    (str(entry.build.func), str(entry.build.args[1:]), entry.channels): name
    for name, entry in reversed(ENCODERS.items())
}
# Deeper members of families whose channels follow from the same formula, or are compared with those of the library.
DEEP = re.compile(r"efficientnet_(b[1-7]|lite[1-4])_timm|regnety_(?!002)\d+|hrnet_w32|mobilenet_v3_\w+_timm")


@pytest.mark.parametrize("name", [name for name in DISTINCT.values() if not DEEP.fullmatch(name)])
def test_strides_channels_and_sizes_equal_the_table(name, without_memory):
    known = ENCODERS[name]
    image = keras.Input((65, 97, 3))
    features = encoders.extract(image, name, weights=None)
    assert list(features.by_stride) == sorted(features.by_stride) == list(known.strides)
    heights, widths = known.sizes(65), known.sizes(97)
    assert shapes(features) == {
        stride: (heights[stride], widths[stride], channels)
        for stride, channels in zip(known.strides, known.channels, strict=True)
    }
    encoder = keras.Model(image, list(features.by_stride.values())).get_layer("encoder")
    layers = [layer for layer in encoder.layers if layer.name != "size"]
    assert [layers[0].name, layers[1].name] == ["image", "normalization"]
    assert not any(isinstance(layer, keras.layers.Rescaling | keras.layers.Normalization) for layer in layers[2:])


@pytest.mark.parametrize(("name", "output_stride"), [*zip(SMALLEST, itertools.cycle([8, 16, 32]))])
def test_the_output_stride_limits_the_strides_but_not_the_stages(name, output_stride, without_memory):
    image = keras.Input((65, 97, 3))
    features = encoders.extract(image, name, weights=None, output_stride=output_stride, penultimate=True)
    known = ENCODERS[name]
    assert list(features.by_stride) == [stride for stride in known.strides if stride <= output_stride]
    for feature, stride, width in (
        (features.coarsest, output_stride, known.channels[-1]),
        (features.penultimate, min(output_stride, 16), known.channels[-2]),
    ):
        assert feature.shape[1:] == (known.sizes(65)[stride], known.sizes(97)[stride], width)


def test_penultimate_of_an_own_encoder_is_its_second_coarsest_feature():
    image = keras.Input((32, 32, 3))
    assert encoders.extract(image, own_model(32), penultimate=True).penultimate.shape[-1] == 4
    with pytest.raises(ValueError, match="at least two features"):
        encoders.extract(image, lambda image: {1: image}, penultimate=True)


def test_later_stages_are_left_out(without_memory):
    image = keras.Input((33, 65, 3))
    for encoder, depth in (("resnet18", 3), ("convnext_tiny", 4), ("vgg16", 3), (encoder_to(16)["encoder"], 3)):
        whole = encoders.extract(image, encoder, weights=None)
        features = encoders.extract(image, encoder, weights=None, depth=depth, output_stride=2**depth)
        kept = {stride: shape for stride, shape in shapes(whole).items() if stride <= 2**depth}
        assert shapes(features) == kept


@pytest.mark.parametrize("name", ["efficientnet_lite0", "mobilenet_v3_small", "efficientnet_b0", "convnext_tiny"])
def test_two_builds_have_the_same_weight_paths(name, without_memory):
    first, second = (pretrained.weight_keys(encoders.build(name, weights=None)) for _ in range(2))
    assert list(first) == list(second) and first


@pytest.mark.parametrize("name", ["efficientnet_lite0", "mobilenet_v2"])
def test_integers_and_floats_give_the_same_features(name):
    image = keras.Input((32, 32, 3))
    model = keras.Model(image, encoders.extract(image, name, weights=None).by_stride[2])  # all others follow from it
    pixels = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), "uint8")
    np.testing.assert_array_equal(computed(model, pixels), computed(model, pixels.astype("float32")))


def test_mixed_precision_normalizes_in_float32(set_dtype_policy):
    set_dtype_policy("mixed_bfloat16")
    features = encoders.extract(keras.Input((32, 32, 3)), "mobilenet_v2", weights=None)
    encoder = encoders.build("efficientnet_lite0", weights=None)
    image = keras.Input((32, 32, 3))
    checked = keras.Model(image, encoders.extract(image, "vgg16", weights=None)[32]).get_layer("encoder")
    normalized = keras.Model(checked.input, checked.get_layer("normalization").output)
    pixels = np.full((1, 32, 32, 3), 200.3, "float32")  # bfloat16 would make 200 of it
    np.testing.assert_allclose(computed(normalized, pixels)[0, 0, 0], pixels[0, 0, 0] - CAFFE.mean, rtol=1e-5)
    assert encoder.get_layer("normalization").compute_dtype == "float32"
    assert {feature.dtype for feature in [*features.by_stride.values(), *encoder.outputs]} == {"bfloat16"}


@pytest.mark.parametrize("suffix", [".weights.h5", ".safetensors"])
def test_encoder_weights_are_read_from_a_file(suffix, tmp_path):
    image = keras.Input((32, 32, 3))
    encoder = encoders.build("efficientnet_lite0", weights=None)
    path = tmp_path / f"encoder{suffix}"
    if suffix == ".safetensors":
        pretrained.save(encoder, path, builder="encoder", arguments={})
    else:
        encoder.save_weights(path)
    model = keras.Model(image, encoders.extract(image, "efficientnet_lite0", weights=path)[32]).get_layer("encoder")
    for found, expected in zip(model.get_weights(), encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", [SMALL["convnext_tiny"], "mobilenet_v3_small", "vgg16"], ids=str)
def test_a_saved_encoder_loads_with_the_same_features(name, tmp_path):
    encoder = encoders.build(name, weights=None, output_stride=16)
    encoder.save(tmp_path / "encoder.keras")
    loaded = keras.saving.load_model(tmp_path / "encoder.keras")
    pixels = np.random.default_rng(0).uniform(0, 255, (1, 33, 48, 3)).astype("float32")
    for found, expected in zip(computed(loaded, pixels), computed(encoder, pixels), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)


def own(image) -> dict:
    fine = keras.layers.Conv2D(4, 3, strides=4, padding="same", name="fine")(image)
    return {8: keras.layers.Conv2D(5, 3, strides=2, padding="same", name="coarse")(fine), 4: fine}


def own_model(size: int | None) -> keras.Model:
    image = keras.Input((size, size, 3))
    return keras.Model(image, list(own(image).values()), name="mine")


def backbone() -> keras.Model:
    """A model with an output of another kind, and with the attribute of KerasHub's backbones."""
    image = keras.Input((None, None, 3))
    coarse, fine = own(image).values()
    model = keras.Model(image, keras.layers.GlobalAveragePooling2D()(coarse), name="backbone")
    model.pyramid_outputs = {"P2": fine, "P3": coarse}
    return model


@pytest.mark.parametrize(
    ("encoder", "size"), [(own_model(32), 32), (own_model(None), None), (own, 33), (backbone(), 33)]
)
def test_models_backbones_and_functions_are_encoders(encoder, size):
    image = keras.Input((size, size, 3))
    features = encoders.extract(image, encoder, output_stride=8)
    sides = {32: (8, 4), 33: (9, 5), None: (None, None)}[size]
    assert shapes(features) == {4: (sides[0], sides[0], 4), 8: (sides[1], sides[1], 5)}
    assert keras.Model(image, list(features.by_stride.values())).get_layer("encoder")


def test_strides_of_an_own_model_are_right_for_small_odd_images():
    x = image = keras.Input((None, None, 3), name="pixels")
    features = []
    for width in range(4, 9):
        x = keras.layers.Conv2D(width, 3, strides=2, padding="same")(x)
        features.append(x)
    found = encoders.extract(keras.Input((65, 33, 3)), keras.Model(image, features, name="mine"))
    widths = {stride: feature.shape[-1] for stride, feature in found.by_stride.items()}
    assert widths == dict(zip((2, 4, 8, 16, 32), range(4, 9), strict=True))


class Subclassed(keras.Model):
    def call(self, image):
        fine = keras.ops.average_pool(image, 2, strides=2)
        return [fine, keras.ops.average_pool(fine, 2, strides=2)]


def test_a_subclassed_model_is_refused_with_the_line_that_makes_it_an_encoder():
    encoder = Subclassed(name="mine")
    message = one_line_error(encoder)
    assert message.startswith("mine is a subclassed model")
    names = {"keras": keras, "encoder": encoder}
    exec(message.partition("wrap it, ")[2], names)
    assert shapes(encoders.extract(keras.Input((32, 48, 3)), names["encoder"])) == {2: (16, 24, 3), 4: (8, 12, 3)}


@pytest.mark.parametrize("size", [224, None])
def test_the_error_for_a_model_with_one_output_has_the_line_that_gives_it_several(size, without_memory):
    m = keras.applications.VGG16(include_top=False, weights=None, input_shape=(size, size, 3))
    features = encoders.extract(keras.Input((size, size, 3)), m)
    with pytest.raises(ValueError, match="stride 8, but the encoder has only stride 32: pass encoder="):
        features[8]
    with pytest.raises(ValueError, match="skips, but the encoder has only stride 32: pass encoder=") as error:
        zoo.unet(3, encoder=m, input_shape=(size, size, 3))
    line = str(error.value).partition("pass encoder=")[2].partition(", where")[0]
    taken = encoders.extract(keras.Input((size, size, 3)), eval(line, {"keras": keras, "m": m}))
    assert {stride: feature.shape[-1] for stride, feature in taken.by_stride.items()} == {
        2: 128, 4: 256, 8: 512, 16: 512, 32: 512,
    }  # fmt: skip
    assert len(taken.skips) == 4 and taken.coarsest is taken[32]


def test_the_error_contains_that_line_only_if_it_helps(without_memory):
    pixels = keras.Input((None, None, 3))
    rescaled = keras.layers.Rescaling(1 / 127.5, -1)(pixels)
    m = keras.applications.MobileNetV2(include_top=False, weights=None, input_tensor=rescaled)
    with pytest.raises(ValueError, match="output_stride=16, but your encoder ends at stride 32: pass") as error:
        zoo.deeplabv3(3, encoder=m)
    line = str(error.value).partition("pass encoder=")[2].partition(", where")[0]
    assert zoo.deeplabv3plus(3, encoder=eval(line, {"keras": keras, "m": m})).output_shape[-1] == 3
    coarse = keras.Sequential([pixels, keras.layers.Conv2D(4, 3, 2), keras.layers.Conv2D(4, 3, 4)])
    with pytest.raises(ValueError, match=r"stride 32, but the encoder has only stride 8$"):
        zoo.fcn32(3, encoder=coarse)
    with pytest.raises(ValueError, match="skips, but the encoder has only stride 8: pass") as error:
        zoo.unet(3, encoder=coarse)
    line = str(error.value).partition("pass encoder=")[2].partition(", where")[0]
    features = encoders.extract(keras.Input((64, 64, 3)), eval(line, {"keras": keras, "m": coarse}))
    assert list(features.by_stride) == [2, 8]
    outer = keras.Input((None, None, 3))
    with pytest.raises(ValueError, match=r"stride 32: pass a keras.Model with several outputs$"):
        zoo.unet(3, encoder=keras.Model(outer, m(keras.layers.Rescaling(1.0)(outer))))


@pytest.mark.parametrize("encoder", [None, 18, Subclassed])
def test_the_error_for_an_encoder_of_a_wrong_type_names_it(encoder):
    with pytest.raises(TypeError, match=r"encoder must be a name .* got (None|18|the class Subclassed: pass an)"):
        zoo.unet(2, encoder=encoder)


def test_an_image_too_small_for_a_net_that_rounds_down_is_refused(without_memory):
    for shape in ((20, 40, 3), (40, 31, 3)):
        with pytest.raises(ValueError, match=r"needs sides of 32 pixels or more, got (20|31)"):
            encoders.extract(keras.Input(shape), "vgg16", weights=None)
    image = keras.Input((None, None, 3))
    model = keras.Model(image, encoders.extract(image, "vgg16", weights=None, output_stride=8)[8])
    with pytest.raises(ValueError, match="needs sides of 8 pixels or more, got 7"):
        model.predict_on_batch(np.zeros((1, 7, 9, 3), "uint8"))


def one_line_error(*arguments, **options) -> str:
    with pytest.raises(ValueError) as error:
        encoders.extract(keras.Input((32, 32, 3)), *arguments, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_invalid_arguments_raise_errors_of_one_line(tmp_path):
    assert "resnet50" in one_line_error("resnet5O")
    assert "efficientnet_lite0" in one_line_error("zzz")
    assert "output_stride must be 8, 16 or 32, got 4" in one_line_error("vgg16", output_stride=4)
    assert "encoder_depth must be 3, 4 or 5, got 2" in one_line_error("vgg16", depth=2)
    assert "your encoder ends at stride 32" in one_line_error(lambda x: {8: x, 32: x}, output_stride=16)
    assert "multi_grid applies only to encoders by name" in one_line_error(own_model(None), multi_grid=(1, 2))
    for name in ("efficientnet_lite0", "mobilenet_v2", "resnet18"):
        assert "multi_grid has 99 factors" in one_line_error(name, weights=None, multi_grid=(1,) * 99)
    assert "imagnet" in one_line_error("vgg16", weights="imagnet")
    assert "{stride: feature}" in one_line_error(lambda image: [image])
    image = keras.Input((None, None, 3))
    twice = keras.Model(image, [keras.layers.Conv2D(2, 3, strides=2, padding="same")(image) for _ in range(2)])
    assert "share a stride: [2, 2]" in one_line_error(twice)
    file = tmp_path / "timm.safetensors"
    safetensors.numpy.save_file({"conv1.weight": np.ones((64, 3, 7, 7), "float32")}, file)
    reader = "does (conv1.weight): kseg.zoo.smp.load reads whole models, kseg.encoders.resnet.convert encoders"
    assert reader in one_line_error("resnet18", weights=file)
