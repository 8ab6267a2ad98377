"""EoMT against transformers."""

import copy
import json
from typing import ClassVar

import numpy as np
import pytest
import safetensors.numpy
import torch

from kseg import checkpoints, encoders, pretrained, zoo
from kseg.layers.queries import SMALLEST
from tests.checkpoints import pytorch
from tests.zoo.cheap import CHEAP
from tests.zoo.of_transformers import MEAN, STD, OfTransformers
from tests.zoo.test_counts import COUNTS

functional = torch.nn.functional


def at(network, rows, columns):
    """The network for another number of patches, with positions that PyTorch interpolates."""
    network, side = copy.deepcopy(network), network.grid_size[0]
    positions = network.embeddings.position_embeddings.weight.T.reshape(1, -1, side, side)
    positions = functional.interpolate(positions, (rows, columns), mode="bicubic", antialias=True)
    network.embeddings.position_embeddings = torch.nn.Embedding.from_pretrained(positions[0].flatten(1).T)
    network.embeddings.position_ids = torch.arange(rows * columns)[None]
    network.grid_size = (rows, columns)
    return network


class TestEoMT(OfTransformers):
    architecture = "EomtForUniversalSegmentation"
    processor = "EomtImageProcessorPil"
    size: ClassVar = {"shortest_edge": 64}
    processor_fields: ClassVar = {"do_split_image": True}
    rule: ClassVar = {"window": 64, "logarithms": True}
    enlarges = True
    tiny = {
        "hidden_size": 12,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "mlp_ratio": 2,
        "image_size": 64,
        "patch_size": 16,
        "num_queries": 6,
        "num_blocks": 2,
        "num_register_tokens": 2,
        "num_upscale_blocks": 2,
        "layerscale_value": 0.5,
        "layer_norm_eps": 1e-5,
        "id2label": {0: "road", 1: "sky", 2: "car", 3: "tree"},
    }
    small_encoder: ClassVar = {"name": "dinov2_small", "filters": 8, "depth": 3, "heads": 2, "patch": 16, "grid": 4}
    published = (
        {
            "hidden_size": 192,
            "num_hidden_layers": 3,
            "num_attention_heads": 3,
            "image_size": 224,
            "num_queries": 10,
            "num_blocks": 3,
            "num_register_tokens": 0,
            "num_labels": 3,
        },
        {"name": "vit_tiny", "depth": 3, "layer_scale": 1.0},
    )
    unbuildable = {
        "hidden_act": "relu",
        "use_swiglu_ffn": True,
        "patch_size": [8, 16],
        "num_attention_heads": 5,
        "layerscale_value": 0,
        "num_blocks": 5,
        "num_queries": 0,
    }

    @classmethod
    def network_of(cls, transformers, fields):
        """A network as after training, which attends to all patches, with masks and classes that differ."""
        network = super().network_of(transformers, fields)
        network.attn_mask_probs.zero_()
        for name, parameter in network.named_parameters():
            parameter.data *= 0.1 if name.endswith("bias") else 1
        generator, scale = torch.Generator().manual_seed(1), network.config.hidden_size**-0.5
        for part, deviation in (
            (network.query, 3),
            (network.embeddings.position_embeddings, 1),
            (network.class_predictor, 3 * scale),
            (network.mask_head.fc3, 2 * scale),
            *((block.conv1, scale) for block in network.upscale_block.block),
        ):
            part.weight.data.normal_(0, deviation, generator=generator)
        return network

    def returned(self, values):
        """Only the patches have positions there: that of the class token is added to it."""
        token, positions = "encoder/tokens/class_token", "encoder/tokens/positions"
        first = np.arange(values[positions].shape[1]) == 0
        moved = np.where(first[:, None], np.float32(0), values[positions])
        return {**values, token: values[token] + values[positions][:, :1], positions: moved}

    def scores(self, network, x):
        """The sums of `post_process_semantic_segmentation`, of an image of whole patches."""
        patch = network.config.patch_size
        output = at(network, x.shape[2] // patch, x.shape[3] // patch)(x)
        masks = functional.interpolate(output.masks_queries_logits, x.shape[2:], mode="bilinear").sigmoid()
        return torch.einsum("bqc,bqhw->bchw", output.class_queries_logits.softmax(-1)[..., :-1], masks)

    def logits(self, network, pixels, mean, std):
        _, height, width, _ = pixels.shape
        x, patch = pytorch.normalized(pixels, mean, std), network.config.patch_size
        with torch.inference_mode():
            sums = self.scores(network, functional.pad(x, (0, -width % patch, 0, -height % patch)))
        sums = sums[:, :, :height, :width].numpy().transpose(0, 2, 3, 1)
        return np.log(sums + SMALLEST)

    def test_the_sums_are_those_of_the_image_processor(self, network, model, transformers):
        pixels = pytorch.image((64, 64))
        with torch.inference_mode():
            output = network(pytorch.normalized(pixels, MEAN, STD))
        processor = getattr(transformers, self.processor)(size={"shortest_edge": 64, "longest_edge": 64})
        (expected,) = processor.post_process_semantic_segmentation(output, [(64, 64)], return_segmentation_scores=True)
        logits = np.asarray(pytorch.logits(model, pixels))
        np.testing.assert_array_equal(logits[0].argmax(-1), expected.segmentation.numpy())
        theirs = expected.segmentation_scores.numpy().transpose(1, 2, 0)[None]
        pytorch.assert_same([np.exp(logits) - SMALLEST], [theirs])

    def test_a_checkpoint_from_the_middle_of_training_is_refused(self, network, tmp_path):
        network = copy.deepcopy(network)
        network.attn_mask_probs[1] = 0.25
        network.save_pretrained(tmp_path)
        with (
            pytest.warns(UserWarning, match=r"no preprocessor_config\.json"),
            pytest.raises(ValueError, match="attn_mask_probs other than 0"),
        ):
            zoo.load(tmp_path)


def test_the_published_configuration_is_described(tmp_path):
    labels = {index: f"thing {index}" for index in range(150)}
    fields = {"hidden_size": 1024, "num_hidden_layers": 24, "image_size": 512, "num_queries": 100, "id2label": labels}
    content = {"architectures": ["EomtForUniversalSegmentation"], "layerscale_value": 1e-5, **fields}
    (tmp_path / "config.json").write_text(json.dumps(content))
    processor = {"image_processor_type": "EomtImageProcessor", "do_split_image": True}
    sizes = {"shortest_edge": 512, "longest_edge": None}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({**processor, "size": sizes, "resample": 2}))
    found = checkpoints.describe_transformers(tmp_path)
    assert found["arguments"] == {
        "num_classes": 150,
        "encoder": {"name": "dinov2_large_registers", "patch": 16, "grid": 32},
        "num_queries": 100,
        "num_blocks": 4,
        "num_upscales": 2,
        "input_shape": [None, None, 3],
    }
    rule = {"size": {"shortest_edge": 512}, "resample": "bilinear", "window": 512}
    assert found["processor"] == {**rule, "enlarged": True, "logarithms": True}
    sizes["longest_edge"] = 1024
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({**processor, "size": sizes}))
    with pytest.warns(UserWarning, match="does not know size = .* with do_split_image = true"):
        assert checkpoints.describe_transformers(tmp_path)["processor"] == {}


def test_counts_are_those_of_the_library(transformers):
    ((_, classes, options, count, _),) = [row for row in COUNTS if row[0] == "eomt"]
    arguments = {**zoo.eomt.defaults, "num_classes": classes, **options}
    fields, _, _ = checkpoints.ARCHITECTURES[TestEoMT.architecture].config(arguments)
    with torch.device("meta"):
        network = transformers.EomtForUniversalSegmentation(transformers.EomtConfig(**fields, num_labels=classes))
    theirs = sum(parameter.numel() for parameter in network.parameters())
    assert count == theirs + fields["hidden_size"]


def test_a_plain_transformer_returns_with_factors_of_one(transformers, tmp_path, numpy_initializers):
    encoder = {**CHEAP["eomt"]["encoder"], "grid": 4}
    model = zoo.eomt(3, **CHEAP["eomt"] | {"encoder": encoder})
    positions = model.get_layer("encoder").get_layer("tokens").positions
    positions.assign(np.random.default_rng(0).normal(size=positions.shape))  # one of the class token, too
    folder = checkpoints.export_transformers(model, tmp_path / "ours")
    network = transformers.EomtForUniversalSegmentation.from_pretrained(folder).eval()
    pixels = pytorch.image((64, 64))
    expected = TestEoMT().logits(network, pixels, pytorch.MEAN, pytorch.DEVIATION)
    pytorch.assert_same([pytorch.logits(model, pixels), pytorch.logits(zoo.load(folder), pixels)], [expected] * 2)


def test_one_class_is_compared_with_no_object(numpy_initializers):
    two, one = (zoo.eomt(count, **CHEAP["eomt"]) for count in (2, 1))
    weights = {key: np.asarray(value) for key, value in pretrained.weight_keys(one).items()}
    # A second class in the place of "no object", which then never wins.
    weights["classes/kernel"] = np.pad(weights["classes/kernel"], ((0, 0), (0, 1)))
    weights["classes/bias"] = np.append(weights["classes/bias"], np.float32(-100))
    pretrained.load(two, weights)
    pixels = pytorch.image((40, 50))
    first, second = np.split(np.asarray(pytorch.logits(two, pixels)), 2, axis=-1)
    pytorch.assert_same([pytorch.logits(one, pixels)], [first - second])


def test_the_weights_of_an_encoder_without_queries_are_taken(tmp_path, numpy_initializers):
    options = {**CHEAP["eomt"], "encoder_weights": None}
    first = zoo.eomt(2, **options)
    arrays = {
        key: np.array(value, order="C") for key, value in pretrained.weight_keys(first.get_layer("encoder")).items()
    }
    del arrays["queries/queries"]
    safetensors.numpy.save_file(arrays, tmp_path / "encoder.safetensors")
    second = zoo.eomt(2, **options | {"encoder_weights": tmp_path / "encoder.safetensors"})
    found = pretrained.weight_keys(second.get_layer("encoder"))
    for key, array in arrays.items():
        np.testing.assert_array_equal(np.asarray(found[key]), array)


def test_what_kseg_cannot_build_is_named(tmp_path):
    encoder = CHEAP["eomt"]["encoder"]
    for wrong, message in (
        ({"encoder": "resnet18"}, "needs a Vision Transformer, vit_tiny, .*, not 'resnet18'"),
        ({"encoder": lambda image: {8: image}}, "not an encoder of your own"),
        ({"encoder": {**encoder, "blocks": 2, "queries": 3}}, "eomt sets blocks, queries of the encoder itself"),
        ({"num_blocks": 4}, "num_blocks must be from 1 to the 3 blocks of the encoder, got 4"),
        ({"activation": "softmax"}, "always 1"),
    ):
        with pytest.raises(ValueError, match=message):
            zoo.eomt(1, **CHEAP["eomt"] | wrong)
    with pytest.raises(ValueError, match=r"expansion that is a whole number, not 2\.5"):
        checkpoints.export_transformers(
            zoo.eomt(2, **CHEAP["eomt"] | {"encoder": {**encoder, "expansion": 2.5}}), tmp_path / "new"
        )
    with pytest.raises(ValueError, match="query_blocks must be from 2 to 3, got 1"):
        encoders.build({**encoder, "queries": 2, "query_blocks": 1, "blocks": [1]}, weights=None)


def test_another_schedule_of_dropped_blocks_is_said(tmp_path):
    fields = {"architectures": [TestEoMT.architecture], **TestEoMT.tiny, "drop_path_rate": 0.1}
    (tmp_path / "config.json").write_text(json.dumps(fields))
    (tmp_path / "preprocessor_config.json").write_text('{"image_processor_type": "EomtImageProcessor"}')
    with pytest.warns(UserWarning, match=r"drops blocks at rates that increase from 0 to drop_path_rate = 0.1"):
        arguments = checkpoints.describe_transformers(tmp_path)["arguments"]
    assert arguments["encoder"]["drop_path"] == 0.1
