"""How well predicted probabilities match observed frequencies."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from kseg.classes import check_probabilities, class_ids, listing


def calibration(pairs: Iterable[tuple[Any, Any]], *, bins: int = 15, ignore_class: int | None = 255) -> dict[str, Any]:
    """Computes the expected calibration error: the mean difference of confidence and accuracy over all labeled pixels.

    Args:
        pairs: `(label, probabilities)` of images or batches: integers `(..., H, W)` and floats `(..., H, W, C)`. A
            single channel is the probability of class 1.
        bins: Number of equal intervals of the confidence, which is the probability of the predicted class.
        ignore_class: Label of void pixels. None if there are none.

    Returns:
        `ece`, the mean of |accuracy - confidence| over the bins, weighted by their pixels, 0 to 1; and arrays `(bins,)`
        for a reliability diagram: `confidence`, `accuracy` (NaN in empty bins) and `pixels`.

    Raises:
        ValueError: If labels and probabilities do not fit, a label is neither a class nor void, or the probabilities of
            a pixel, such as logits, are not from 0 to 1 with a sum of 1.

    Reference:
        Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, 2017, https://arxiv.org/abs/1706.04599

    Example:
        A confidence of 80 %, but only one of two pixels is correct:

        >>> label, p = np.array([[0, 1]]), np.array([[[0.8, 0.2], [0.8, 0.2]]])
        >>> round(calibration([(label, p)])["ece"], 6)
        0.3
    """
    pixels, right, sure = (np.zeros(bins) for _ in range(3))
    for label, probabilities in pairs:
        label, probabilities = class_ids(label), np.asarray(probabilities)
        if label.shape != probabilities.shape[:-1]:
            raise ValueError(f"labels of shape {label.shape} do not fit probabilities of shape {probabilities.shape}")
        check_probabilities(probabilities)
        if probabilities.shape[-1] == 1:
            probabilities = np.concatenate([1 - probabilities, probabilities], axis=-1)
        counted = np.ones(label.shape, bool) if ignore_class is None else label != ignore_class
        outside = counted & ((label < 0) | (label >= probabilities.shape[-1]))
        if outside.any():
            strays = dict(zip(*np.unique(label[outside], return_counts=True), strict=True))
            raise ValueError(f"labels {listing(strays)} are outside the {probabilities.shape[-1]} classes")
        confidence = probabilities.max(axis=-1)[counted].astype("float64")
        correct = (probabilities.argmax(axis=-1) == label)[counted]
        place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
        for total, weights in ((pixels, None), (right, correct), (sure, confidence)):
            total += np.bincount(place, weights=weights, minlength=bins)
    with np.errstate(invalid="ignore"):
        accuracy, confidence = right / pixels, sure / pixels
    ece = float(np.abs(right - sure).sum() / max(pixels.sum(), 1))
    return {"ece": ece, "confidence": confidence, "accuracy": accuracy, "pixels": pixels.astype("int64")}
