"""`Predictor(resize="processor")` on small models."""

import keras
import numpy as np
import pytest

from kseg.engines import ProcessorRunner, processor
from kseg.inference import Predictor
from kseg.layers import Conv2D, SegmentationHead, layer_calls
from kseg.pretrained import SegmentationModel

RULE = {"size": {"height": 16, "width": 24}, "resample": "bilinear"}
IMAGE = np.random.default_rng(0).integers(0, 256, (13, 31, 3)).astype("uint8")


def model_of(num_classes, activation=None, rule=RULE):
    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 3))
    x = Conv2D(4, 4, strides=4)(image)
    head = SegmentationHead(num_classes, activation=activation, name="head")
    return SegmentationModel.of(keras.Model(image, head(x, like=image)), processor=rule)


@pytest.mark.parametrize(("num_classes", "activation"), [(1, None), (1, "sigmoid"), (3, None), (3, "softmax")])
def test_scores_are_enlarged_before_the_activation(num_classes, activation, monkeypatch):
    from PIL import Image

    model = model_of(num_classes, activation)
    calls = len(list(layer_calls(model)))
    small = np.asarray(Image.fromarray(IMAGE).resize((24, 16), Image.Resampling.BILINEAR))
    first, head = model.layers[1], model.get_layer("head")
    scores = keras.ops.image.resize(head.conv(first(small[None].astype("float32"))), IMAGE.shape[:2])[0]
    expected = keras.ops.sigmoid(scores) if num_classes == 1 else keras.ops.softmax(scores)
    monkeypatch.setattr(processor, "BAND", 5 * IMAGE.shape[1] * num_classes)  # bands of five rows
    predictor, other = (Predictor(model, resize="processor") for _ in range(2))
    found = predictor.probabilities(IMAGE)
    np.testing.assert_allclose(found, keras.ops.convert_to_numpy(expected), atol=1e-5)
    label = found[..., 0] > 0.5 if num_classes == 1 else found.argmax(axis=-1)
    np.testing.assert_array_equal(predictor(IMAGE), label)
    assert len(list(layer_calls(model))) == calls and other.runner._scores is predictor.runner._scores


@pytest.mark.parametrize(
    ("sides", "expected"),
    [({"shortest_edge": 8}, (8, 19)), ({"shortest_edge": 8, "longest_edge": 16}, (7, 16)), (RULE["size"], (16, 24))],
)
def test_sizes(sides, expected):
    runner = ProcessorRunner(model_of(1, rule={"size": sides, "resample": "bilinear"}))
    assert runner.size(13, 31) == expected
    if "height" not in sides:
        assert runner.size(31, 13) == expected[::-1]
