"""DeepLabV3 on mobile encoders against transformers."""

import json
from typing import ClassVar

import pytest
import torch

from kseg import checkpoints, zoo
from tests.zoo.cheap import CHEAP
from tests.zoo.of_transformers import OfTransformers


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
    found = describe(tmp_path, TestMobileNetV2.architecture, processor, output_stride=8, expand_ratio=6, num_labels=21)
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


def test_a_model_without_counterpart_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no counterpart in transformers with encoder=one of your own"):
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
