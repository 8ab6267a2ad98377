"""DPT against transformers and segmentation-models-pytorch."""

from typing import ClassVar

import numpy as np
import pytest
import torch

from kseg import checkpoints, encoders, pretrained, zoo
from kseg.zoo import smp as names
from tests.checkpoints import pytorch
from tests.layers.tracing import computed
from tests.zoo.cheap import CHEAP
from tests.zoo.of_transformers import MEAN, STD, OfTransformers
from tests.zoo.test_counts import COUNTS


class TestDPT(OfTransformers):
    architecture = "DPTForSemanticSegmentation"
    processor = "DPTImageProcessorPil"
    size: ClassVar = {"height": 64, "width": 64}
    enlarges = True
    tiny = {
        "hidden_size": 12,
        "num_hidden_layers": 5,
        "num_attention_heads": 2,
        "intermediate_size": 20,
        "image_size": 64,
        "backbone_out_indices": [0, 1, 3, 4],
        "readout_type": "project",
        "neck_hidden_sizes": [6, 8, 10, 12],
        "fusion_hidden_size": 8,
        "use_batch_norm_in_fusion_residual": True,
        "use_auxiliary_head": False,
        "semantic_classifier_dropout": 0.2,
        "id2label": {0: "road", 1: "sky", 2: "car", 3: "tree"},
    }
    small_encoder: ClassVar = {
        "name": "vit_tiny",
        "filters": 8,
        "depth": 4,
        "heads": 2,
        "interpolation": "bilinear",
    }
    published = (
        {
            "hidden_size": 192,
            "num_hidden_layers": 4,
            "num_attention_heads": 3,
            "intermediate_size": 768,
            "image_size": 224,
            "backbone_out_indices": [0, 1, 2, 3],
            "readout_type": "add",
            "neck_hidden_sizes": [6, 8, 10, 12],
            "fusion_hidden_size": 8,
            "num_labels": 3,
        },
        {"name": "vit_tiny", "depth": 4, "interpolation": "bilinear", "epsilon": 1e-12},
    )
    unbuildable = {
        "is_hybrid": True,
        "backbone_config": "dinov2",
        "hidden_act": "relu",
        "readout_type": "mean",
        "reassemble_factors": [2, 1, 1, 0.5],
        "backbone_out_indices": [0, 1, 2, 3],
        "use_bias_in_fusion_residual": True,
        "head_in_index": 0,
        "patch_size": [8, 16],
        "num_attention_heads": 5,
    }

    def scores(self, network, x):
        """The network on whole patches, and of any rectangle, which its `forward` takes for a square."""
        patch = network.config.patch_size
        rows, columns = (-(-side // patch) for side in x.shape[2:])
        size = rows * patch, columns * patch
        x = torch.nn.functional.pad(x, (0, size[1] - x.shape[3], 0, size[0] - x.shape[2]))
        states = network.dpt(x, output_hidden_states=True).hidden_states[1:]
        states = [states[index] for index in network.config.backbone_out_indices]
        return torch.nn.functional.interpolate(network.head(network.neck(states, rows, columns)), size, mode="bilinear")

    def logits(self, network, pixels, mean, std):
        height, width = pixels.shape[1:3]
        x = torch.from_numpy(((pixels / 255 - np.float32(mean)) / np.float32(std)).transpose(0, 3, 1, 2).copy()).float()
        with torch.inference_mode():
            return self.scores(network, x)[:, :, :height, :width].numpy().transpose(0, 2, 3, 1)

    def test_square_images_equal_the_whole_network(self, network, model):
        pixels = pytorch.image((80, 80))  # an odd number of patches
        x = ((pixels / 255 - np.float32(MEAN)) / np.float32(STD)).transpose(0, 3, 1, 2).astype("float32")
        with torch.inference_mode():
            logits = network(torch.from_numpy(x)).logits
            assert logits.shape[2:] == (96, 96)
            expected = torch.nn.functional.interpolate(logits, (80, 80), mode="bilinear").numpy().transpose(0, 2, 3, 1)
        pytorch.assert_same([pytorch.logits(model, pixels)], [expected])

    def test_the_auxiliary_head_equals_that_of_transformers(self, transformers, tmp_path):
        network = self.network_of(transformers, {**self.tiny, "readout_type": "ignore", "use_auxiliary_head": True})
        maps = []
        network.auxiliary_head.register_forward_hook(lambda *call: maps.append(call[-1]))
        network.save_pretrained(tmp_path / "theirs")
        with pytest.warns(UserWarning, match=r"no preprocessor_config\.json"):
            model = zoo.load(tmp_path / "theirs")
        model = zoo.build("dpt", **{**model.arguments, "auxiliary": True}, encoder_weights=None)
        state = checkpoints.read(tmp_path / "theirs" / "model.safetensors")
        arrays = checkpoints.rename(state, checkpoints.ARCHITECTURES[self.architecture].rules)
        pretrained.load(model, {key: arrays[key] for key in pretrained.weight_keys(model)})
        pixels = pytorch.image((64, 64))
        with torch.inference_mode():
            logits = network(pytorch.normalized(pixels)).logits
            maps.append(torch.nn.functional.interpolate(maps[0], (64, 64), mode="bilinear"))
        found = computed(model, pixels)
        expected = [tensor.numpy().transpose(0, 2, 3, 1) for tensor in (logits, maps[-1])]
        pytorch.assert_same([found["logits"], found["auxiliary"]], expected)
        folder = checkpoints.export_transformers(model, tmp_path / "ours")
        again = type(network).from_pretrained(folder)
        assert torch.equal(again.auxiliary_head.head[4].weight, network.auxiliary_head.head[4].weight)


def test_a_file_without_the_class_of_its_processor_has_the_values_of_dpt(tmp_path):
    (tmp_path / "config.json").write_text('{"architectures": ["DPTForSemanticSegmentation"]}')
    (tmp_path / "preprocessor_config.json").write_text('{"keep_aspect_ratio": true, "ensure_multiple_of": 32}')
    found = checkpoints.describe_transformers(tmp_path)
    rule = {"keep_aspect_ratio": True, "ensure_multiple_of": 32, "resample": "bicubic", "enlarged": True}
    assert found["processor"] == {"size": {"height": 384, "width": 384}, **rule}
    assert found["arguments"]["encoder"]["mean"] == [127.5] * 3


@pytest.mark.parametrize(
    ("options", "count"), [row[2:4] for row in COUNTS if row[0] == "dpt" and "first_units" not in row[2]]
)
def test_counts_are_those_of_the_library(options, count, transformers):
    variant = encoders.vit.VARIANTS[options["encoder"]["name"]]
    config = transformers.DPTConfig(
        hidden_size=variant["filters"],
        num_hidden_layers=variant["depth"],
        num_attention_heads=variant["heads"],
        intermediate_size=4 * variant["filters"],
        neck_hidden_sizes=list(options.get("level_filters", (96, 192, 384, 768))),
        use_batch_norm_in_fusion_residual=True,
        use_auxiliary_head=False,
        num_labels=150,
    )
    with torch.device("meta"):
        network = transformers.DPTForSemanticSegmentation(config)
    unused = ("dpt.layernorm", "neck.fusion_stage.layers.0.residual_layer1")
    counted = [value for key, value in network.named_parameters() if not key.startswith(unused)]
    assert sum(parameter.numel() for parameter in counted) == count


SMALL = {"decoder_intermediate_channels": (6, 8, 10, 12), "decoder_fusion_channels": 8, "classes": 3}


def of_smp(network, pixels) -> np.ndarray:
    with torch.inference_mode():
        found = network(torch.from_numpy((pixels / 127.5 - 1).transpose(0, 3, 1, 2).copy()).float())
    return found.numpy().transpose(0, 2, 3, 1)


def test_a_hub_folder_gives_the_logits_of_smp_and_returns_there(tmp_path, torchvision):
    import segmentation_models_pytorch as smp

    options = {**SMALL, "encoder_name": "tu-vit_tiny_patch16_224", "encoder_weights": None}
    network = pytorch.randomized(smp.DPT(**options, dynamic_img_size=True))
    network.save_pretrained(tmp_path / "theirs")
    found = zoo.load(tmp_path / "theirs")
    pixels = pytorch.image((64, 96))
    expected = of_smp(network, pixels)
    pytorch.assert_same([pytorch.logits(found, pixels)], [expected])
    checkpoints.export_smp(found, tmp_path / "ours")
    again = smp.from_pretrained(tmp_path / "ours").eval()
    np.testing.assert_array_equal(of_smp(again, pixels), expected)


@pytest.mark.parametrize(("readout", "ours"), [("add", "add"), ("ignore", "ignore")])
def test_other_readouts_of_smp(readout, ours):
    import segmentation_models_pytorch as smp

    sizes = {"embed_dim": 12, "num_heads": 2, "dynamic_img_size": True}
    network = smp.DPT("tu-vit_tiny_patch16_224", encoder_weights=None, **SMALL, decoder_readout=readout, **sizes)
    network = pytorch.randomized(network)
    options = {"encoder_name": "tu-vit_tiny_patch16_224", "decoder_readout": readout}
    _, arguments, arrays = names.convert(pytorch.arrays(network), "DPT", **SMALL, **options)
    assert arguments["readout"] == ours
    arguments["encoder"] |= {"filters": 12, "heads": 2}
    model = zoo.build("dpt", **arguments, encoder_weights=None)
    pretrained.load(model, arrays)
    pixels = pytorch.image((64, 96))
    pytorch.assert_same([pytorch.logits(model, pixels)], [of_smp(network, pixels)])


def test_a_model_without_counterpart_is_refused(tmp_path, numpy_initializers):
    with pytest.raises(ValueError, match="has a ViT encoder, not one of your own"):
        checkpoints.export_transformers(zoo.dpt(2, **CHEAP["dpt"]), tmp_path / "new")
    small = {"encoder": {"name": "vit_tiny", "filters": 4, "depth": 4, "heads": 2}, "encoder_weights": None}
    with pytest.raises(ValueError, match="has interpolation='bilinear', not 'antialiased'"):
        checkpoints.export_transformers(zoo.dpt(2, **small, filters=4), tmp_path / "new")
    with pytest.raises(ValueError, match=r"no dpt with encoder=\{'name': 'vit_tiny', 'filters': 4"):
        checkpoints.export_smp(zoo.dpt(2, **small, filters=4), tmp_path / "new")
    with pytest.raises(ValueError, match=r"dpt needs 2 to 4 features .* the encoder has 1, at 8"):
        zoo.dpt(2, encoder=lambda image: {8: image}, encoder_weights=None)
    with pytest.raises(ValueError, match=r"readout must be one of \['ignore', 'add', 'project'\]"):
        zoo.dpt(2, **small, readout="mean")
    assert not list(tmp_path.iterdir())
