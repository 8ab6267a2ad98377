"""PIDNet against a model in PyTorch with the names of the authors' repository."""

import keras
import numpy as np
import pytest
import torch

from kseg import losses, pretrained, zoo
from kseg.data import _camvid, _official
from kseg.zoo import authors
from tests.checkpoints import pytorch
from tests.reference.pidnet import PIDNet
from tests.zoo.cheap import CHEAP

pytestmark = pytest.mark.usefixtures("numpy_initializers")

SMALL = {"s": (8, 2, 3, 6, 12), "l": (4, 3, 4, 6, 12)}

# The colors of the masks of CamVid in the order of their ids in the authors' repository, where pavement is (0, 0, 192).
COLORS = (
    (0, 128, 192), (128, 0, 0), (64, 0, 128), (192, 192, 128), (64, 64, 128), (64, 64, 0), (128, 64, 128),
    (60, 40, 222), (192, 128, 128), (128, 128, 128), (128, 128, 0),
)  # fmt: skip
CAMVID = {color: name for name, color in zip(_camvid.CLASSES, _camvid.PALETTE, strict=True)}
KNOWN = {
    "s": (tuple(CAMVID[color] for color in COLORS), COLORS),
    "l": tuple(zip(*[row[:2] for row in _official.CITYSCAPES], strict=True)),
}


def outputs(model, pixels):
    """The three outputs, by what the backend does with least tracing and compilation."""
    jax = keras.backend.backend() == "jax"
    found = model.predict(pixels, verbose=0) if jax else model(pixels, training=False)
    return [keras.ops.convert_to_numpy(found[name]) for name in ("logits", "auxiliary", "boundary")]


@pytest.mark.parametrize("variant", SMALL)
def test_all_outputs_equal_those_of_the_authors_model(variant, tmp_path, capsys):
    classes, colors = KNOWN[variant]
    network = pytorch.randomized(PIDNet(len(classes), *SMALL[variant]))
    state = {f"model.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save(
        {"state_dict": {**state, "sem_loss.criterion.weight": torch.ones(len(classes))}, "epoch": 3},
        tmp_path / "best.pt",
    )
    model = authors.load(tmp_path / "best.pt", "pidnet", auxiliary=True)
    assert model.arguments["variant"] == variant
    for size in ((97, 150), (64, 128)):
        pixels = pytorch.image(size)
        pytorch.assert_same(outputs(model, pixels), pytorch.outputs(network, pixels))
    plain = authors.load(tmp_path / "best.pt", "pidnet")
    assert plain.output_shape == (None, None, None, len(classes))
    stored = pretrained.describe(pretrained.save(plain, tmp_path / "model.safetensors"))
    assert (*stored["classes"],) == classes and [*map(tuple, stored["palette"])] == [*colors]
    assert f"best.pt has {len(classes)} classes: they get the names of C" in capsys.readouterr().err
    assert list(pretrained.weight_keys(plain)) == [
        key for key in pretrained.weight_keys(model) if not key.startswith(("auxiliary", "boundary"))
    ]


def test_imagenet_weights_lack_the_boundary_branch(tmp_path):
    network = pytorch.randomized(PIDNet(1000, *SMALL["s"]))
    state = {name: tensor for name, tensor in network.state_dict().items() if "_d." not in name and "diff" not in name}
    torch.save({"state_dict": state | {"linear.weight": torch.ones(1000, 8)}}, tmp_path / "imagenet.pth.tar")
    sizes = {"filters": 8, "pyramid_filters": 6, "head_filters": 4, "input_shape": (None, None, 1)}
    with pytest.warns(UserWarning, match="missing d_layer3_conv1/kernel"):
        model = zoo.pidnet(3, encoder_weights=tmp_path / "imagenet.pth.tar", **sizes)
    for layer, module in (("layer5_1_conv3", network.layer5[1].conv3), ("p_layer5_0_conv1", network.layer5_[0].conv1)):
        found = model.get_layer("encoder").get_layer(layer).get_weights()[0]
        np.testing.assert_array_equal(found[0, 0].T, module.weight.detach()[..., 0, 0])
    (first, _) = model.get_layer("encoder").get_layer("stem1_conv").get_weights()
    gray = network.conv1[0].weight.detach().numpy().sum(1, keepdims=True)
    np.testing.assert_allclose(first, gray.transpose(2, 3, 1, 0), rtol=1e-5, atol=1e-6)


def test_every_output_has_its_loss_of_the_labels():
    model = zoo.pidnet(3, auxiliary=True, **CHEAP["pidnet"])
    terms = {"logits": losses.OHEM(), "auxiliary": losses.CrossEntropy(), "boundary": losses.BorderDetection()}
    model.compile(loss=terms, loss_weights={"logits": 1, "auxiliary": 0.4, "boundary": 20})
    labels = np.kron(np.arange(4).reshape(1, 2, 2) % 3, np.ones((32, 24), int)).astype("uint8")
    found = model.evaluate(pytorch.image((64, 48)), dict.fromkeys(terms, labels), verbose=0, return_dict=True)
    parts = found["logits_loss"] + 0.4 * found["auxiliary_loss"] + 20 * found["boundary_loss"]
    assert found["loss"] == pytest.approx(parts, rel=1e-5) and found["boundary_loss"] > 0


def test_probabilities_and_an_unknown_variant():
    with pytest.raises(ValueError, match="variant must be s, m, l, got 'xl'"):
        zoo.pidnet(3, variant="xl")
    model = zoo.pidnet(3, auxiliary=True, activation="softmax", **CHEAP["pidnet"])
    heads = {name: model.get_layer(name) for name in ("head", "auxiliary", "boundary")}
    found = {name: (head.activation, head.num_classes) for name, head in heads.items()}
    assert found == {"head": ("softmax", 3), "auxiliary": ("softmax", 3), "boundary": ("sigmoid", 1)}
