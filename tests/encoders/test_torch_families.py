"""ResNeXt, ResNet-D, VGG and DenseNet against segmentation-models-pytorch, timm and torchvision."""

import hashlib
import re

import keras
import numpy as np
import pytest
import torch

from kseg import pretrained
from kseg.checkpoints import rename
from kseg.encoders import ENCODERS, densenet, resnet, vgg
from kseg.zoo import smp
from tests.checkpoints import pytorch
from tests.layers.tracing import computed

pytestmark = pytest.mark.usefixtures("numpy_initializers", "torchvision")

ONCE = (1, 1, 1, 1)
SIZE = (67, 98)  # odd at stride 1, 2 and 4, even and odd at stride 8


def of_smp(name: str, **changes) -> torch.nn.Module:
    """The encoder of segmentation-models-pytorch with changed parameters."""
    from segmentation_models_pytorch.encoders import encoders as known

    return known[name]["encoder"](**{**known[name]["params"], **changes})


class OfTimm(torch.nn.Module):
    """The features of a ResNet-D of timm with one block per stage."""

    def __init__(self, **options):
        from timm.models.resnet import Bottleneck, ResNet

        super().__init__()
        self.network = ResNet(Bottleneck, ONCE, stem_width=32, stem_type="deep", avg_down=True, **options)

    def forward(self, x):
        return self.network.forward_intermediates(x, intermediates_only=True)


def variant(module, monkeypatch, known: str, **changes) -> str:
    """Adds a small network to the table of a family."""
    monkeypatch.setitem(module.VARIANTS, "small", module.VARIANTS[known]._replace(**changes))
    return "small"


def features(module, name: str, arrays, **options) -> list[np.ndarray]:
    model = module.build(name, weights=None, **options)
    pretrained.load(model, arrays)
    return computed(model, pytorch.image(SIZE))


def test_resnext(monkeypatch):
    theirs = pytorch.randomized(of_smp("resnext50_32x4d", layers=ONCE, groups=4, width_per_group=16))
    ours = variant(resnet, monkeypatch, "resnext50_32x4d", depths=ONCE, groups=4, group_width=16)
    found = features(resnet, ours, rename(pytorch.arrays(theirs), smp.ENCODERS["resnext50_32x4d"].rules))
    pytorch.assert_same(found, pytorch.outputs(theirs, pytorch.image(SIZE))[1:])


@pytest.mark.parametrize("output_stride", [16, 32])
def test_resnet_d(output_stride, monkeypatch):
    theirs = pytorch.randomized(OfTimm(output_stride=output_stride))
    ours = variant(resnet, monkeypatch, "resnet50d", depths=ONCE)
    arrays = resnet.convert(pytorch.arrays(theirs.network))
    found = features(resnet, ours, arrays, output_stride=output_stride)
    pytorch.assert_same(found, pytorch.outputs(theirs, pytorch.image(SIZE)))


@pytest.mark.parametrize("batch_norm", [True, False])
def test_vgg(batch_norm, monkeypatch):
    config = [4, "M", 6, 6, "M", 8, "M", 8, "M", 8, 8, "M"]
    theirs = pytorch.randomized(
        of_smp("vgg11", config=config, batch_norm=batch_norm, num_classes=1, init_weights=False)
    )
    changes = {"depths": (1, 2, 1, 1, 2), "batch_norm": batch_norm}
    ours = variant(vgg, monkeypatch, "vgg11", filters=(4, 6, 8, 8, 8), **changes)
    found = features(vgg, ours, vgg.convert(pytorch.arrays(theirs), ours))
    pytorch.assert_same(found, pytorch.outputs(theirs, pytorch.image(SIZE))[1:])


@pytest.mark.parametrize("old", [True, False])
def test_densenet_with_old_and_new_names(old, monkeypatch):
    depths = (1, 2, 1, 1)
    theirs = pytorch.randomized(of_smp("densenet121", num_init_features=6, growth_rate=4, block_config=depths))
    ours = variant(densenet, monkeypatch, "densenet121_torchvision", depths=depths, stem=6, growth=4)
    state = pytorch.arrays(theirs)
    if old:
        state = {re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)", r"\1.\2", name): state[name] for name in state}
    found = features(densenet, ours, densenet.convert(state))
    pytorch.assert_same(found, pytorch.outputs(theirs, pytorch.image(SIZE))[1:])


@pytest.mark.parametrize("name", ["resnext50_32x4d", "vgg11_bn", "vgg16", "densenet161"])
def test_names_and_shapes_equal_those_of_segmentation_models_pytorch(name, without_memory):
    with torch.device("meta"):
        network = of_smp(name)
    known = smp.ENCODERS[name]
    state = {key: np.broadcast_to(np.float32(0), tensor.shape) for key, tensor in network.state_dict().items()}
    weights = pretrained.weight_keys(
        ENCODERS[known.name].build(weights=None, output_stride=32, input_shape=(64, 64, 3))
    )
    assert {key: array.shape for key, array in rename(state, known.rules).items()} == {
        key: tuple(variable.shape) for key, variable in weights.items()
    }
    assert ENCODERS[known.name].channels == tuple(network.out_channels)[1:]


@pytest.mark.parametrize(("module", "name"), [(vgg, "vgg11"), (densenet, "densenet121_torchvision")])
def test_imagenet_weights_are_converted(module, name, monkeypatch, torchvision, tmp_path):
    monkeypatch.setenv("KSEG_HOME", str(tmp_path / "home"))
    if module is vgg:
        layers = torchvision.models.vgg.make_layers([4, "M", 4, "M", 6, "M", 6, "M", 6, "M"])
        theirs, first = torch.nn.ModuleDict({"features": layers}), "features.0"
        monkeypatch.setitem(module.VARIANTS, name, module.Variant((1,) * 5, filters=(4, 4, 6, 6, 6)))
    else:
        theirs, first = torchvision.models.DenseNet(4, ONCE, 6, num_classes=2), "features.conv0"
        monkeypatch.setitem(module.VARIANTS, name, module.Variant(ONCE, stem=6, growth=4))
    torch.save(theirs.state_dict(), tmp_path / "net.pth")
    digits = hashlib.sha256((tmp_path / "net.pth").read_bytes()).hexdigest()[:8]
    file = (tmp_path / "net.pth").rename(tmp_path / f"net-{digits}.pth")
    monkeypatch.setitem(module.ADDRESSES, name, file.as_uri())
    model = module.build(name, input_shape=(None, None, 1))
    kernel = theirs.state_dict()[f"{first}.weight"].numpy().transpose(2, 3, 1, 0)
    found = pretrained.weight_keys(model)["block1_conv1/kernel" if module is vgg else "conv0/kernel"]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(found), kernel.sum(2, keepdims=True), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("module", [vgg, densenet])
def test_imagenet_addresses_equal_those_of_torchvision(module, torchvision):
    for name, address in module.ADDRESSES.items():
        assert torchvision.models.get_model_weights(name.removesuffix("_torchvision")).IMAGENET1K_V1.url == address


@pytest.mark.parametrize("name", ["vgg11_bn", "densenet121_torchvision", "resnet50d"])
def test_dilated_features_contain_the_strided_ones(name, monkeypatch):
    """At even sizes; the offset is 0."""
    module = {"v": vgg, "d": densenet, "r": resnet}[name[0]]
    changes = {vgg: {"filters": (4, 4, 6, 6, 6)}, densenet: {"depths": ONCE}, resnet: {"depths": ONCE}}[module]
    ours = variant(module, monkeypatch, name, **changes)
    strided = module.build(ours, weights=None)
    dilated = module.build(ours, weights=None, output_stride=8)
    dilated.set_weights(strided.get_weights())
    pixels = pytorch.image((64, 96))
    pytorch.assert_same([computed(dilated, pixels)[-1][:, ::4, ::4]], [computed(strided, pixels)[-1]])


def test_a_variant_without_imagenet_weights_is_named():
    with pytest.raises(
        ValueError, match="no ImageNet weights of resnext101_32x48d: pass encoder_weights=None or a file"
    ):
        resnet.build("resnext101_32x48d")
