"""Weights of timm's repositories on the hub, for which a server on this machine stands in."""

import json

import numpy as np
import pytest
import safetensors.torch
import torch
from huggingface_hub import constants

from kseg import encoders, pretrained, zoo
from tests.checkpoints import pytorch
from tests.layers.tracing import computed
from tests.pretrained.stand_in import Hub

pytestmark = pytest.mark.usefixtures("numpy_initializers")

SMALL = {"filters": [8, 12, 16, 24], "depths": [1, 1, 1, 1], "feature_norms": False}
SWIN = {"name": "swin_tiny", **SMALL, "filters": 8, "depths": [2, 1, 1, 1], "heads": [1, 2, 2, 4], "window": 3}
DIMS = {"dims": SMALL["filters"], "depths": SMALL["depths"]}
WINDOWS = {"embed_dim": 8, "window_size": 3, "img_size": (96, 192), "always_partition": True}
NETWORKS = [
    ("resnet18", "resnet18", {}),
    ({"name": "convnext_tiny", **SMALL}, "convnext_tiny", DIMS),
    ({"name": "convnextv2_atto", **SMALL}, "convnextv2_atto", DIMS),
    (SWIN, "swin_tiny_patch4_window7_224", {"depths": SWIN["depths"], "num_heads": SWIN["heads"], **WINDOWS}),
    ("efficientnet_lite0", "tf_efficientnet_lite0", {}),
    ("mobilenet_v2_torchvision", "mobilenetv2_100", {}),
    ("mobilenet_v3_small_torchvision", "tf_mobilenetv3_small_100", {}),
    ("efficientnet_b0_timm", "tf_efficientnet_b0", {}),
    ("regnety_002", "regnety_002", {}),
    ("mobilevit_xxs", "mobilevit_xxs", {}),
]
"""An encoder, the architecture of timm, and the arguments that make it small."""

MEAN, STD = [0.5, 0.4, 0.3], [0.25, 0.2, 0.5]


@pytest.fixture
def hub(monkeypatch, tmp_path):
    running = Hub("timm/small.a1")
    for name, value in (("HF_ENDPOINT", running.url), ("no_proxy", "127.0.0.1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    yield running
    running.close()


def publish(hub, architecture: str, state=None, **config) -> None:
    cfg = {"mean": MEAN, "std": STD, "tag": "a1"}
    hub.files["config.json"] = json.dumps({"architecture": architecture, "pretrained_cfg": cfg, **config}).encode()
    hub.commits += 1
    if state is not None:
        hub.files["model.safetensors"] = hub.stored["model.safetensors"] = safetensors.torch.save(state)


@pytest.mark.parametrize(("encoder", "architecture", "small"), NETWORKS, ids=[each[1] for each in NETWORKS])
def test_features_and_normalization_are_those_of_timm(encoder, architecture, small, hub, torchvision, capsys):
    import timm

    theirs = pytorch.randomized(timm.create_model(architecture, num_classes=3, **small))
    publish(hub, architecture, theirs.state_dict())
    model = encoders.build(encoder, weights="timm/small.a1")
    whole = {"exclude_final_conv": True} if "mobilevit" in architecture else {}
    theirs.forward = lambda x: theirs.forward_intermediates(x, intermediates_only=True, **whole)
    pixels = pytorch.image((96, 192) if "swin" in architecture else (65, 98))
    ours, expected = computed(model, pixels), pytorch.outputs(theirs, pixels, MEAN, STD)
    finest = 1 if "lite" in architecture else 0  # at stride 2, timm's is the output of the first block
    pytorch.assert_same(ours[finest:], expected[finest:])
    assert ("forbids commercial use" in capsys.readouterr().err) == ("nextv2" in architecture)


@pytest.mark.parametrize("name", ["vgg11_bn", "densenet121_torchvision", "hrnet_w18"])
def test_names_and_shapes_equal_those_of_timm(name, torchvision, without_memory):
    import timm

    entry = encoders.ENCODERS[name]
    with torch.device("meta"):
        state = timm.create_model(next(iter(entry.timm))).state_dict()
    arrays = entry.convert({key: np.broadcast_to(np.float32(0), tensor.shape) for key, tensor in state.items()})
    weights = pretrained.weight_keys(encoders.build(name, weights=None, input_shape=(64, 64, 3)))
    assert {key: array.shape for key, array in arrays.items()} == {
        key: tuple(variable.shape) for key, variable in weights.items()
    }


def test_a_trained_model_remembers_the_normalization(hub, torchvision, tmp_path):
    import timm

    state = pytorch.randomized(timm.create_model("resnet18", num_classes=3)).state_dict()
    publish(hub, "resnet18", state)
    hub.commits = 7
    options = {"encoder": "resnet18", "filters": (8, 8, 8), "encoder_depth": 3, "input_shape": (None, None, 4)}
    model = zoo.unet(2, encoder_weights=f"timm/small.a1@{hub.commit}", **options)
    kernel = state["conv1.weight"].numpy().transpose(2, 3, 1, 0)[:, :, [0, 1, 2, 0]] * 0.75
    np.testing.assert_allclose(model.get_layer("encoder").get_layer("conv1").get_weights()[0], kernel, rtol=1e-6)
    mean, std = ([255 * value for value in values] for values in (MEAN, STD))
    assert model.arguments["encoder"] == {"name": "resnet18", "mean": mean, "std": std}
    pretrained.save(model, tmp_path / "model.safetensors")
    hub.files.clear()
    pixels = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 4)).astype("float32")
    pytorch.assert_same([computed(zoo.load(tmp_path / "model.safetensors"), pixels)], [computed(model, pixels)])


def test_weights_that_do_not_fit_are_refused_in_one_line(hub):
    def refused(encoder, address="timm/small.a1"):
        with pytest.raises((ValueError, OSError)) as error:
            encoders.build(encoder, weights=address)
        assert "\n" not in str(error.value)
        return str(error.value)

    assert refused("resnet18") == "hf://timm/small.a1 has no file config.json"
    assert "no repository on the hub that you may read" in refused("resnet18", "timm/other.a1")
    assert "no branch, tag or commit v2" in refused("resnet18", "timm/small.a1@v2")
    assert "write timm/NAME or timm/NAME@COMMIT" in refused("resnet18", "timm/small/a1")
    publish(hub, "resnet50")
    assert refused("resnet18") == "timm/small.a1 holds a resnet50, which does not fit resnet18: pass encoder='resnet50'"
    publish(hub, "nfnet_f0")
    assert refused("resnet18").endswith("holds a nfnet_f0, which does not fit resnet18: choose weights of resnet18")
    assert refused("vgg16").endswith("holds a nfnet_f0, which does not fit vgg16: choose weights of another encoder")
    publish(hub, "resnet18", model_args={"stem_type": "deep", "num_classes": 3})
    assert refused("resnet18") == "timm/small.a1: config.json sets model_args stem_type, which kseg does not build"
    hub.files["config.json"] = b"[]"
    hub.commits += 1
    assert "config.json does not describe a model of timm" in refused("resnet18")
    publish(hub, "resnet18")
    assert refused("resnet18") == "hf://timm/small.a1 has no file model.safetensors"
    weights = {
        "conv1.weight": np.zeros((64, 3, 7, 7)),
        "bn1.weight": np.zeros(3),
        "fc.bias": np.zeros(9),
        "a.b": np.ones(1),
    }
    publish(hub, "resnet18", {name: torch.tensor(array) for name, array in weights.items()})
    message = refused("resnet18")
    assert message.startswith("timm/small.a1: the checkpoint does not fit 'encoder': missing ")


def test_older_and_wider_models_of_timm(hub):
    hub.files["config.json"] = json.dumps({"architecture": "swin_base_patch4_window12_384", "mean": MEAN}).encode()
    found = encoders.resolved("swin_base", "timm/small.a1")
    assert found == {"name": "swin_base", "window": 12, "always_shift": False, "mean": [255 * value for value in MEAN]}
    assert encoders.resolved({"name": "swin_base", "mean": [0, 0, 0]}, "timm/small.a1")["mean"] == [0, 0, 0]


def test_imagenet_weights_of_timm_bring_the_options_with_which_they_were_trained(hub):
    hub.repository = "timm/tf_efficientnet_b6.ns_jft_in1k"
    publish(hub, "tf_efficientnet_b6")
    constants = {"mean": [255 * value for value in MEAN], "std": [255 * value for value in STD]}
    found = encoders.resolved("efficientnet_b6_timm", "imagenet")
    assert found == {"name": "efficientnet_b6_timm", "padding": "same", "epsilon": 1e-3, **constants}
