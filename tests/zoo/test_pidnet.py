"""PIDNet against a model in PyTorch with the names of the authors' repository."""

import keras
import numpy as np
import pytest
import torch

from kseg import losses, pretrained, zoo
from kseg.zoo import authors
from tests.checkpoints import pytorch
from tests.reference.pidnet import PIDNet
from tests.zoo.cheap import CHEAP

pytestmark = pytest.mark.usefixtures("numpy_initializers")

SMALL = {"s": (8, 2, 3, 6, 12), "l": (4, 3, 4, 6, 12)}


@pytest.mark.parametrize("variant", SMALL)
def test_all_outputs_equal_those_of_the_authors_model(variant, tmp_path):
    network = pytorch.randomized(PIDNet(5, *SMALL[variant]))
    state = {f"model.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({"state_dict": {**state, "sem_loss.criterion.weight": torch.ones(5)}, "epoch": 3}, tmp_path / "best.pt")
    model = authors.load(tmp_path / "best.pt", "pidnet", auxiliary=True)
    assert model.arguments["variant"] == variant
    for size in ((97, 150), (64, 128)):
        pixels = pytorch.image(size)
        found = model.predict(pixels, verbose=0)
        expected = pytorch.outputs(network, pixels)
        pytorch.assert_same([found[name] for name in ("logits", "auxiliary", "boundary")], expected)
    plain = authors.load(tmp_path / "best.pt", "pidnet")
    pytorch.assert_same([pytorch.logits(plain, pixels)], expected[:1])


def test_imagenet_weights_lack_the_boundary_branch(tmp_path):
    network = pytorch.randomized(PIDNet(1000, *SMALL["s"]))
    state = {name: tensor for name, tensor in network.state_dict().items() if "_d." not in name and "diff" not in name}
    torch.save({"state_dict": state | {"linear.weight": torch.ones(1000, 8)}}, tmp_path / "imagenet.pth.tar")
    sizes = {"filters": 8, "pyramid_filters": 6, "head_filters": 4}
    with pytest.warns(UserWarning, match="missing d_layer3_conv1/kernel"):
        model = zoo.pidnet(3, encoder_weights=tmp_path / "imagenet.pth.tar", **sizes)
    found = model.get_layer("encoder").get_layer("layer5_1_conv3").get_weights()[0]
    np.testing.assert_array_equal(found[0, 0].T, network.layer5[1].conv3.weight.detach()[..., 0, 0])
    with pytest.warns(UserWarning, match="missing d_layer3"):
        gray = zoo.pidnet(3, encoder_weights=tmp_path / "imagenet.pth.tar", **sizes, input_shape=(None, None, 1))
    assert gray.predict_on_batch(pytorch.image((33, 40))[..., :1]).shape == (1, 33, 40, 3)


def test_all_outputs_are_trained_with_the_labels():
    model = zoo.pidnet(3, auxiliary=True, **CHEAP["pidnet"])
    terms = {"logits": losses.OHEM(), "auxiliary": losses.CrossEntropy(), "boundary": losses.BorderDetection()}
    model.compile("sgd", loss=terms, loss_weights={"logits": 1, "auxiliary": 0.4, "boundary": 20})
    labels = np.kron(np.arange(4).reshape(1, 2, 2) % 3, np.ones((32, 24), int)).astype("uint8")
    pixels = pytorch.image((64, 48))
    before = {key: np.array(keras.ops.convert_to_numpy(value)) for key, value in pretrained.weight_keys(model).items()}
    history = model.fit(pixels, dict.fromkeys(terms, labels), batch_size=1, verbose=0).history
    assert history.keys() >= {"loss", "logits_loss", "auxiliary_loss", "boundary_loss"} and np.isfinite(history["loss"])
    moved = {
        key
        for key, value in pretrained.weight_keys(model).items()
        if np.any(before[key] != keras.ops.convert_to_numpy(value))
    }
    assert moved >= {
        "boundary/conv/kernel",
        "auxiliary/conv/kernel",
        "head/conv/kernel",
        "encoder/d_layer3_conv1/kernel",
    }


def test_an_unknown_variant_is_refused_and_probabilities_are_given():
    with pytest.raises(ValueError, match="variant must be s, m, l, got 'xl'"):
        zoo.pidnet(3, variant="xl")
    model = zoo.pidnet(3, auxiliary=True, activation="softmax", **CHEAP["pidnet"])
    found = model.predict_on_batch(pytorch.image((40, 33)))
    assert {name: array.shape[-1] for name, array in found.items()} == {"logits": 3, "auxiliary": 3, "boundary": 1}
    np.testing.assert_allclose(found["logits"].sum(-1), 1, rtol=1e-5)
    assert 0 <= found["boundary"].min() <= found["boundary"].max() <= 1
