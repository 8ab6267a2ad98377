"""Models that end in probabilities, under losses and metrics that expect logits."""

import keras
import numpy as np
import pytest

from kseg import losses, zoo
from kseg.metrics import SegmentationScores, gives_logits


def model(classes, activation):
    return zoo.segnet_basic(classes, filters=2, activation=activation)


@pytest.mark.parametrize(("classes", "activation"), [(3, "softmax"), (1, "sigmoid")])
@pytest.mark.parametrize("eager", [True, False])
def test_a_loss_and_a_threshold_for_logits_refuse_probabilities(classes, activation, eager):
    images, labels = np.zeros((1, 32, 32, 3), "float32"), np.zeros((1, 32, 32), "int32")

    def fit(net, loss, *scores):
        net.compile("sgd", loss, metrics=list(scores), run_eagerly=eager)
        return net.train_on_batch(images, labels, return_dict=True)

    net = model(classes, activation)
    assert not gives_logits(net)
    assert np.isfinite(fit(net, losses.Dice(from_logits=False))["loss"])
    assert np.isfinite(fit(model(classes, None), losses.Dice(), SegmentationScores(classes))["loss"])
    if keras.backend.backend() == "jax":  # its traced values cannot carry Keras's mark
        assert np.isfinite(fit(net, losses.Dice())["loss"])
        return
    for loss in (losses.Dice(), losses.CrossEntropy() + losses.Dice()):
        with pytest.raises(ValueError, match=r"dice expects logits, but the model ends in probabilities: build it wi"):
            fit(net, loss)
    scores = SegmentationScores(classes)
    if classes == 1:
        with pytest.raises(ValueError, match=r"scores expects logits, .* or give scores from_logits=False"):
            fit(net, losses.Dice(from_logits=False), scores)
    else:  # the largest of several channels is the same
        assert np.isfinite(fit(net, losses.Dice(from_logits=False), scores)["loss"])
