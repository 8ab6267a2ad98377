"""SegFormer against transformers."""

import json
from typing import ClassVar

import pytest
import torch

from kseg import checkpoints, zoo
from kseg.encoders import mit
from tests.checkpoints import pytorch
from tests.zoo.cheap import CHEAP
from tests.zoo.of_transformers import OfTransformers
from tests.zoo.test_counts import COUNTS


class TestSegformer(OfTransformers):
    architecture = "SegformerForSemanticSegmentation"
    processor = "SegformerImageProcessorPil"
    tiny = {
        "hidden_sizes": [8, 12, 16, 24],
        "num_attention_heads": [1, 2, 2, 3],
        "depths": [1, 1, 2, 1],
        "sr_ratios": [8, 4, 2, 1],
        "mlp_ratios": [2, 3, 2, 2],
        "decoder_hidden_size": 16,
        "classifier_dropout_prob": 0.2,
        "id2label": {0: "road", 1: "sky", 2: "car", 3: "tree"},
    }
    small_encoder: ClassVar = {
        "name": "mit_b0",
        "filters": [8, 12, 16, 24],
        "depths": [1, 1, 1, 1],
        "heads": [1, 2, 2, 3],
        "epsilon": 1e-5,
    }
    published = {"num_labels": 3}, {"name": "mit_b0", "epsilon": 1e-5}
    unbuildable = {
        "num_encoder_blocks": 3,
        "strides": [2, 2, 2, 2],
        "hidden_act": "relu",
        "depths": [1, 1],
        "hidden_sizes": [9, 15, 16, 24],
        "decoder_hidden_size": "large",
    }


@pytest.mark.parametrize(("options", "count"), [row[2:4] for row in COUNTS if row[0] == "segformer"][::5])
def test_published_counts_are_those_of_transformers(options, count, transformers):
    config = transformers.SegformerConfig(
        hidden_sizes=mit.VARIANTS[options["encoder"]][0],
        depths=mit.VARIANTS[options["encoder"]][1],
        decoder_hidden_size=options.get("filters", 256),
        num_labels=150,
    )
    with torch.device("meta"):
        network = transformers.SegformerForSemanticSegmentation(config)
    assert sum(parameter.numel() for parameter in network.parameters()) == count


def test_a_model_without_counterpart_is_refused(tmp_path, numpy_initializers):
    with pytest.raises(ValueError, match="has a MiT encoder, not one of your own"):
        checkpoints.export_transformers(zoo.segformer(2, **CHEAP["segformer"]), tmp_path / "new")
    with pytest.raises(ValueError, match=r"no counterpart in transformers: kseg writes .* deeplabv3, dpt, eomt, seg"):
        checkpoints.export_transformers(zoo.full_resolution(2, filters=(4,)), tmp_path / "new")
    small = {"encoder": TestSegformer.small_encoder, "encoder_weights": None, "filters": 4}
    with pytest.raises(ValueError, match="ends in softmax, which transformers lacks"):
        checkpoints.export_transformers(zoo.segformer(2, **small, activation="softmax"), tmp_path / "new")
    model = zoo.segformer(2, **small)
    model.pixels = {"range": [0, 65535]}
    with pytest.raises(ValueError, match="stores what the numbers of its image files mean"):
        checkpoints.export_transformers(model, tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_names_of_classes_have_no_spaces_at_their_ends():
    assert checkpoints.Config({"id2label": {"0": "bed ", "1": "bed"}}).classes() == (2, ("bed 0", "bed 1"))
    assert checkpoints.Config({"id2label": {"0": "wall", "1": "bed "}}).classes() == (2, ("wall", "bed"))


def test_features_of_small_numbers_equal_those_of_transformers(transformers, tmp_path, numpy_initializers):
    """Numbers whose variance is near the epsilon of the layer normalization, which is 1e-5 whatever the file says."""
    config = transformers.SegformerConfig(**TestSegformer.tiny, layer_norm_eps=1e-6)
    network = pytorch.faint(pytorch.randomized(transformers.SegformerForSemanticSegmentation(config)))
    network.save_pretrained(tmp_path / "theirs")
    with pytest.warns(UserWarning, match="has no preprocessor_config.json"):
        model = zoo.load(tmp_path / "theirs")
    pixels = pytorch.image((64, 96))
    expected = TestSegformer().logits(network, pixels, pytorch.MEAN, pytorch.DEVIATION)
    pytorch.assert_same([pytorch.logits(model, pixels)], [expected])
    model.arguments["encoder"]["epsilon"] = 1e-6
    with pytest.warns(UserWarning, match=r"transformers normalizes with epsilon=1e-05, this model with 1e-06"):
        checkpoints.export_transformers(model, tmp_path / "ours")


@pytest.mark.parametrize(("first", "warns"), [("Background", True), ("wall", False)])
def test_a_background_among_names_of_reduced_labels_is_doubted(first, warns, tmp_path, recwarn):
    config = {"architectures": ["SegformerForSemanticSegmentation"], "id2label": {"0": first, "1": "leaf"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "preprocessor_config.json").write_text('{"do_reduce_labels": true}')
    assert checkpoints.describe_transformers(tmp_path)["classes"] == (first, "leaf")
    assert any("names class 0 'Background', but do_reduce_labels" in str(each.message) for each in recwarn) is warns


def test_fields_for_training_alone_are_named_in_a_warning():
    fields = checkpoints.Config({"hidden_dropout_prob": 0.5})
    with pytest.warns(UserWarning, match=r"does not apply hidden_dropout_prob = 0\.5"):
        checkpoints.ARCHITECTURES[TestSegformer.architecture].arguments(fields, [0.0] * 3, [1.0] * 3)


def test_features_at_one_stride_are_too_few():
    with pytest.raises(ValueError, match=r"needs features at two strides from 4 on, the encoder has \[8\]"):
        zoo.segformer(2, encoder=lambda image: {8: image}, encoder_weights=None)
