"""SwiftNet against a model in PyTorch with the names of the authors' repository."""

import keras
import numpy as np
import pytest
import torch

from kseg import pretrained, zoo
from kseg.zoo import authors
from tests.checkpoints import pytorch
from tests.reference.swiftnet import SwiftNet
from tests.zoo.cheap import encoder_to

pytestmark = pytest.mark.usefixtures("numpy_initializers")

# The versions of 2019 and of 2020. The odd sizes are those that the authors' pyramids can add.
CASES = [
    ({}, (97, 150)),
    ({"side": 1, "inside": True}, (65, 98)),
    ({"pyramid": 2}, (103, 71)),
    ({"pyramid": 3, "level_norms": True, "side": 1, "inside": True}, (103, 71)),
]


@pytest.mark.parametrize(("options", "odd"), CASES)
def test_logits_equal_those_of_the_authors_model(options, odd, tmp_path):
    network = pytorch.randomized(SwiftNet(5, **options))
    torch.save({f"module.{name}": tensor for name, tensor in network.state_dict().items()}, tmp_path / "best.pt")
    model = authors.load(tmp_path / "best.pt", "swiftnet", classes=["soil", "leaf", "spot", "stem", "root"])
    assert model.arguments["pyramid"] == options.get("pyramid", 1)
    for size in (odd, (64, 96)):
        pixels = pytorch.image(size)
        if options.get("inside"):
            with torch.inference_mode():
                expected = network(torch.from_numpy(pixels.transpose(0, 3, 1, 2))).numpy().transpose(0, 2, 3, 1)
        else:
            (expected,) = pytorch.outputs(network, pixels)
        pytorch.assert_same([pytorch.logits(model, pixels)], [expected])
    with pytest.raises(ValueError, match=r"classes has 2 names, but .*best\.pt has num_classes=5: give 5"):
        authors.load(tmp_path / "best.pt", "swiftnet", classes=["soil", "leaf"])
    assert model.classes == ("soil", "leaf", "spot", "stem", "root")
    if options.get("level_norms"):  # an encoder of several images, whose layers are called several times
        assert 435 < zoo.receptive_field(model) < np.inf
        again = zoo.load(pretrained.save(model, tmp_path / "model.safetensors"))
        np.testing.assert_array_equal(pytorch.logits(again, pixels), pytorch.logits(model, pixels))
        model.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
        np.testing.assert_allclose(pytorch.logits(again, pixels), pytorch.logits(model, pixels), atol=1e-5)


@pytest.mark.parametrize("pyramid", [2, 3])
def test_a_pyramid_takes_images_of_any_size_on_any_encoder(pyramid):
    model = zoo.swiftnet(3, pyramid=pyramid, filters=6, **encoder_to(16))
    for size in ((33, 40), (7, 66), (2, 1)):
        assert model.predict_on_batch(pytorch.image(size)).shape == (1, *size, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pyramid": 5}, "pyramid must be 1, 2, 3 or 4, got 5"),
        ({"level_norms": True}, "level_norms=True needs a pyramid of 2 or more and a ResNet"),
        ({"level_norms": True, "pyramid": 2, "encoder": "efficientnet_lite0"}, "and a ResNet as encoder"),
        ({"encoder": lambda image: {8: image}}, "needs features at stride 4, but the encoder has only stride 8"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        zoo.swiftnet(3, **{"encoder_weights": None, **options})


def test_tensors_of_other_models_are_refused(tmp_path):
    torch.save({"conv1.weight": torch.ones(2, 3, 3, 3)}, tmp_path / "other.pt")
    for builder, message in (
        ("swiftnet", "not the tensors of a SwiftNet on ResNet-18 or ResNet-34"),
        ("pidnet", "not the tensors of a PIDNet for segmentation: they lack head/conv"),
        ("fcn8", "reads authors' checkpoints of swiftnet and pidnet, not of 'fcn8'"),
    ):
        with pytest.raises(ValueError, match=message):
            authors.load(tmp_path / "other.pt", builder)
    with pytest.raises(ValueError, match="SwiftNet has no auxiliary heads"):
        authors.load(tmp_path / "other.pt", "swiftnet", auxiliary=True)
