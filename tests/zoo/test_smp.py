"""Models with weights of segmentation-models-pytorch against that library."""

import argparse
import json
import re

import keras
import numpy as np
import pytest
import torch

from kseg import pretrained, zoo
from kseg.checkpoints import export_smp
from kseg.encoders import densenet, mit, resnet, vgg
from kseg.zoo import smp as names
from tests.checkpoints import pytorch

pytestmark = [
    pytest.mark.usefixtures("numpy_initializers", "torchvision"),
    pytest.mark.filterwarnings("ignore:.*exceed the feature map:UserWarning"),
]


@pytest.fixture(autouse=True)
def small_encoders(torchvision, monkeypatch):
    """Makes encoders of both libraries small: one block per stage, or few channels."""
    from segmentation_models_pytorch.encoders import encoders as theirs

    monkeypatch.setattr(torch.nn.Linear, "reset_parameters", lambda layer: None)  # of VGG's classifier
    once, few = (1, 1, 1, 1), (8, 8, 16, 16, 16)
    for table, name, variant, changes in (
        (resnet, "resnet18", {"depths": once}, {"layers": once}),
        (resnet, "resnext50_32x4d", {"depths": once}, {"layers": once}),
        (
            vgg,
            "vgg11_bn",
            {"filters": few},
            {
                "init_weights": False,
                "config": [8, "M", 8, "M", 16, 16, "M", 16, 16, "M", 16, 16, "M"],
                "out_channels": [*few, 16],
            },
        ),
        (
            densenet,
            "densenet121",
            {"depths": once, "stem": 8, "growth": 8},
            {"block_config": once, "num_init_features": 8, "growth_rate": 8, "out_channels": [3, 8, 16, 16, 16, 16]},
        ),
    ):
        ours = names.ENCODERS[name].name
        monkeypatch.setitem(table.VARIANTS, ours, table.VARIANTS[ours]._replace(**variant))
        monkeypatch.setitem(theirs[name], "params", {**theirs[name]["params"], **changes})
    monkeypatch.setitem(mit.VARIANTS, "mit_b0", ((8, 16, 40, 64), once))
    widths = {"embed_dims": [8, 16, 40, 64], "out_channels": [3, 0, 8, 16, 40, 64], "depths": once}
    monkeypatch.setitem(theirs["mit_b0"], "params", {**theirs["mit_b0"]["params"], **widths})


def cut(network, size: tuple[int, int]):
    """Makes the library accept any size, which it refuses, by cropping or extending like the builders of kseg.

    The logits of its DeepLabV3 would be larger than the image, and in DeepLabV3Plus the upsampled features larger than
    those at stride 4; on encoders that round down, they would be smaller.
    """
    network.requires_divisible_input_shape = False

    def fit(x, size):
        missing = [max(0, wanted - have) for wanted, have in zip(size, x.shape[2:], strict=True)]
        x = torch.nn.functional.pad(x, (0, missing[1], 0, missing[0]), mode="replicate")
        return x[:, :, : size[0], : size[1]]

    def forward(x):
        quarter = network.encoder(x)[2].shape[2:]
        enlarge = getattr(network.decoder, "up", torch.nn.Identity())
        hook = enlarge.register_forward_hook(lambda *call: fit(call[-1], quarter))
        logits = fit(network(x), size)
        hook.remove()
        return logits

    return forward


FIVE = {"decoder_channels": (16, 16, 8, 8, 4)}
THREE = {"encoder_depth": 3, "decoder_channels": (32, 32, 16)}
PLAIN = {"decoder_interpolation": "bilinear", "decoder_use_norm": False}
VGG = {"encoder_name": "vgg11_bn"}
ATROUS = {"decoder_atrous_rates": (2, 3, 4), "decoder_channels": 32}
EVEN, ODD = (64, 96), (65, 97)


@pytest.mark.parametrize(
    ("model", "encoder", "config", "sizes"),
    [
        ("Unet", "resnet18", {**FIVE, "classes": 3}, [EVEN, (97, 129)]),
        ("Unet", "resnet18", {**THREE, **PLAIN}, [ODD]),
        ("Unet", "densenet121", {**THREE, "decoder_attention_type": "scse"}, [(76, 101)]),
        ("Unet", "vgg11_bn", {**FIVE, **PLAIN}, [(75, 101)]),
        ("Unet", "vgg11_bn", FIVE, [EVEN, (75, 101)]),
        ("Unet", "mit_b0", FIVE, [(65, 102)]),
        ("Unet", "mit_b0", {**FIVE, **PLAIN}, [ODD]),
        ("DeepLabV3", "resnext50_32x4d", {**ATROUS, "classes": 3}, [ODD]),
        ("DeepLabV3", "resnet18", {**ATROUS, "encoder_depth": 4, "encoder_output_stride": 16}, [EVEN]),
        ("DeepLabV3", "resnet18", {**ATROUS, "encoder_depth": 3}, [EVEN]),
        ("DeepLabV3Plus", "resnet18", {**ATROUS, "encoder_output_stride": 8}, [ODD]),
        ("DeepLabV3Plus", "resnet18", {**ATROUS, "encoder_depth": 4, "encoder_output_stride": 8}, [EVEN]),
        ("DeepLabV3Plus", "mit_b0", ATROUS, [EVEN]),
        ("PSPNet", "densenet121", {"activation": "sigmoid"}, [EVEN, (127, 101)]),
        ("PSPNet", "vgg11_bn", {}, [(71, 97)]),
        ("PSPNet", "densenet121", {"encoder_depth": 4, "upsampling": 16, "decoder_use_norm": False}, [EVEN]),
        ("FPN", "mit_b0", {"decoder_pyramid_channels": 32}, [(96, 160)]),
        ("FPN", "densenet121", {"encoder_depth": 4, "upsampling": 2, "decoder_merge_policy": "cat"}, [EVEN]),
        ("Linknet", "densenet121", {"classes": 3}, [EVEN]),
        ("Linknet", "densenet121", {"encoder_depth": 3, "decoder_use_norm": "identity"}, [EVEN]),
        ("UnetPlusPlus", "vgg11_bn", {**FIVE, "classes": 3}, [EVEN]),
        ("UnetPlusPlus", "resnet18", {**THREE, "decoder_attention_type": "scse"}, [EVEN]),
        ("MAnet", "mit_b0", {**FIVE, "decoder_pab_channels": 8}, [EVEN]),
        ("MAnet", "densenet121", {**THREE, **PLAIN}, [EVEN]),
        ("PAN", "resnet18", {}, [(128, 160)]),  # 160 is odd after two halvings of stride 16
        ("PAN", "mit_b0", {"classes": 3}, [(128, 128)]),
        (
            "PAN",
            "vgg11_bn",
            {"encoder_depth": 3, "encoder_output_stride": 32, "decoder_interpolation": "nearest"},
            [EVEN],
        ),
        ("Segformer", "mit_b0", {"encoder_depth": 4}, [EVEN]),
        ("Segformer", "resnet18", {"decoder_segmentation_channels": 32}, [EVEN]),
        ("Segformer", "vgg11_bn", {"decoder_segmentation_channels": 32}, [(67, 97)]),
        ("UPerNet", "resnet18", {"decoder_channels": 16}, [ODD, (96, 64)]),
        ("UPerNet", "mit_b0", {"decoder_channels": 16, "classes": 3}, [EVEN]),
    ],
)
def test_the_model_of_a_hub_folder_gives_the_logits_of_the_library_and_returns_there(
    model, encoder, config, sizes, tmp_path
):
    import segmentation_models_pytorch as smp

    options = {"encoder_name": encoder, "encoder_weights": None, **config}
    network = pytorch.randomized(getattr(smp, model)(**options))
    network.save_pretrained(tmp_path / "theirs")
    found = zoo.load(tmp_path / "theirs")
    for size in sizes:
        pixels = pytorch.image(size)
        pytorch.assert_same([pytorch.logits(found, pixels)], pytorch.outputs(cut(network, size), pixels))
    export_smp(found, tmp_path / "ours")
    again = smp.from_pretrained(tmp_path / "ours")  # strict: no tensor is missing or left over
    state = again.state_dict()
    used = sum(p.numel() for name, p in network.named_parameters() if torch.equal(state[name], p))
    assert used == sum(int(np.prod(variable.shape)) for variable in found.trainable_variables)
    stored = model == "PSPNet" or "encoder_depth" in config or (model, encoder) == ("UnetPlusPlus", "vgg11_bn")
    if not stored:  # otherwise the library stores stages or convolutions that it does not use
        assert used == sum(parameter.numel() for parameter in network.parameters())
    pytorch.assert_same(pytorch.outputs(cut(again.eval(), size), pixels), pytorch.outputs(cut(network, size), pixels))


def test_logits_have_the_size_of_any_image_on_encoders_that_round_down():
    for model in names.MODELS.keys() - {"DPT"}:
        options = {key: option.default for key, option in names.MODELS[model].options.items()}
        dilated = "encoder_output_stride" in options  # which the library does not do with VGG
        options |= {"encoder_name": "tu-convnextv2_atto", "encoder_output_stride": 16} if dilated else VGG
        arguments = {**names.arguments_of(model, options), "encoder_weights": None, "input_shape": (81, 115, 3)}
        logits = zoo.build(names.MODELS[model].builder, arguments.pop("num_classes"), **arguments)
        assert logits.output_shape == (None, 81, 115, 1)


@pytest.mark.parametrize(
    ("model", "config"),
    [
        ("Linknet", {"encoder_name": "mit_b0"}),
        ("DeepLabV3", {"encoder_name": "vgg16"}),
        ("DeepLabV3", {"encoder_name": "mit_b0"}),
        ("Unet", {"encoder_name": "inceptionv4"}),
        ("Unet", {"decoder_attention_type": "scse", "encoder_name": "mit_b0"}),
        ("Unet", {"encoder_depth": 2}),
        ("FPN", {"encoder_depth": 3}),
        ("PSPNet", {"upsampling": 4}),
        ("Unet", {"decoder_attention_type": "cbam"}),
        ("Unet", {"decoder_use_norm": "layernorm"}),
        ("Unet", {"decoder_interpolation": "bicubic"}),
        ("Unet", {"activation": "tanh"}),
        ("Unet", {"new_option": 1}),
        ("Unet", {"img_size": 224}),
        ("FPN", {"img_size": 256, "encoder_name": "tu-swin_tiny_patch4_window7_224"}),
        ("DeepLabV3", {"decoder_aspp_separable": True}),
        ("DeepLabV3", {"upsampling": 2}),
        ("DeepLabV3Plus", {"aux_params": {"classes": 3}}),
    ],
)
def test_options_without_counterpart_raise_an_error_of_one_line(model, config):
    with pytest.raises(ValueError) as error:
        names.convert({}, model, **config)
    message = str(error.value)
    assert "\n" not in message and any(word in message for word in (next(iter(config)), "with encoder_output_stride=8"))


def test_a_former_name_of_an_option_comes_before_the_present_one_as_in_the_library():
    both = {"decoder_use_batchnorm": False, "decoder_use_norm": "batchnorm"}
    assert names.convert({}, "Unet", **both)[1]["batch_norm"] is False
    assert names.convert({}, "Unet", decoder_use_batchnorm=None)[1]["batch_norm"] is True


def test_the_error_for_a_damaged_folder_names_the_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        zoo.load(tmp_path)
    config = tmp_path / "config.json"
    for content in ("{", "[]", json.dumps({"classes": 3})):
        config.write_text(content)
        with pytest.raises(ValueError, match=r"config\.json"):
            zoo.load(tmp_path)
    config.write_text(json.dumps({"_model_class": "Unet"}))
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors"):
        zoo.load(tmp_path)


def test_missing_extra_and_misshapen_tensors_are_listed(tmp_path):
    import segmentation_models_pytorch as smp

    state = smp.FPN("resnet18", encoder_weights=None, decoder_pyramid_channels=8).state_dict()
    del state["encoder.conv1.weight"]
    state["decoder.p6.weight"], state["decoder.p5.bias"] = torch.zeros(3), torch.zeros(2)
    torch.save(state, tmp_path / "fpn.pth")
    listed = r"missing encoder/conv1/kernel; left over decoder\.p6\.weight; lateral_32/bias is \(2,\), expected \(8,\)"
    with pytest.raises(ValueError, match=listed):
        names.load(tmp_path / "fpn.pth", "FPN", encoder_name="resnet18", decoder_pyramid_channels=8)


def test_widths_beyond_the_depth_of_the_encoder_are_not_exported(tmp_path):
    import segmentation_models_pytorch as smp

    model = zoo.unet(2, encoder="resnet18", encoder_weights=None, encoder_depth=3, filters=(16, 8, 8, 4, 4))
    export_smp(model, tmp_path / "ours")
    assert smp.from_pretrained(tmp_path / "ours").decoder.blocks[2].conv2[0].out_channels == 8
    with pytest.raises(FileExistsError, match="is not empty: name another folder"):
        export_smp(model, tmp_path / "ours")


@pytest.mark.parametrize(
    ("builder", "options", "message"),
    [
        ("segnet", {}, "has no 'segnet', only the models of dpt, "),
        ("unet", {"encoder": "mobilenet_v2"}, "no unet with encoder='mobilenet_v2'"),
        ("unet", {"encoder": "resnet18", "crf": True}, "no unet with crf=True: it would need crf=False"),
        ("linknet", {"encoder": "resnet18", "filters": 16}, "no linknet with filters=16: it would need filters=32"),
        ("fpn", {"encoder": "resnet18"}, "no fpn with align_corners=False: it would need align_corners=True"),
    ],
)
def test_what_the_library_lacks_is_named_on_export(builder, options, message, tmp_path):
    image = keras.Input((8, 8, 3))
    arguments = {**zoo.BUILDERS[builder].defaults, "num_classes": 1, **options}
    arguments.pop("weights")
    model = pretrained.SegmentationModel.of(keras.Model(image, image), builder=builder, arguments=arguments)
    with pytest.raises(ValueError, match=re.escape(message)):
        export_smp(model, tmp_path / "folder")
    assert not any(tmp_path.iterdir())


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
