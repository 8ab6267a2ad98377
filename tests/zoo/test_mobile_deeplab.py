"""DeepLabV3 on mobile encoders against transformers."""

import json
from typing import ClassVar

import numpy as np
import pytest
import torch

from kseg import checkpoints, encoders, zoo
from tests.checkpoints import pytorch
from tests.zoo.cheap import CHEAP
from tests.zoo.of_transformers import OfTransformers
from tests.zoo.test_counts import COUNTS


class OfDeepLab(OfTransformers):
    @classmethod
    def network_of(cls, transformers, fields):
        """A network without a constant part in its scores, which would hide how they depend on the image."""
        network = super().network_of(transformers, fields)
        image = torch.rand((1, 3, 64, 96), generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            means = network(4 * image - 2).logits.mean((0, 2, 3))
        network.segmentation_head.classifier.convolution.bias.data -= means
        return network


class TestMobileNetV2(OfDeepLab):
    architecture = "MobileNetV2ForSemanticSegmentation"
    processor = "MobileNetV2ImageProcessorPil"
    processor_fields: ClassVar = {"do_center_crop": False}
    tiny = {
        "depth_multiplier": 0.35,
        "output_stride": 8,
        "classifier_dropout_prob": 0.3,
        "id2label": {0: "road", 1: "sky", 2: "car", 3: "tree"},
    }
    small_encoder: ClassVar = {"name": "mobilenet_v2_torchvision", "width": 0.25, "padding": "same", "epsilon": 1e-3}
    published = (
        {"output_stride": 16, "num_labels": 3, "tf_padding": False},
        {"name": "mobilenet_v2_torchvision", "epsilon": 1e-3},
    )
    unbuildable = {
        "hidden_act": "relu",
        "depth_divisible_by": 4,
        "min_depth": 16,
        "expand_ratio": 4,
        "first_layer_is_expansion": False,
        "output_stride": 4,
        "depth_multiplier": 1.3625,
        "classifier_dropout_prob": "much",
    }


class TestMobileViT(OfDeepLab):
    architecture = "MobileViTForSemanticSegmentation"
    processor = "SegformerImageProcessorPil"  # whose fields, unlike MobileViT's, have a mean
    tiny = {
        "neck_hidden_sizes": [8, 8, 12, 16, 20, 24, 96],
        "hidden_sizes": [12, 16, 20],
        "num_attention_heads": 2,
        "expand_ratio": 2.0,
        "mlp_ratio": 1.5,
        "hidden_dropout_prob": 0.2,
        "output_stride": 8,
        "aspp_out_channels": 16,
        "atrous_rates": [1, 2, 4],
        "aspp_dropout_prob": 0.3,
        "classifier_dropout_prob": 0.0,
        "id2label": {0: "road", 1: "sky", 2: "car", 3: "tree"},
    }
    small_encoder: ClassVar = {
        "name": "mobilevit_xxs",
        "filters": [8, 8, 12, 16, 20, 24],
        "attention_filters": [8, 8, 12],
    }
    published = (
        {
            "neck_hidden_sizes": [16, 16, 24, 48, 64, 80, 320],
            "hidden_sizes": [64, 80, 96],
            "hidden_dropout_prob": 0.05,
            "expand_ratio": 2.0,
            "output_stride": 16,
            "aspp_out_channels": 32,
            "atrous_rates": [1, 2, 3],
            "num_labels": 3,
        },
        {
            "name": "mobilevit_xxs",
            "mean": [value / (1 / 255) for value in (0.485, 0.456, 0.406)],
            "std": [value / (1 / 255) for value in (0.229, 0.224, 0.225)],
        },
    )
    unbuildable = {
        "hidden_act": "relu",
        "conv_kernel_size": 5,
        "qkv_bias": False,
        "layer_norm_eps": 1e-6,
        "output_stride": 4,
        "num_attention_heads": 3,
        "hidden_sizes": [12, 16],
        "neck_hidden_sizes": [8, 8, 12, 16, 24, 24, 96],
        "atrous_rates": [6, 12],
        "aspp_out_channels": "many",
    }


def describe(folder, architecture: str, processor: dict, **fields) -> dict:
    (folder / "config.json").write_text(json.dumps({"architectures": [architecture], **fields}))
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return checkpoints.describe_transformers(folder)


def test_the_published_mobilenet_is_read(tmp_path):
    """The fields of google/deeplabv3_mobilenet_v2_1.0_513 that matter, as transformers 4 wrote them."""
    processor = {
        "crop_size": 513, "do_center_crop": True, "do_normalize": True, "do_resize": True, "resample": 2, "size": 545,
        "feature_extractor_type": "MobileNetV2FeatureExtractor",
    }  # fmt: skip
    fields = {"output_stride": 8, "expand_ratio": 6, "num_labels": 21}
    with pytest.warns(UserWarning, match="does not know do_center_crop = true, so the model does not store how images"):
        found = describe(tmp_path, TestMobileNetV2.architecture, processor, **fields)
    constants = {"mean": [127.5] * 3, "std": [127.5] * 3}
    assert found["arguments"] == {
        "num_classes": 21,
        "encoder": {"name": "mobilenet_v2_torchvision", "padding": "same", "epsilon": 1e-3, **constants},
        "output_stride": 8,
        "rates": [],
        "dropout": 0.8,
        "input_shape": [None, None, 3],
    }
    assert found["builder"] == "deeplabv3" and found["processor"] == {}


def test_the_published_mobilevit_is_read(tmp_path):
    """The fields of apple/deeplabv3-mobilevit-xx-small that matter, as transformers 4 wrote them."""
    processor = {
        "crop_size": 512, "do_center_crop": True, "do_flip_channel_order": True, "do_resize": True, "resample": 2,
        "feature_extractor_type": "MobileViTFeatureExtractor", "size": 544,
    }  # fmt: skip
    fields, _ = TestMobileViT.published
    fields = {**fields, "aspp_out_channels": 256, "atrous_rates": [6, 12, 18], "num_labels": 21}
    with pytest.warns(UserWarning, match="does not know do_center_crop = true, so the model does not store how images"):
        found = describe(tmp_path, TestMobileViT.architecture, processor, **fields)
    assert found["arguments"] == {
        "num_classes": 21,
        "encoder": "mobilevit_xxs",
        "output_stride": 16,
        "rates": [6, 12, 18],
        "filters": 256,
        "dropout": 0.19,
        "input_shape": [None, None, 3],
    }
    assert found["builder"] == "deeplabv3" and found["processor"] == {}
    processor["do_center_crop"] = False
    with pytest.warns(UserWarning, match=r"does not apply attention_probs_dropout_prob = 0\.1"):
        describe(tmp_path, TestMobileViT.architecture, processor, attention_probs_dropout_prob=0.1)
    with pytest.raises(ValueError, match="cannot build do_flip_channel_order = true with"):
        describe(tmp_path, "SegformerForSemanticSegmentation", processor)


def test_the_channels_of_images_are_reversed_in_the_weights(transformers, tmp_path, numpy_initializers):
    network = TestMobileViT.network_of(transformers, TestMobileViT.tiny)
    processor = transformers.MobileViTImageProcessorPil(do_resize=False, do_center_crop=False)
    network.save_pretrained(tmp_path / "theirs")
    processor.save_pretrained(tmp_path / "theirs")
    model = zoo.load(tmp_path / "theirs")
    assert "mean" not in model.arguments["encoder"]
    pixels = np.random.default_rng(0).integers(0, 256, (65, 97, 3)).astype("uint8")

    def of_transformers(network, processor) -> np.ndarray:
        with torch.inference_mode():
            found = network(**processor(pixels, return_tensors="pt")).logits
            return torch.nn.functional.interpolate(found, pixels.shape[:2], mode="bilinear").numpy()

    expected = of_transformers(network, processor)
    pytorch.assert_same([pytorch.logits(model, pixels[None])], [expected.transpose(0, 2, 3, 1)])
    folder = checkpoints.export_transformers(model, tmp_path / "ours")  # for red, green, blue
    again = transformers.SegformerImageProcessorPil.from_pretrained(folder)
    pytorch.assert_same([of_transformers(type(network).from_pretrained(folder).eval(), again)], [expected])


def test_a_processor_without_a_class_is_that_of_the_model(tmp_path):
    found = describe(tmp_path, TestMobileNetV2.architecture, {"do_center_crop": False}, num_labels=3)
    assert found["arguments"]["encoder"]["mean"] == [127.5] * 3
    assert found["processor"] == {"size": {"shortest_edge": 256}, "resample": "bilinear"}
    with pytest.warns(UserWarning, match="does not know do_center_crop = true"):
        found = describe(tmp_path, TestMobileViT.architecture, {}, num_labels=3)
    assert "mean" not in found["arguments"]["encoder"]


@pytest.mark.parametrize(("options", "count"), [row[2:4] for row in COUNTS if "mobilevit" in str(row[2])])
def test_counts_are_those_of_transformers(options, count, transformers):
    filters, widths, expansion, _ = encoders.mobilevit.VARIANTS[options["encoder"]]
    config = transformers.MobileViTConfig(
        neck_hidden_sizes=[*filters, 1], hidden_sizes=list(widths), expand_ratio=float(expansion), num_labels=21
    )
    with torch.device("meta"):
        network = transformers.MobileViTForSemanticSegmentation(config)
    assert sum(parameter.numel() for parameter in network.parameters()) == count


def test_a_model_without_counterpart_is_refused(tmp_path):
    with pytest.raises(
        ValueError,
        match="no counterpart in transformers on an encoder of your own, only on mobilenet_v2_torchvision, mobilevit_",
    ):
        checkpoints.export_transformers(zoo.deeplabv3(2, **CHEAP["deeplabv3"]), tmp_path / "new")
    config = checkpoints.ARCHITECTURES[TestMobileNetV2.architecture].config
    plain = {"encoder": "mobilenet_v2_torchvision", "rates": (), "filters": 256}
    for changed, message in (
        ({"rates": None}, r"has rates=\(\), not None"),
        ({"filters": 128}, "has filters=256, not 128"),
        ({"extra_conv": True}, "has extra_conv=False, not True"),
        ({"encoder": {"name": "mobilenet_v2_torchvision", "first_blocks": True}}, "lacks first_blocks"),
    ):
        with pytest.raises(ValueError, match=message):
            config({**plain, **changed})
    assert not list(tmp_path.iterdir())
