"""Class ids, class names and probabilities, wherever they are given."""

import re

import numpy as np
import pytest

from kseg import data, inference, losses, metrics, training, visualize
from kseg.data import labels

LABEL, P = np.array([[0, 1, 1]]), np.array([[0.2, 0.7, 0.9]])
BOTH = np.stack([1 - P, P], axis=-1)
IMAGE = np.full((1, 3, 3), 100, "uint8")
PALETTE = [(0, 0, 0), (9, 9, 9)]

TAKE_IDS = {
    "confusion_matrix": lambda ids: metrics.confusion_matrix(LABEL, ids, 2),
    "confusion_matrix of labels": lambda ids: metrics.confusion_matrix(ids, LABEL, 2),
    "boundary_f1": lambda ids: metrics.boundary_f1([(LABEL, ids)], 2),
    "trimap_scores": lambda ids: metrics.trimap_scores([(LABEL, ids)], 2)[1]["iou"],
    "calibration": lambda ids: metrics.calibration([(ids, BOTH)])["ece"],
    "class_weights": lambda ids: losses.class_weights([ids], 2),
    "one_hot": lambda ids: labels.one_hot(ids, 2),
    "to_rgb": lambda ids: labels.to_rgb(ids, PALETTE),
    "remap": lambda ids: labels.remap(ids, {0: 1, 1: 0}),
    "overlay": lambda ids: visualize.overlay(IMAGE, ids, PALETTE),
    "colorize": lambda ids: visualize.colorize(ids, PALETTE),
    "borders": lambda ids: visualize.borders(ids),
    "error_map": lambda ids: visualize.error_map(LABEL, ids, shares=False),
}


@pytest.mark.parametrize("name", TAKE_IDS)
def test_floats_are_class_ids_only_if_they_are_whole(name):
    expected = TAKE_IDS[name](LABEL)
    for dtype in ("float32", "float16", "uint8", "int8", "bool"):
        np.testing.assert_array_equal(TAKE_IDS[name](LABEL.astype(dtype)), expected)
    for broken in (P, np.where(P > 0.8, np.nan, LABEL), np.where(P > 0.8, np.inf, LABEL)):
        with pytest.raises(ValueError, match=r"must contain class ids, whole numbers; got .* \(1 pixels\)"):
            TAKE_IDS[name](broken)


@pytest.mark.parametrize(
    ("p", "message"),
    [
        (5 * BOTH - 2, r"probabilities must be from 0 to 1, got -1.5 to 2.5: apply softmax to logits"),
        (np.where(BOTH > 0.8, np.nan, BOTH), "probabilities must be from 0 to 1, got nan to nan"),
        (BOTH / 2, "probabilities of a pixel must have a sum of 1, got 0.5 to 0.5"),
    ],
)
def test_probabilities_are_checked(p, message):
    with pytest.raises(ValueError, match=message):
        metrics.calibration([(LABEL, p)])
    with pytest.raises(ValueError, match=message):
        inference.dense_crf(IMAGE, p)
    for dtype in ("float16", "float32"):
        assert metrics.calibration([(LABEL, BOTH.astype(dtype))])["pixels"].sum() == 3
        assert inference.dense_crf(IMAGE, BOTH.astype(dtype)).shape == BOTH.shape


def test_logits_of_one_channel_and_stray_labels_are_refused_in_calibration():
    with pytest.raises(ValueError, match="got -3 to 2: apply sigmoid to logits"):
        metrics.calibration([(LABEL, np.array([[[-3.0], [2], [1]]]))])
    with pytest.raises(ValueError, match=r"labels 7 \(2 pixels\) are outside the 2 classes"):
        metrics.calibration([(7 * LABEL, BOTH)])


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (IMAGE / 255, "values from 0 to 255, got at most 0.392157: multiply it by 255"),
        (IMAGE / 64 - 2, "values from 0 to 255, got -0.4375 to -0.4375: pass it unnormalized"),
        (np.where(IMAGE, np.nan, 0), "values from 0 to 255, got nan to nan"),
    ],
)
def test_images_of_other_values_are_refused_by_the_crf(image, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        inference.dense_crf(image, BOTH)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["crop", "weed", "weed"], "classes 1 and 2 are both called 'weed'"),
        (["crop", "weed", " weed"], "classes 1 and 2 are both called ' weed'"),
        (["é", "e\u0301", "weed"], "classes 0 and 1 are both called"),
        (["crop", "", "weed"], "class 1 has an empty name"),
        (["crop", "weed", "  "], "class 2 has an empty name"),
        (["crop", 1, "weed"], "class 1 must have a name, a text, got 1"),
    ],
)
def test_class_names_that_are_empty_or_occur_twice_are_refused(names, message):
    for make in (
        lambda: data.Dataset("mine", names),
        lambda: metrics.SegmentationScores(3, class_names=names),
        lambda: metrics.per_class(np.eye(3), names),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            make()
    recipe = {"epochs": 1, "model": {"builder": "unet"}, "data": {"folder": "x", "classes": names}}
    with pytest.raises(ValueError, match=r"recipe: \[data\]"):
        training.Recipe.from_dict(recipe)
