"""ResNet v1.5 against torchvision and timm."""

import hashlib
import pathlib

import keras
import numpy as np
import pytest
import safetensors.torch
import torch

from kseg import checkpoints, download, pretrained
from kseg.encoders import ENCODERS, resnet
from tests.checkpoints import pytorch
from tests.layers.tracing import computed

pytestmark = pytest.mark.usefixtures("numpy_initializers")

FEW_BLOCKS = (1, 1, 2, 2)
"""Blocks of the stages where features are computed. Names and shapes are compared at full depth."""


class Features(torch.nn.Module):
    """The five features of a ResNet of torchvision."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.pool = torch.nn.MaxPool2d(3, 2, 1)

    def forward(self, x):
        net = self.network
        features = [torch.relu(net.bn1(net.conv1(x)))]
        x = self.pool(features[0])
        for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
            x = stage(x)
            features.append(x)
        return features


def ported(network, name: str, **options) -> keras.Model:
    model = resnet.build(name, weights=None, **options)
    return pretrained.load(model, resnet.convert(pytorch.arrays(network)))


@pytest.mark.parametrize(("output_stride", "replaced"), [(8, (False, True, True)), (16, (False, False, True))])
def test_dilated_features_equal_those_of_torchvision(output_stride, replaced, torchvision, monkeypatch):
    monkeypatch.setitem(resnet.VARIANTS, "resnet50", resnet.Variant(FEW_BLOCKS))
    bottleneck = torchvision.models.resnet.Bottleneck
    network = torchvision.models.ResNet(bottleneck, FEW_BLOCKS, replace_stride_with_dilation=replaced)
    pixels = pytorch.image((65, 98))
    pytorch.randomized(network)
    found = computed(ported(network, "resnet50", output_stride=output_stride), pixels)
    pytorch.assert_same(found, pytorch.outputs(Features(network), pixels))


@pytest.mark.parametrize("name", ["resnet34", "resnet50"])
def test_features_of_a_file_equal_those_of_timm(name, torchvision, tmp_path, monkeypatch):
    import timm

    monkeypatch.setitem(resnet.VARIANTS, name, resnet.VARIANTS[name]._replace(depths=FEW_BLOCKS))
    network = pytorch.randomized(timm.create_model(name, pretrained=False, layers=FEW_BLOCKS))
    safetensors.torch.save_file(network.state_dict(), tmp_path / "model.safetensors")
    model = pretrained.load(
        resnet.build(name, weights=None), resnet.convert(checkpoints.read(tmp_path / "model.safetensors"))
    )
    backbone = timm.create_model(name, pretrained=False, features_only=True, layers=FEW_BLOCKS).eval()
    backbone.load_state_dict(network.state_dict(), strict=False)
    pixels = pytorch.image((65, 96))  # all heights are odd, all widths even but the last
    pytorch.assert_same(computed(model, pixels), pytorch.outputs(backbone, pixels))


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "wide_resnet50_2"])
def test_names_shapes_and_parameters_equal_those_of_torchvision(name, torchvision, without_memory):
    with torch.device("meta"):
        network = getattr(torchvision.models, name)(weights=None)
    state = {key: np.broadcast_to(np.float32(0), tensor.shape) for key, tensor in network.state_dict().items()}
    model = resnet.build(name, weights=None)
    expected = {key: tuple(variable.shape) for key, variable in pretrained.weight_keys(model).items()}
    trainable = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
    assert {key: array.shape for key, array in resnet.convert(state).items()} == expected
    without_classifier = sum(p.numel() for key, p in network.named_parameters() if not key.startswith("fc."))
    assert trainable == without_classifier


def rates(name: str, output_stride: int, multi_grid=()) -> list[int]:
    model = resnet.build(name, weights=None, output_stride=output_stride, multi_grid=multi_grid)
    return [
        layer.dilation_rate[0]
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D) and layer.kernel_size == (3, 3)
    ]


def test_the_convolution_that_loses_its_stride_keeps_the_previous_dilation():
    assert rates("resnet18", 16) == [1] * 12 + [1, 2, 2, 2]
    assert rates("resnet18", 8) == [1] * 8 + [1, 2, 2, 2] + [2, 4, 4, 4]
    assert rates("resnet18", 16, (1, 2, 4)) == [1] * 12 + [1, 2, 4, 8]
    assert rates("resnet50", 16, (1, 2, 4))[-3:] == [2, 4, 8]  # the paper's, section 3.2.1
    assert rates("resnet50", 8, (1, 2, 4))[-3:] == [4, 8, 16]
    with pytest.raises(ValueError, match="multi_grid has 17 factors, but there are 16 spatial convolutions"):
        rates("resnet18", 16, [1] * 17)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_imagenet_weights_are_downloaded_verified_and_adapted(channels, torchvision, tmp_path, monkeypatch):
    network = pytorch.randomized(torchvision.models.resnet18(weights=None))
    torch.save(network.state_dict(), tmp_path / "net.pth")
    digits = hashlib.sha256((tmp_path / "net.pth").read_bytes()).hexdigest()[:8]
    address = f"{tmp_path.as_uri()}/net.pth"
    published = tmp_path / f"net-{digits}.pth"
    (tmp_path / "net.pth").rename(published)
    monkeypatch.setenv("KSEG_HOME", str(tmp_path / "home"))
    monkeypatch.setitem(resnet.ADDRESSES, "resnet18", address.replace("net.pth", published.name))
    model = resnet.build("resnet18", input_shape=(None, None, channels))
    kernel = network.conv1.weight.detach().numpy().transpose(2, 3, 1, 0)
    expected = {1: kernel.sum(2, keepdims=True), 3: kernel, 4: kernel[:, :, [0, 1, 2, 0]] * 0.75}[channels]
    np.testing.assert_allclose(model.get_layer("conv1").get_weights()[0], expected, rtol=1e-6)
    assert download.file_sha256(tmp_path / "home" / "weights" / published.name).startswith(digits)


def test_weights_of_torchvision_are_downloaded_in_one_place():
    sources = pathlib.Path(resnet.__file__).parent.glob("*.py")
    assert [path.name for path in sources if "download.fetch(" in path.read_text()] == ["stages.py"]


def test_imagenet_addresses_equal_those_of_torchvision(torchvision):
    import timm

    for name, address in resnet.ADDRESSES.items():
        assert torchvision.models.get_model_weights(name).IMAGENET1K_V1.url == address
    for name, entry in ENCODERS.items():
        if entry.imagenet:
            model = entry.imagenet.removeprefix("timm/")
            assert model.partition(".")[0] in entry.timm and timm.is_model_pretrained(model), name
