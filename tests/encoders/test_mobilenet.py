"""MobileNets in torchvision's form: features, dilation and weights."""

import keras
import numpy as np
import pytest
import torch

from kseg import download, encoders, pretrained
from kseg.encoders import mobilenet
from tests.checkpoints import pytorch
from tests.layers.tracing import computed

pytestmark = pytest.mark.usefixtures("numpy_initializers")

# The modules of torchvision's `features` whose outputs are the features, finest first.
ENDS = {
    "mobilenet_v2_torchvision": (1, 3, 6, 13, 17),
    "mobilenet_v3_small_torchvision": (0, 1, 3, 8, 12),
    "mobilenet_v3_large_torchvision": (1, 3, 6, 12, 16),
}


def network_of(torchvision, name, **options) -> torch.nn.Module:
    network = getattr(torchvision.models, name.removesuffix("_torchvision"))(weights=None, **options)
    return pytorch.randomized(network)


@pytest.mark.parametrize(("name", "ends"), ENDS.items())
def test_features_equal_those_of_torchvision(name, ends, torchvision):
    theirs = network_of(torchvision, name)
    model = encoders.build(name, weights=None)
    pretrained.load(model, mobilenet.convert(pytorch.arrays(theirs), name))
    pixels = pytorch.image((65, 98))
    maps: list[torch.Tensor] = []
    for end in ends:
        theirs.features[end].register_forward_hook(lambda *call: maps.append(call[-1].permute(0, 2, 3, 1).numpy()))
    pytorch.outputs(theirs.features, pixels)
    pytorch.assert_same(computed(model, pixels), maps)


def test_torchvisions_dilation(torchvision):
    name = "mobilenet_v3_small_torchvision"
    theirs = network_of(torchvision, name, dilated=True)
    options = {"output_stride": 16, "multi_grid": (1, 1, 1)}
    model = encoders.build({"name": name, "first_blocks": True}, weights=None, **options)
    pretrained.load(model, mobilenet.convert(pytorch.arrays(theirs), name))
    pixels = pytorch.image((65, 98))
    maps: list[torch.Tensor] = []
    for end in (0, 1, 2, 4, 12):
        theirs.features[end].register_forward_hook(lambda *call: maps.append(call[-1].permute(0, 2, 3, 1).numpy()))
    pytorch.outputs(theirs.features, pixels)
    pytorch.assert_same(computed(model, pixels), maps)


def test_imagenet_weights_are_converted(torchvision, tmp_path, monkeypatch):
    monkeypatch.setenv("KSEG_HOME", str(tmp_path / "home"))
    name = "mobilenet_v3_small_torchvision"
    theirs = network_of(torchvision, name)
    torch.save(theirs.state_dict(), tmp_path / "model.pth")
    digits = download.file_sha256(tmp_path / "model.pth")[:8]
    file = (tmp_path / "model.pth").rename(tmp_path / f"model-{digits}.pth")
    monkeypatch.setitem(mobilenet.ADDRESSES, name, file.as_uri())
    model = encoders.build(name, input_shape=(None, None, 1))
    kernel = theirs.state_dict()["features.0.0.weight"].numpy().transpose(2, 3, 1, 0)
    found = keras.ops.convert_to_numpy(pretrained.weight_keys(model)["stem_conv/kernel"])
    np.testing.assert_allclose(found, kernel.sum(axis=2, keepdims=True), rtol=1e-6)
