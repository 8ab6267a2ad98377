"""Renaming of tensors, including those that no rule matches."""

import re

import numpy as np
import pytest
from safetensors.numpy import save_file

from kseg.checkpoints import read, rename, revert
from kseg.encoders import resnet
from kseg.zoo import torchvision


def test_a_tensor_that_matches_no_rule_keeps_its_name():
    state = {
        "layer1.0.downsample.1.weight": np.zeros((4, 4, 1, 1)),  # timm's resnet50d has a convolution there
        "conv1.0.weight": np.zeros((4, 3, 3, 3)),
        "bn1.num_batches_tracked": np.array(3),
        "conv1.bias": np.zeros(4),
    }
    assert list(rename(state, resnet.RULES)) == ["layer1.0.downsample.1.weight", "conv1.0.weight", "conv1/bias"]


STATE = {"encoder.bn1.weight": np.ones(4), "encoder.conv1.weight": np.ones((4, 3, 7, 7)), "head.bias": np.zeros(3)}
RULES = [(r"encoder\.bn1", "encoder/norm1"), (r"encoder\.conv1", "encoder/conv1"), ("head", "head")]


@pytest.mark.parametrize(
    "prefix",
    ["module.", "model.", "state_dict.", "state_dict.model.", "_orig_mod.", "model._orig_mod.module.", "net.0.unet."],
)
def test_the_prefix_of_a_wrapper_is_removed_with_what_lies_beside(prefix):
    state = {prefix + name: array for name, array in STATE.items()}
    others = {"n_averaged": np.array(3), "optimizer.state.0.exp_avg": np.ones(4), "loss.weight": np.ones(3)}
    expected = rename(STATE, RULES)
    assert list(expected) == ["encoder/norm1/gamma", "encoder/conv1/kernel", "head/bias"]
    found = rename({**state, **(others if prefix[0] != "_" else {})}, RULES)
    assert list(found) == list(expected)
    inner = {name.replace("encoder.", "encoder._orig_mod."): array for name, array in STATE.items()}
    assert list(rename(inner, RULES)) == list(expected)


AVERAGE = {name: array for name, array in STATE.items() if name != "head.bias"}
"""An average of the trained weights only, without those of batch normalization, say."""


@pytest.mark.parametrize(
    ("states", "message"),
    [
        (
            {"model.": STATE, "ema.module.": STATE},
            r"2 times, below model and below ema\.module: .*, part='model' or part='ema\.module' in",
        ),
        (
            {"": STATE, "ema.": AVERAGE},
            r"2 times, at the top level and below ema: choose one, without=\['ema'\] or part='ema' in kseg\.zoo\.smp",
        ),
        ({"ema.": AVERAGE, "model.": STATE}, r"2 times, below ema and below model: "),
    ],
)
def test_a_model_beside_its_moving_average_is_refused_with_the_argument_that_chooses(states, message):
    state = {f"{prefix}{name}": array for prefix, part in states.items() for name, array in part.items()}
    with pytest.raises(ValueError, match=message):
        rename(state, RULES)
    few = {**{f"model.{name}": array for name, array in STATE.items()}, "loss.encoder.bn1.weight": np.ones(4)}
    assert len(rename(few, RULES)) == 3


@pytest.mark.parametrize("outer", ["", "state_dict."])
def test_each_argument_that_the_message_offers_chooses_one_copy(tmp_path, outer):
    copies = {outer: STATE, f"{outer}ema.": {name: array + 5 for name, array in STATE.items()}}
    state = {prefix + name: array for prefix, part in copies.items() for name, array in part.items()}
    save_file(state, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="choose one") as caught:
        rename(read(tmp_path / "a.safetensors"), RULES)
    cures = re.search(r"choose one, (.*) in kseg", str(caught.value))[1].split(" or ")
    found = [rename(read(tmp_path / "a.safetensors", **eval(f"dict({cure})")), RULES) for cure in cures]
    assert sorted(float(arrays["encoder/norm1/gamma"][0]) for arrays in found) == [1, 6]
    assert [len(arrays) for arrays in found] == [3, 3]


def test_an_encoder_is_taken_out_of_a_whole_model():
    state = {
        f"module.encoder.{name}": array for name, array in {"bn1.weight": np.ones(4), "fc.bias": np.ones(2)}.items()
    }
    assert list(resnet.convert({**state, "module.decoder.bn.weight": np.ones(4)})) == ["norm1/gamma"]
    backbone = {"module.backbone.bn1.weight": np.ones(64), "module.aux_classifier.4.bias": np.ones(21)}
    assert list(torchvision.convert(backbone, "fcn_dilated")) == ["encoder/norm1/gamma"]


def test_kernels_change_their_layout():
    state = {
        "a.weight": np.arange(24.0).reshape(2, 3, 2, 2),
        "b.weight": np.arange(12.0).reshape(3, 1, 2, 2),
        "c.weight": np.arange(6.0).reshape(3, 2),
        "tokens.0.weight": np.arange(6.0).reshape(3, 2),
        "tokens.0.position": np.arange(6.0).reshape(3, 2),
    }
    rules = [("a", "conv"), ("b", "block_depthwise_conv"), ("c", "dense")]
    rules += [(r"tokens\.0\.position", "tokens_0/position"), (r"tokens\.(.*)", r"tokens_\1")]  # a tensor, modules
    found = rename(state, rules)
    assert {key: array.shape for key, array in found.items()} == {
        "conv/kernel": (2, 2, 3, 2),
        "block_depthwise_conv/kernel": (2, 2, 3, 1),
        "dense/kernel": (2, 3),
        "tokens_0/kernel": (2, 3),
        "tokens_0/position": (3, 2),
    }
    assert found["conv/kernel"][1, 0, 2, 1] == state["a.weight"][1, 2, 1, 0]


def test_the_palette_is_that_of_voc():
    palette = torchvision.VOC_PALETTE
    assert palette[:4] == ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0)) and palette[20] == (0, 64, 128)
    assert len(palette) == len(torchvision.VOC) == 21


def test_reverted_tensors_are_those_that_were_renamed():
    rng = np.random.default_rng(0)
    shapes = {
        "layer1.0.conv2.weight": (4, 3, 5, 7),
        "layer3.12.downsample.1.running_var": (4,),
        "block.0.weight": (4, 1, 3, 3),
        "fc.weight": (5, 4),
        "fc.bias": (5,),
    }
    rules = [*resnet.RULES, (r"block\.(\d)", r"block_\1/depthwise"), ("fc", "fc")]
    state = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    found = revert(rename(state, rules), rules)
    assert found.pop("layer3.12.downsample.1.num_batches_tracked") == 0
    assert found.keys() == state.keys()
    for name, array in state.items():
        np.testing.assert_array_equal(found[name], array)
    with pytest.raises(ValueError, match="head/kernel has no counterpart in PyTorch"):
        revert({"head/kernel": np.ones((3, 4))}, rules)
