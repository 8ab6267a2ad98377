"""Losses that kseg shares with segmentation-models-pytorch and torchmetrics: the same values and gradients."""

import numpy as np
import pytest
import torch

from kseg import losses
from tests.layers.tracing import value_and_gradient
from tests.losses.sample import sample


@pytest.fixture
def smp(torchvision):
    import segmentation_models_pytorch.losses

    return segmentation_models_pytorch.losses


def compare(ours, theirs, labels, logits):
    x = torch.tensor(logits, device="cpu", requires_grad=True)
    expected = theirs(x.movedim(-1, 1), torch.tensor(labels.astype("int64"), device="cpu"))
    expected.backward()
    value, gradient = value_and_gradient(lambda x: ours(labels, x), logits)
    assert value == pytest.approx(expected.item(), rel=2e-5)
    np.testing.assert_allclose(gradient, x.grad.numpy(), atol=2e-6)


def test_losses_of_many_classes_equal_segmentation_models_pytorch(smp):
    labels, logits = sample()
    full = np.where(labels == 255, 0, labels)
    tversky = {"alpha": 0.2, "beta": 0.9}
    compare(losses.Dice(), smp.DiceLoss("multiclass", ignore_index=255), labels, logits)
    compare(losses.Tversky(**tversky), smp.TverskyLoss("multiclass", **tversky, ignore_index=255), labels, logits)
    compare(losses.LovaszSoftmax(), smp.LovaszLoss("multiclass", ignore_index=255), labels, logits)
    compare(losses.Jaccard(), smp.JaccardLoss("multiclass"), full, logits)  # theirs cannot ignore a class


def test_binary_losses_equal_segmentation_models_pytorch(smp):
    labels, logits = sample(2, seed=3)
    labels, logits = np.where(labels == 255, 0, labels), logits[..., :1]
    for ours, theirs in (
        (losses.Dice(), smp.DiceLoss("binary")),
        (losses.Jaccard(), smp.JaccardLoss("binary")),
        (losses.Tversky(alpha=0.2, beta=0.9), smp.TverskyLoss("binary", alpha=0.2, beta=0.9)),
        (losses.Focal(class_weights=[0.75, 0.25], normalizer="pixels"), smp.FocalLoss("binary", alpha=0.25)),
    ):
        compare(ours, lambda x, y, theirs=theirs: theirs(x, y[:, None]), labels, logits)


def test_dice_of_hard_predictions_equals_torchmetrics(torchvision):
    import torchmetrics.functional.segmentation

    labels, logits = sample(seed=8)
    labels = np.where(labels == 255, 1, labels)
    hard = np.eye(4, dtype="float32")[logits.argmax(-1)]
    encoded = [torch.tensor(np.moveaxis(x, -1, 1), device="cpu").long() for x in (hard, np.eye(4)[labels])]
    score = torchmetrics.functional.segmentation.dice_score(*encoded, num_classes=4, average="macro")
    ours = losses.Dice(from_logits=False, per_image=True)(labels, hard)
    assert float(ours) == pytest.approx(1 - score.mean().item(), abs=1e-6)
