"""Models with weights of segmentation-models-pytorch against that library."""

import argparse
import json

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


SMALL = {"encoder_name": "resnet18", "classes": 2, "decoder_atrous_rates": (2, 3, 4), "decoder_channels": 32}


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
    ("model", "config", "sizes"),
    [
        ("Unet", {"encoder_name": "resnet18", "classes": 3}, pytorch.SIZES),
        ("Unet", {"encoder_name": "resnet34", "decoder_channels": (32, 16, 8, 8, 4)}, [(33, 65)]),
        ("DeepLabV3", {"encoder_name": "resnet50", "classes": 3}, pytorch.SIZES),
        ("DeepLabV3", {**SMALL, "encoder_output_stride": 16}, [(64, 96)]),
        ("DeepLabV3Plus", {"encoder_name": "resnet50", "classes": 3}, pytorch.SIZES),
        ("DeepLabV3Plus", {**SMALL, "encoder_output_stride": 8}, [(64, 96)]),
    ],
)
def test_the_model_of_a_hub_folder_gives_the_logits_of_the_library(model, config, sizes, tmp_path):
    import segmentation_models_pytorch as smp

    network = pytorch.randomized(getattr(smp, model)(encoder_weights=None, **config))
    network.save_pretrained(tmp_path)
    found = zoo.load(tmp_path)
    for size in sizes:
        pixels = pytorch.image(size)
        pytorch.assert_same([found.predict(pixels, verbose=0)], pytorch.outputs(cut(network, size), pixels))


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


def test_a_checkpoint_is_loaded_through_its_wrappers(tmp_path):
    import segmentation_models_pytorch as smp

    network = pytorch.randomized(smp.Unet("resnet18", encoder_weights=None, decoder_channels=(32, 16, 8, 8, 4)))
    network.save_pretrained(tmp_path)
    state = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    content = {"state_dict": state, "hyper_parameters": argparse.Namespace(lr=0.1), "best": np.float32(0.5)}
    torch.save(content, tmp_path / "last.ckpt")
    options = {"encoder_name": "resnet18", "decoder_channels": (32, 16, 8, 8, 4)}
    found = names.load(tmp_path / "last.ckpt", "Unet", **options)
    for ours, theirs in zip(found.get_weights(), zoo.load(tmp_path).get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    pretrained.save(found, tmp_path / "model.safetensors", classes=["background", "leaf"])
    assert zoo.load(tmp_path / "model.safetensors").classes == ("background", "leaf")
    for name in ("last.ckpt", "model.pth"):
        (tmp_path / "last.ckpt").replace(tmp_path / name)
        with pytest.raises(ValueError, match=r"is a PyTorch file .*: convert it in Python, .* kseg\.zoo\.smp\.load"):
            zoo.load(tmp_path / name)
        (tmp_path / name).replace(tmp_path / "last.ckpt")
