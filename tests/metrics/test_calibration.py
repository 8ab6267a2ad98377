"""Calibration against torchmetrics."""

import numpy as np
import pytest
import torch

from kseg.metrics import calibration


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_the_error_equals_torchmetrics(bins, torchvision):
    from torchmetrics.functional.classification import multiclass_calibration_error

    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3, 8, 9, 4))
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    label = np.where(rng.random((3, 8, 9)) < 0.3, 255, rng.integers(0, 4, (3, 8, 9)))
    theirs = multiclass_calibration_error(
        torch.tensor(np.moveaxis(p, -1, 1), device="cpu"),
        torch.tensor(label, device="cpu"),
        num_classes=4,
        n_bins=bins,
        ignore_index=255,
    )
    found = calibration(zip(label, p, strict=True), bins=bins)
    assert found["ece"] == pytest.approx(theirs.item(), abs=1e-6)
    assert found["pixels"].sum() == (label != 255).sum()


def test_one_channel_is_the_probability_of_class_one():
    label, p = np.array([[0, 1, 1]]), np.array([[[0.25], [0.75], [0.25]]])
    # Confidence 0.75 each, two of three right.
    assert calibration([(label, p)])["ece"] == pytest.approx(0.75 - 2 / 3)


def test_void_pixels_alone_have_error_zero():
    assert calibration([(np.array([[255]]), np.array([[[0.5, 0.5]]]))])["ece"] == 0
    with pytest.raises(ValueError, match="do not fit"):
        calibration([(np.zeros((2, 2)), np.zeros((2, 3, 4)))])
