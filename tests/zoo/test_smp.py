"""Models with weights of segmentation-models-pytorch against that library."""

import json

import keras
import numpy as np
import pytest
import torch

from kseg import pretrained, zoo
from kseg.zoo import smp as names
from tests.checkpoints import pytorch

pytestmark = [
    pytest.mark.usefixtures("numpy_initializers", "torchvision"),
    pytest.mark.filterwarnings("ignore:.*exceed the feature map:UserWarning"),
]


def build(model: str, **config):
    import segmentation_models_pytorch as smp

    return getattr(smp, model)(encoder_weights=None, **config)


def ported(network, model: str, **config) -> keras.Model:
    builder, arguments, arrays = names.convert(pytorch.arrays(network), model, **config)
    return pretrained.load(zoo.build(builder, encoder_weights=None, **arguments), arrays)


@pytest.mark.parametrize("encoder", ["resnet18", "resnet34"])
def test_unet(encoder):
    config = {"encoder_name": encoder, "classes": 3}
    if encoder == "resnet34":
        config["decoder_channels"] = (32, 16, 8, 8, 4)
    network = pytorch.randomized(build("Unet", **config))
    model = ported(network, "Unet", **config)
    for size in pytorch.SIZES if encoder == "resnet18" else [(33, 65)]:
        pixels = pytorch.image(size)
        pytorch.assert_same([model.predict(pixels, verbose=0)], pytorch.outputs(network, pixels))


def cut(network, size: tuple[int, int]):
    """Makes the library accept any size, which it refuses, by cropping like the builders of kseg.

    The logits of its DeepLabV3 would be larger than the image, and in DeepLabV3Plus the upsampled features larger than
    those at stride 4.
    """
    network.requires_divisible_input_shape = False
    quarter = [-(-side // 4) for side in size]

    def forward(x):
        enlarge = getattr(network.decoder, "up", torch.nn.Identity())
        hook = enlarge.register_forward_hook(lambda *call: call[-1][:, :, : quarter[0], : quarter[1]])
        logits = network(x)[:, :, : size[0], : size[1]]
        hook.remove()
        return logits

    return forward


@pytest.mark.parametrize(
    ("model", "config"),
    [
        ("DeepLabV3", {"encoder_name": "resnet50", "classes": 3}),
        ("DeepLabV3", {"encoder_name": "resnet18", "classes": 2, "encoder_output_stride": 16}),
        ("DeepLabV3Plus", {"encoder_name": "resnet50", "classes": 3}),
        ("DeepLabV3Plus", {"encoder_name": "resnet18", "classes": 2, "encoder_output_stride": 8}),
    ],
)
def test_deeplab(model, config):
    small = config["encoder_name"] == "resnet18"
    if small:
        config = {**config, "decoder_atrous_rates": (2, 3, 4), "decoder_channels": 32}
    network = pytorch.randomized(build(model, **config))
    found = ported(network, model, **config)
    for size in [(64, 96)] if small else pytorch.SIZES:
        pixels = pytorch.image(size)
        pytorch.assert_same([found.predict(pixels, verbose=0)], pytorch.outputs(cut(network, size), pixels))


@pytest.mark.parametrize("model", ["Unet", "DeepLabV3", "DeepLabV3Plus"])
def test_names_and_shapes_equal_those_of_the_library_for_101_layers(model, without_memory):
    with torch.device("meta"):
        network = build(model, encoder_name="resnet101", classes=2)
    state = {key: np.broadcast_to(np.float32(0), tensor.shape) for key, tensor in network.state_dict().items()}
    builder, arguments, arrays = names.convert(state, model, encoder_name="resnet101", classes=2)
    built = zoo.build(builder, encoder_weights=None, **arguments)
    expected = {key: tuple(variable.shape) for key, variable in pretrained.weight_keys(built).items()}
    assert {key: array.shape for key, array in arrays.items()} == expected


@pytest.mark.parametrize(
    ("model", "config"),
    [
        ("FPN", {}),
        ("Unet", {"encoder_name": "vgg16"}),
        ("Unet", {"encoder_depth": 4}),
        ("Unet", {"decoder_attention_type": "scse"}),
        ("Unet", {"decoder_use_norm": "layernorm"}),
        ("Unet", {"decoder_use_batchnorm": False}),
        ("Unet", {"decoder_interpolation": "bilinear"}),
        ("Unet", {"activation": "tanh"}),
        ("Unet", {"new_option": 1}),
        ("DeepLabV3", {"decoder_aspp_separable": True}),
        ("DeepLabV3", {"upsampling": 2}),
        ("DeepLabV3Plus", {"aux_params": {"classes": 3}}),
    ],
)
def test_options_without_counterpart_raise_an_error_of_one_line(model, config):
    with pytest.raises(ValueError) as error:
        names.convert({}, model, **config)
    message = str(error.value)
    assert "\n" not in message and (next(iter(config), "FPN") in message or "decoder_use_norm" in message)


def test_the_error_for_a_damaged_folder_names_the_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        names.read_folder(tmp_path)
    config = tmp_path / "config.json"
    for content in ("{", "[]", json.dumps({"classes": 3})):
        config.write_text(content)
        with pytest.raises(ValueError, match=r"config\.json"):
            names.read_folder(tmp_path)
    config.write_text(json.dumps({"_model_class": "Unet"}))
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors"):
        names.read_folder(tmp_path)
