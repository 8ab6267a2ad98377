"""Encoders of segmentation-models-pytorch against that library: features, dilation, and whole models."""

import numpy as np
import pytest

from kseg import encoders, pretrained, zoo
from kseg.checkpoints import export_smp, rename, revert
from kseg.encoders import mobilenet
from kseg.zoo import _smp_encoders, _smp_table
from kseg.zoo import smp as names
from tests.checkpoints import pytorch
from tests.layers.tracing import computed
from tests.zoo.test_smp import cut

pytestmark = [
    pytest.mark.usefixtures("numpy_initializers", "torchvision"),
    pytest.mark.filterwarnings("ignore:`timm-` encoders are deprecated"),
]

ODD, EVEN = (65, 98), (64, 96)


@pytest.mark.parametrize(
    ("name", "size", "output_stride"),
    [
        ("mobilenet_v2", ODD, 32),
        ("mobilenet_v2", EVEN, 8),
        ("timm-efficientnet-b0", ODD, 32),
        ("timm-efficientnet-b0", EVEN, 8),
        ("timm-tf_efficientnet_lite0", ODD, 32),
        ("efficientnet-b0", EVEN, 8),
        ("efficientnet-b1", ODD, 32),  # one of its convolutions rounds odd sizes up
        ("timm-mobilenetv3_large_075", ODD, 32),
        ("timm-mobilenetv3_small_100", EVEN, 16),
        ("tu-tf_mobilenetv3_small_minimal_100.in1k", ODD, 32),
        ("tu-efficientnet_b0", EVEN, 16),
        ("tu-resnet18.a1_in1k", EVEN, 8),
        ("tu-resnet18d", EVEN, 16),
        ("tu-convnextv2_atto", ODD, 32),
        ("tu-vgg11_bn", ODD, 32),
        ("tu-vgg11.tv_in1k", EVEN, 32),
        ("tu-densenet121", ODD, 32),
        ("timm-regnety_002", ODD, 32),
        ("tu-regnety_002", EVEN, 8),
    ],
)
def test_features_equal_those_of_the_library(name, size, output_stride):
    import segmentation_models_pytorch as smp

    known = _smp_encoders.canonical(name)
    row = names.ENCODERS[known]
    theirs = pytorch.randomized(smp.encoders.get_encoder(name, weights=None, output_stride=output_stride))
    factors = _smp_table.dilation(
        {"encoder_name": _smp_encoders.canonical(name), "encoder_output_stride": output_stride, "encoder_depth": 5}
    )
    model = encoders.build(row.name, weights=None, output_stride=output_stride, multi_grid=factors)
    arrays = rename(row.apart(pytorch.arrays(theirs)), row.rules)
    assert row.unused.items() <= {key: array.shape for key, array in arrays.items()}.items()
    pretrained.load(model, {key: array for key, array in arrays.items() if key not in row.unused})
    options = row.name if isinstance(row.name, dict) else {}
    mean = np.divide(options.get("mean", 255 * pytorch.MEAN), 255)
    std = np.divide(options.get("std", 255 * pytorch.DEVIATION), 255)
    pixels = pytorch.image(size)
    expected = [each for each in pytorch.outputs(theirs, pixels, mean, std)[1:] if each.shape[-1]]
    pytorch.assert_same(computed(model, pixels), expected)


def test_features_of_a_small_hrnet_equal_those_of_timm():
    import timm

    stages = {
        f"stage{branches}": {
            "num_modules": modules,
            "num_branches": branches,
            "block_type": "BASIC",
            "num_blocks": (1,) * branches,
            "num_channels": tuple(18 * 2**branch for branch in range(branches)),
            "fuse_method": "SUM",
        }
        for branches, modules in ((2, 1), (3, 2), (4, 1))
    }
    theirs = pytorch.randomized(timm.create_model("hrnet_w18", features_only=True, **stages))
    row = names.ENCODERS["tu-hrnet_w18"]
    assert row.name == "hrnet_w18"
    model = encoders.build({"name": row.name, "modules": [1, 2, 1], "depth": 1}, weights=None)
    arrays = rename(pytorch.arrays(theirs), row.rules)
    pretrained.load(model, arrays)
    pixels = pytorch.image(EVEN)
    pytorch.assert_same(computed(model, pixels), pytorch.outputs(theirs, pixels))
    assert [each.shape[1:3] for each in computed(model, pytorch.image((33, 70)))[::2]] == [
        (17, 35),
        (5, 9),
        (2, 3),
    ]
    again = revert(arrays, row.rules)
    assert {f"model.{name}": tuple(value.shape) for name, value in theirs.state_dict().items()} == {
        name: array.shape for name, array in again.items()
    }


@pytest.mark.parametrize("size", [(224, 224), (448, 224)])
def test_features_of_a_small_swin_equal_those_of_the_library(size):
    import segmentation_models_pytorch as smp

    known, small = "tu-swin_tiny_patch4_window7_224", {"depths": (1, 2, 1, 2), "num_heads": (1, 2, 3, 4)}
    theirs = smp.encoders.get_encoder(known, weights=None, img_size=size, embed_dim=12, **small)
    row = names.ENCODERS[known]
    model = encoders.build(
        {**row.name, "filters": 12, "depths": small["depths"], "heads": small["num_heads"]}, weights=None
    )
    state = pytorch.arrays(pytorch.randomized(theirs))
    arrays = rename(row.apart(state), row.rules)
    pretrained.load(model, arrays)
    pixels = pytorch.image(size)
    pytorch.assert_same(computed(model, pixels), pytorch.outputs(theirs, pixels)[2:])
    again = row.joined(revert(arrays, row.rules))
    assert again.keys() == state.keys()
    for key, array in again.items():
        np.testing.assert_array_equal(array, state[key])


def test_channels_of_all_members_equal_those_of_the_library():
    import segmentation_models_pytorch as smp

    for name, known in smp.encoders.encoders.items():
        if "efficientnet" in name and name in names.ENCODERS:
            options = names.ENCODERS[name].name
            found = mobilenet.channels(mobilenet.VARIANTS[options["name"]], options["features"])
            assert [3, *found] == known["params"]["out_channels"], name


ATTO = {"encoder_name": "tu-convnextv2_atto"}
NARROW = {"decoder_channels": 16, "decoder_atrous_rates": (2, 3, 4)}
FIVE = {"decoder_channels": (16, 16, 8, 8, 8)}
SHALLOW = {"encoder_depth": 3, "decoder_channels": (16, 16, 8)}
EXTENDED = (66, 99)
"""A size of which this network sees 64 x 96."""


@pytest.mark.parametrize(
    ("model", "config", "size"),
    [
        ("Unet", {"encoder_name": "tu-regnety_002.pycls_in1k", **FIVE}, EVEN),
        ("Unet", {**ATTO, **FIVE}, (71, 99)),
        ("FPN", {**ATTO, "decoder_pyramid_channels": 16}, EXTENDED),
        ("PAN", ATTO, (130, 163)),
        ("DeepLabV3Plus", {**ATTO, **NARROW}, (91, 125)),
        ("UPerNet", {**ATTO, "decoder_channels": 16}, EXTENDED),
        ("DeepLabV3Plus", {"encoder_name": "efficientnet-b0", **NARROW}, EVEN),
        ("Linknet", {"encoder_name": "mobilenet_v2", "encoder_depth": 3}, EVEN),
        ("UnetPlusPlus", {"encoder_name": "tu-densenet121", **SHALLOW}, EVEN),
        ("Unet", {"encoder_name": "tu-vgg11_bn", **SHALLOW}, (75, 101)),
        ("PSPNet", {"encoder_name": "tu-swin_tiny_patch4_window7_224", "img_size": [224, 448]}, (224, 448)),
    ],
)
@pytest.mark.filterwarnings("ignore:.*exceed the feature map:UserWarning")
def test_a_model_of_a_hub_folder_is_loaded_and_returns_there(model, config, size, tmp_path):
    import segmentation_models_pytorch as smp

    network = pytorch.randomized(getattr(smp, model)(**config, encoder_weights=None, classes=2))
    network.save_pretrained(tmp_path / "theirs")
    found = zoo.load(tmp_path / "theirs")
    pixels = pytorch.image(size)
    expected = pytorch.outputs(cut(network, size), pixels)
    pytorch.assert_same([pytorch.logits(found, pixels)], expected)
    if size == EXTENDED:  # the logits of the part that the library accepts, with its last row and column repeated
        inner = pytorch.outputs(network, pixels[:, :64, :96])[0]
        pytorch.assert_same([np.pad(inner, ((0, 0), (0, 2), (0, 3), (0, 0)), mode="edge")], expected)
    if sides := config.get("img_size"):  # `found` takes any size, and would be written for the default one
        arguments = pretrained.description_of(found)["arguments"] | {"input_shape": [*sides, 3]}
        sized = zoo.build(found.builder, **arguments, encoder_weights=None)
        sized.set_weights(found.get_weights())
        found = sized
    export_smp(found, tmp_path / "ours")
    again = smp.from_pretrained(tmp_path / "ours").eval()
    pytorch.assert_same(pytorch.outputs(cut(again, size), pixels), expected)


@pytest.mark.usefixtures("without_memory")
def test_a_size_that_is_computed_otherwise_there_is_refused(tmp_path):
    builder, arguments, _ = names.convert({}, "FPN", encoder_name="tu-swin_tiny_patch4_window7_224")
    model = zoo.build(builder, **(arguments | {"input_shape": [256, 256, 3], "encoder_weights": None}))
    with pytest.raises(
        ValueError, match=r"only for sides that are multiples of 224, not for 256x256: build .* \(None, None, 3\)"
    ):
        export_smp(model, tmp_path / "new")
