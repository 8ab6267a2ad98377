"""UPerNet with ConvNeXt and Swin against transformers."""

import json
from typing import ClassVar

import numpy as np
import pytest
import safetensors.torch
import torch

from kseg import checkpoints, encoders, pretrained, zoo
from tests.checkpoints import pytorch
from tests.zoo.cheap import CHEAP
from tests.zoo.of_transformers import OfTransformers
from tests.zoo.test_counts import COUNTS

STAGES = ["stage1", "stage2", "stage3", "stage4"]
LABELS = {0: "road", 1: "sky", 2: "car", 3: "tree"}
HEAD = {"hidden_size": 16, "pool_scales": [1, 2, 3], "use_auxiliary_head": False}
CONVNEXT = {"model_type": "convnext", "hidden_sizes": [8, 12, 16, 24], "depths": [1, 1, 2, 1], "out_features": STAGES}


class OfUPerNet(OfTransformers):
    architecture = "UperNetForSemanticSegmentation"
    processor = "SegformerImageProcessorPil"
    enlarges = True


class TestUPerNetConvNeXt(OfUPerNet):
    small_encoder: ClassVar = {"name": "convnextv2_atto", "filters": [8, 12, 16, 24], "depths": [1, 1, 1, 1]}
    tiny = {"backbone_config": CONVNEXT | {"layer_scale_init_value": 0.5}, **HEAD, "id2label": LABELS}
    published = (
        {
            "backbone_config": CONVNEXT
            | {"model_type": "convnextv2", "hidden_sizes": [40, 80, 160, 320], "depths": [1, 1, 1, 1]},
            **HEAD,
            "num_labels": 3,
        },
        {"name": "convnextv2_atto", "depths": [1, 1, 1, 1]},
    )
    unbuildable = {
        "auxiliary_concat_input": True,
        "hidden_size": "large",
        "pool_scales": [1, "2"],
        "backbone_config": {"hidden_act": "relu"},
    }


class TestUPerNetSwin(OfUPerNet):
    small_encoder: ClassVar = {"name": "swin_tiny", "filters": 8, "depths": [1, 1, 1, 1], "heads": [1, 2, 2, 4]}
    tiny = {
        "backbone_config": {
            "model_type": "swin",
            "embed_dim": 8,
            "depths": [2, 1, 2, 1],
            "num_heads": [1, 2, 2, 4],
            "window_size": 3,
            "mlp_ratio": 2.0,
            "drop_path_rate": 0.3,
            "out_features": STAGES,
        },
        **HEAD,
        "id2label": LABELS,
    }
    published = (
        {
            "backbone_config": {
                "model_type": "swin",
                "embed_dim": 24,
                "depths": [1, 1, 1, 2],
                "out_features": STAGES,
            },
            **HEAD,
            "num_labels": 3,
        },
        {"name": "swin_tiny", "filters": 24, "depths": [1, 1, 1, 2]},
    )
    unbuildable = {"backbone_config": {"qkv_bias": False}}
    test_the_predictor_repeats_the_processor = None  # which does not depend on the backbone


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"backbone_config": None}, "backbone_config"),
        ({"backbone_config": {"depths": [1, 1, 1, 1]}}, "backbone_config has no model_type"),
        ({"backbone_config": CONVNEXT | {"patch_size": 8}}, "patch_size"),
        ({"backbone_config": CONVNEXT | {"out_features": STAGES[2:]}}, "out_features"),
        ({"backbone_config": CONVNEXT | {"depths": [1, 1]}}, "depths"),
        ({"backbone_config": CONVNEXT | {"layer_scale_init_value": 0}}, "layer_scale_init_value"),
        ({"backbone_config": {"model_type": "swin", "use_absolute_embeddings": True}}, "out_features"),
        ({"backbone_config": {"model_type": "swin", "out_features": STAGES, "embed_dim": 32}}, "num_heads"),
    ],
)
def test_fields_of_a_backbone_that_kseg_cannot_build_are_named(fields, named, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"architectures": [OfUPerNet.architecture], **fields}))
    (tmp_path / "preprocessor_config.json").write_text("{}")
    with pytest.raises(ValueError, match=named) as error:
        checkpoints.read_transformers(tmp_path)
    assert "\n" not in str(error.value) and "config.json: " in str(error.value)


def test_a_published_configuration_is_read(tmp_path):
    """The fields that transformers 4 wrote for a Swin-T, with those that only concern other tasks."""
    backbone = {
        "_name_or_path": "", "add_cross_attention": False, "architectures": None, "attention_probs_dropout_prob": 0.0,
        "depths": [2, 2, 6, 2], "drop_path_rate": 0.1, "embed_dim": 96, "encoder_stride": 32, "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0, "hidden_size": 768, "image_size": 224, "initializer_range": 0.02,
        "layer_norm_eps": 1e-05, "mlp_ratio": 4.0, "model_type": "swin", "num_channels": 3,
        "num_heads": [3, 6, 12, 24], "num_layers": 4, "out_features": STAGES, "patch_size": 4, "path_norm": True,
        "qkv_bias": True, "stage_names": ["stem", *STAGES], "use_absolute_embeddings": False, "window_size": 7,
    }  # fmt: skip
    fields = {
        "_commit_hash": None, "architectures": ["UperNetForSemanticSegmentation"], "auxiliary_channels": 256,
        "auxiliary_concat_input": False, "auxiliary_in_channels": 384, "auxiliary_loss_weight": 0.4,
        "auxiliary_num_convs": 1, "backbone_config": backbone, "hidden_size": 512, "id2label": LABELS,
        "initializer_range": 0.02, "label2id": {name: index for index, name in LABELS.items()},
        "loss_ignore_index": 255, "model_type": "upernet", "pool_scales": [1, 2, 3, 6], "torch_dtype": "float32",
        "transformers_version": None, "use_auxiliary_head": True,
    }  # fmt: skip
    processor = {
        "do_normalize": True, "do_reduce_labels": False, "do_rescale": True, "do_resize": True,
        "image_mean": [0.485, 0.456, 0.406], "image_processor_type": "SegformerImageProcessor",
        "image_std": [0.229, 0.224, 0.225], "resample": 2, "rescale_factor": 0.00392156862745098,
        "size": {"height": 512, "width": 512},
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(fields))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
    described = checkpoints.describe_transformers(tmp_path)
    assert described["arguments"]["encoder"] == "swin_tiny" and described["arguments"]["filters"] == 512
    assert described["processor"]["size"] == {"height": 512, "width": 512} and described["classes"][0] == "road"
    state = {  # names as transformers 4 wrote them
        "backbone.embeddings.patch_embeddings.projection.bias": (96,),
        "backbone.encoder.layers.0.blocks.1.attention.self.relative_position_bias_table": (169, 3),
        "backbone.encoder.layers.0.downsample.reduction.weight": (192, 384),
        "backbone.hidden_states_norms.stage1.weight": (96,),
        "decode_head.psp_modules.0.1.batch_norm.running_var": (512,),
    }
    rules = checkpoints.ARCHITECTURES[OfUPerNet.architecture].rules
    arrays = checkpoints.rename({name: np.zeros(shape) for name, shape in state.items()}, rules)
    assert all(key.startswith(("encoder/", "pyramid/")) for key in arrays)
    fields["backbone_config"] |= {"hidden_dropout_prob": 0.1}
    (tmp_path / "config.json").write_text(json.dumps(fields))
    with pytest.warns(UserWarning, match=r"does not apply hidden_dropout_prob = 0\.1"):
        checkpoints.describe_transformers(tmp_path)


def test_the_auxiliary_head_equals_that_of_transformers(transformers, tmp_path, numpy_initializers):
    fields = {**TestUPerNetConvNeXt.tiny, "use_auxiliary_head": True, "auxiliary_channels": 6, "auxiliary_num_convs": 2}
    network = OfUPerNet.network_of(transformers, fields)
    network.save_pretrained(tmp_path / "theirs")
    with pytest.warns(UserWarning, match=r"no preprocessor_config\.json"):
        model = zoo.load(tmp_path / "theirs")
    assert not any(key.startswith("auxiliary") for key in pretrained.weight_keys(model))
    options = {"auxiliary": True, "auxiliary_filters": 6, "auxiliary_convs": 2}
    model = zoo.build("upernet", **{**model.arguments, **options}, encoder_weights=None)
    state = checkpoints.read(tmp_path / "theirs" / "model.safetensors")
    pretrained.load(model, checkpoints.rename(state, checkpoints.ARCHITECTURES[OfUPerNet.architecture].rules))
    pixels = pytorch.image((65, 98))
    maps = []
    network.auxiliary_head.register_forward_hook(lambda *call: maps.append(call[-1]))
    with torch.inference_mode():
        logits = network(pytorch.normalized(pixels)).logits
        maps.append(torch.nn.functional.interpolate(maps[0], pixels.shape[1:3], mode="bilinear"))
    found = pytorch.logits(model, pixels)
    expected = [tensor.numpy().transpose(0, 2, 3, 1) for tensor in (logits, maps[-1])]
    pytorch.assert_same([found["logits"], found["auxiliary"]], expected)
    written = safetensors.torch.load_file(
        checkpoints.export_transformers(model, tmp_path / "ours") / "model.safetensors"
    )
    assert written.keys() == network.state_dict().keys()
    assert torch.equal(written["auxiliary_head.convs.1.conv.weight"], network.auxiliary_head.convs[1].conv.weight)


@pytest.mark.parametrize(("options", "count"), [row[2:4] for row in COUNTS if row[0] == "upernet"])
def test_counts_are_those_of_transformers(options, count, transformers):
    name = options["encoder"]
    if name.startswith("swin"):
        filters, depths, heads = encoders.swin.VARIANTS[name]
        backbone = transformers.SwinConfig(
            embed_dim=filters, depths=list(depths), num_heads=list(heads), out_features=STAGES
        )
    else:
        filters, depths = encoders.convnext.VARIANTS[name]
        kind = transformers.ConvNextV2Config if name.startswith("convnextv2") else transformers.ConvNextConfig
        backbone = kind(hidden_sizes=list(filters), depths=list(depths), out_features=STAGES)
    with torch.device("meta"):
        config = transformers.UperNetConfig(backbone_config=backbone, num_labels=150)
        network = transformers.UperNetForSemanticSegmentation(config)
    counted = [value for key, value in network.named_parameters() if not key.startswith("backbone.swin.layernorm")]
    assert sum(parameter.numel() for parameter in counted) == count


def test_a_model_without_counterpart_is_refused(tmp_path, numpy_initializers):
    with pytest.raises(ValueError, match="backbones of ConvNeXt and Swin for transformers, not one of your own"):
        checkpoints.export_transformers(zoo.upernet(2, **CHEAP["upernet"]), tmp_path / "new")
    config = checkpoints.ARCHITECTURES[OfUPerNet.architecture].config
    for name, option in (("convnext_tiny", "feature_norms"), ("swin_tiny", "always_shift")):
        with pytest.raises(ValueError, match=f"have {option}: build the encoder"):
            config({"encoder": {"name": name, option: False}, "input_shape": [None, None, 3]})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("strides", [[32], [2, 32], [8]])
def test_features_at_one_stride_are_too_few(strides):
    with pytest.raises(ValueError, match=rf"needs features at two strides from 4 on, the encoder has \{strides}"):
        zoo.upernet(2, encoder=lambda image: dict.fromkeys(strides, image), encoder_weights=None, auxiliary=True)
