"""The dense CRF against the authors' code, and its lattice against the kernel between all pairs of points."""

import numpy as np
import pydensecrf.densecrf
import pytest

from kseg import data
from kseg.inference import dense_crf
from kseg.inference.permutohedral import PermutohedralLattice

OPTIONS = {"smoothness_xy": 3.0, "appearance_xy": 30.0, "appearance_rgb": 13.0}


def scene(height, width, classes):
    """A drawn street, and probabilities with noise around its label."""
    image, label = data.streets("val", count=1, size=(height, width))[0]
    scores = np.eye(classes)[np.minimum(label, classes - 1)] * 1.5
    scores = scores + np.random.default_rng(0).normal(size=scores.shape)
    p = np.exp(scores)
    return image, (p / p.sum(-1, keepdims=True)).astype("float32")


def theirs(image, p, normalization, options, iterations=10):
    name = "NO_NORMALIZATION" if normalization == "none" else f"NORMALIZE_{normalization.upper()}"
    kind = getattr(pydensecrf.densecrf, name)
    height, width, classes = p.shape
    field = pydensecrf.densecrf.DenseCRF2D(width, height, classes)
    field.setUnaryEnergy(np.ascontiguousarray(-np.log(p.reshape(-1, classes).T)))
    shared = {"normalization": kind}
    field.addPairwiseGaussian(sxy=options["smoothness_xy"], compat=3, **shared)
    colors = {"srgb": options["appearance_rgb"], "rgbim": np.ascontiguousarray(image)}
    field.addPairwiseBilateral(sxy=options["appearance_xy"], compat=4, **colors, **shared)
    return np.array(field.inference(iterations)).T.reshape(p.shape)


@pytest.mark.parametrize("normalization", ["symmetric", "before", "after", "none"])
def test_dense_crf_agrees_with_the_authors_code(normalization):
    image, p = scene(96, 128, 8)
    ours = dense_crf(image, p, normalization=normalization, **OPTIONS)
    reference = theirs(image, p, normalization, OPTIONS)
    assert (ours.argmax(-1) == reference.argmax(-1)).mean() >= 0.99
    assert np.abs(ours - reference).mean() < 0.01
    assert (ours.argmax(-1) != p.argmax(-1)).mean() > 0.05  # the CRF has an effect


@pytest.mark.parametrize("d", [1, 2, 5])
def test_the_lattice_filters_like_the_kernel(d):
    rng = np.random.default_rng(d)
    features = rng.uniform(0, 3, (400, d))
    values = rng.uniform(0, 1, (400, 3)).astype("float32")
    apart = ((features[:, None] - features) ** 2).sum(-1)
    exact = np.exp(-apart / 2) @ values
    found = PermutohedralLattice(features)(values)
    # The lattice is off by a constant factor, which every normalization removes.
    ratio = found / exact
    assert ratio.std() / ratio.mean() < 0.1


def test_zero_iterations_or_weights_return_the_probabilities():
    image, p = scene(32, 40, 4)
    np.testing.assert_allclose(dense_crf(image, p, iterations=0), p, atol=1e-6)
    np.testing.assert_allclose(dense_crf(image, p, smoothness=0, appearance=0), p, atol=1e-6)


def test_large_weights_and_certain_predictions_stay_finite():
    image, p = scene(32, 40, 4)
    certain = np.eye(4, dtype="float32")[p.argmax(-1)]
    for given in (p, certain):
        found = dense_crf(image, given, smoothness=1e4, appearance=1e4)
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (13, 1)])
def test_images_of_one_pixel_are_accepted(size):
    image, p = np.zeros((*size, 3), "uint8"), np.full((*size, 2), 0.5, "float32")
    np.testing.assert_allclose(dense_crf(image, p), p, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((4, 5, 2), {"normalization": "both"}, "symmetric, before, after, none, got 'both'"),
        ((4, 6, 2), {}, r"must be \(4, 5, classes\) with two classes or more, got \(4, 6, 2\)"),
        ((4, 5, 1), {}, r"of one channel p use \[1 - p, p\]"),
        ((4, 5, 2), {"appearance_rgb": 0}, "appearance_rgb must be positive, got 0"),
        ((4, 5, 2), {"smoothness": -1}, "smoothness must be 0 or more, got -1"),
    ],
)
def test_invalid_arguments_are_refused(shape, options, message):
    with pytest.raises(ValueError, match=message):
        dense_crf(np.zeros((4, 5, 3), "uint8"), np.full(shape, 0.5, "float32"), **options)


def test_points_too_far_apart_are_refused():
    with pytest.raises(ValueError, match="too many standard deviations apart"):
        PermutohedralLattice(np.eye(5) * 1e6)
