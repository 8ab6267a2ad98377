"""Ported ResNets against timm."""

import pytest
import safetensors.torch

from kseg import pretrained
from kseg.checkpoints import timm as names
from kseg.encoders import resnet
from tests.checkpoints import pytorch

pytestmark = pytest.mark.usefixtures("numpy_initializers", "torchvision")


@pytest.mark.parametrize("name", ["resnet34", "resnet50"])
def test_features_of_a_file_are_those_of_timm(name, tmp_path):
    import timm

    network = pytorch.randomized(timm.create_model(name, pretrained=False))
    safetensors.torch.save_file(network.state_dict(), tmp_path / "model.safetensors")
    model = pretrained.load(resnet.build(name, weights=None), names.read(tmp_path / "model.safetensors"))
    backbone = timm.create_model(name, pretrained=False, features_only=True).eval()
    backbone.load_state_dict(network.state_dict(), strict=False)
    for size in pytorch.SIZES:
        pixels = pytorch.image(size)
        pytorch.assert_same(model.predict(pixels, verbose=0), pytorch.outputs(backbone, pixels))


def test_a_variant_with_another_stem_is_refused_by_its_names():
    import timm

    state = pytorch.arrays(timm.create_model("resnet18d", pretrained=False))
    with pytest.raises(ValueError, match=r"missing conv1/kernel"):
        pretrained.load(resnet.build("resnet18", weights=None), names.convert(state))
