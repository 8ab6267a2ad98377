"""Models with weights of torchvision against torchvision."""

import functools

import numpy as np
import pytest
import torch

from kseg import pretrained, zoo
from kseg.encoders import resnet
from kseg.zoo import torchvision as names
from tests.checkpoints import pytorch
from tests.layers.tracing import computed

pytestmark = [
    pytest.mark.usefixtures("numpy_initializers", "torchvision"),
    pytest.mark.filterwarnings("ignore:.*exceed the feature map:UserWarning"),
]


def build(torchvision, name: str):
    model = getattr(torchvision.models.segmentation, name.removesuffix("-coco_voc"))
    return model(weights=None, weights_backbone=None, num_classes=21, aux_loss="resnet" in name)


@pytest.mark.parametrize("name", ["fcn_resnet50-coco_voc", "deeplabv3_resnet50-coco_voc"])
def test_both_outputs_equal_those_of_torchvision(name, torchvision, monkeypatch):
    blocks = (1, 1, 2, 2)  # names and shapes are compared at full depth below
    monkeypatch.setitem(resnet.VARIANTS, "resnet50", resnet.Variant(blocks))
    backbone = functools.partial(torchvision.models.ResNet, torchvision.models.resnet.Bottleneck, blocks)
    for module in (torchvision.models.segmentation.fcn, torchvision.models.segmentation.deeplabv3):
        monkeypatch.setattr(module, "resnet50", lambda weights, **options: backbone(**options))
    network = pytorch.randomized(build(torchvision, name))
    published = names.PUBLISHED[name]
    model = zoo.build(published.builder, 21, encoder_weights=None, auxiliary=True, **published.arguments)
    pretrained.load(model, names.convert(pytorch.arrays(network), published.builder, auxiliary=True))
    for size in pytorch.SIZES:
        pixels = pytorch.image(size)
        found = computed(model, pixels)
        pytorch.assert_same([found["logits"], found["auxiliary"]], pytorch.outputs(network, pixels))


@pytest.mark.parametrize("name", [name for name in names.PUBLISHED if "mobilenet" in name])
def test_logits_on_a_mobilenet_equal_those_of_torchvision(name, torchvision, tmp_path):
    network = pytorch.randomized(build(torchvision, name))
    torch.save(network.state_dict(), tmp_path / "model.pth")
    model = names.load(
        tmp_path / "model.pth", names.PUBLISHED[name].builder, encoder="mobilenet_v3_large", num_classes=21
    )
    assert model.arguments.items() >= names.PUBLISHED[name].arguments.items()
    for size in pytorch.SIZES:
        pixels = pytorch.image(size)
        pytorch.assert_same([computed(model, pixels)], pytorch.outputs(network, pixels))


def test_the_auxiliary_head_of_a_mobilenet_is_refused():
    state = {"backbone.0.0.weight": np.ones((16, 3, 3, 3)), "aux_classifier.4.bias": np.ones(21)}
    with pytest.raises(ValueError, match=r"auxiliary head gets the features at stride 8 .*: leave auxiliary out"):
        names.convert(state, "deeplabv3", auxiliary=True)
    assert list(names.convert(state, "deeplabv3")) == ["encoder/stem_conv/kernel"]


@pytest.mark.parametrize(
    ("name", "auxiliary"),
    [(name, part) for name in names.PUBLISHED for part in ((True, False) if "resnet" in name else (False,))],
)
def test_names_shapes_and_parameters_equal_those_of_torchvision(name, auxiliary, torchvision, without_memory):
    with torch.device("meta"):
        network = build(torchvision, name)
    state = {key: np.broadcast_to(np.float32(0), tensor.shape) for key, tensor in network.state_dict().items()}
    published = names.PUBLISHED[name]
    options = {"auxiliary": True} if auxiliary else {}
    model = zoo.build(published.builder, 21, encoder_weights=None, **options, **published.arguments)
    expected = {key: tuple(variable.shape) for key, variable in pretrained.weight_keys(model).items()}
    trainable = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
    converted = names.convert(state, published.builder, auxiliary=auxiliary)
    assert {key: array.shape for key, array in converted.items()} == expected
    weights = torchvision.models.get_model_weights(name.removesuffix("-coco_voc")).DEFAULT
    assert weights.url == published.url
    if auxiliary or published.builder == "lraspp":
        assert trainable == sum(parameter.numel() for parameter in network.parameters()) == weights.meta["num_params"]
        assert weights.meta["categories"][1:] == [cls.replace("tv/", "tv").replace(" ", "") for cls in names.VOC[1:]]
