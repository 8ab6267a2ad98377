"""What every loss promises; values compared with plain NumPy."""

import re

import keras
import numpy as np
import pytest
from keras import ops
from scipy.ndimage import distance_transform_edt

from kseg import losses
from kseg.losses import LOSSES, CrossEntropy, Dice
from tests.layers.tracing import value_and_gradient
from tests.losses.sample import sample
from tests.reference.borders import border

WEIGHTS = [0.3, 1.0, 2.0, 5.0]


def make(name, classes=4, **options):
    if name == "balanced_cross_entropy":
        options = {"class_weights": np.ones(max(classes, 2)), **options}
    return losses.get(name, **options)


def test_regions_are_weighted_means_over_the_classes_present():
    labels, logits = sample(seed=9)
    labels[labels == 2] = 255
    present = [0, 1, 3]
    p = ops.convert_to_numpy(ops.softmax(logits))[..., present]
    pixels = np.random.default_rng(1).random(labels.shape).astype("float32")
    target = labels[..., None] == present
    counted = (pixels * (labels != 255))[..., None]
    i, a, square, b = ((counted * x).sum((0, 1, 2)) for x in (p * target, p, p**2, target))
    tversky = 1 - i / (i + 0.3 * (a - i) + 0.7 * (b - i))
    for loss, each in (
        (make("dice", class_weights=WEIGHTS), 1 - 2 * i / (a + b)),
        (make("dice", class_weights=WEIGHTS, squared=True), 1 - 2 * i / (square + b)),
        (make("jaccard", class_weights=WEIGHTS), 1 - i / (a + b - i)),
        (make("tversky", class_weights=WEIGHTS), tversky),
        (make("focal_tversky", class_weights=WEIGHTS), tversky**0.75),
    ):
        expected = np.average(each, weights=np.take(WEIGHTS, present))
        assert float(loss(labels, logits, pixels)) == pytest.approx(expected, rel=1e-5), loss.get_config()


def test_a_pixel_of_weight_two_counts_for_lovasz_like_two_pixels():
    labels, logits = sample(shape=(1, 3, 5), seed=11)
    weights = np.where(np.arange(5) == 2, 2.0, 1.0).astype("float32")
    twice = [np.concatenate([x, x[:, :, 2:3]], axis=2) for x in (labels, logits)]
    value = losses.LovaszSoftmax()(labels, logits, np.broadcast_to(weights, labels.shape))
    assert float(value) == pytest.approx(float(losses.LovaszSoftmax()(*twice)), rel=1e-5)


def test_ohem_keeps_the_hard_pixels_and_at_least_a_fraction():
    labels, logits = sample(seed=13)
    ce = [ops.convert_to_numpy(x) for x in losses.pixel_cross_entropy(labels, logits)]
    valid = labels != 255
    hard = valid & (np.exp(-ce[0]) <= 0.7)
    assert float(losses.OHEM()(labels, logits)) == pytest.approx(ce[0][hard].mean(), rel=1e-5)
    kept = np.sort(ce[0][valid])[::-1][: int(np.ceil(0.8 * valid.sum()))]
    assert len(kept) > (np.exp(-ce[0][valid]) <= 0.01).sum()
    assert float(losses.OHEM(threshold=0.01, min_kept=0.8)(labels, logits)) == pytest.approx(kept.mean(), rel=1e-5)
    whole = float(CrossEntropy(class_weights=WEIGHTS)(labels, logits))
    assert float(losses.OHEM(min_kept=1.0, class_weights=WEIGHTS)(labels, logits)) == pytest.approx(whole, rel=1e-5)


# Probabilities of the labels 0, 1, 0: 1/2, 1/4, 9/10; the last is easy. The fourth pixel is void.
FOUR = np.array([[[0, 1, 0, 255]]])
FOUR_LOGITS = np.log(np.array([[[[1, 1], [3, 1], [9, 1], [1, 1]]]], "float32"))


CROSS_ENTROPY = np.log([2, 4, 10 / 9])
MODULATED = CROSS_ENTROPY * [1 / 4, 9 / 16, 1 / 100]  # by (1 - p)^2
BORDER = {"w0": 4, "sigma": 1}  # each pixel lies at a border: 1 + w0 = 5


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (losses.Focal(), MODULATED.mean()),
        (losses.Focal(class_weights=[3, 1]), MODULATED @ [3, 1, 3] / 7),
        (losses.OHEM(normalizer="pixels"), CROSS_ENTROPY[:2].mean()),  # two are kept
        (losses.OHEM(class_weights=[3, 1]), CROSS_ENTROPY[:2] @ [3, 1] / 4),
        (losses.OHEM(class_weights=[3, 1], normalizer="pixels"), CROSS_ENTROPY[:2] @ [3, 1] / 2),
        (losses.BoundaryWeighted(**BORDER, class_weights=[3, 1]), CROSS_ENTROPY @ [3, 1, 3] / 7),
        (losses.BoundaryWeighted(**BORDER, class_weights=[3, 1], normalizer="pixels"), CROSS_ENTROPY @ [15, 5, 15] / 3),
    ],
)
def test_weighted_cross_entropy_equals_the_arithmetic(loss, expected):
    assert float(loss(FOUR, FOUR_LOGITS)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cross_entropy", {"normalizer": "mean"}, "normalizer must be 'weights' or 'pixels', got 'mean'"),
        ("cross_entropy", {"label_smoothing": 2}, "label_smoothing must be a number from 0 to 1, got 2"),
        ("cross_entropy", {"label_smoothing": 1.0}, "label_smoothing must be below 1, got 1"),
        ("focal", {"gamma": -1.0}, "gamma must be a number, 0 or more, got -1.0"),
        ("focal", {"gamma": "2"}, "gamma must be a number, 0 or more, got '2'"),
        ("focal_tversky", {"gamma": 0}, "gamma must be above 0: every prediction would have the same loss"),
        (
            "tversky",
            {"alpha": 0, "beta": 0},
            "alpha or beta must be above 0: every prediction would have the same loss",
        ),
        ("tversky", {"alpha": float("nan")}, "alpha must be a number, 0 or more, got nan"),
        ("ohem", {"min_kept": 100_000}, "min_kept must be a number from 0 to 1, got 100000"),
        ("ohem", {"threshold": None}, "threshold must be a number from 0 to 1, got None"),
        ("boundary_weighted", {"sigma": 0}, "sigma must be above 0, got 0"),
        ("dice", {"smooth": float("inf")}, "smooth must be a number, 0 or more, got inf"),
        ("dice", {"class_weights": [0, 0]}, "class_weights must be a list of numbers, 0 or more and one of them above"),
        ("dice", {"class_weights": {0: 1, 1: 2}}, "class_weights must be a list of numbers, 0 or more and one of them"),
        ("jaccard", {"class_weights": "balanced"}, "class_weights must be a list of numbers, 0 or more and one of"),
        ("lovasz_softmax", {"class_weights": [1, -1]}, "class_weights must be a list of numbers, 0 or more and one of"),
    ],
)
def test_options_with_which_nothing_is_learned_are_refused(name, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        getattr(losses, name)(FOUR, FOUR_LOGITS, **options)
    with pytest.raises(ValueError, match=re.escape(message)):
        losses.get(name, **options)(FOUR, FOUR_LOGITS)


def test_functions_of_users_have_options_of_any_kind():
    loss = losses.SegmentationLoss(lambda y, scores, alpha, sigma, **_: 0.0 * scores[0], "own", alpha=-1, sigma=(1, 2))
    assert loss.get_config()["sigma"] == (1, 2)


@pytest.mark.parametrize("factor", [-1, 0, float("nan")])
def test_factors_of_a_sum_are_above_0(factor):
    with pytest.raises(ValueError, match=f"the factor of dice must be above 0, got {factor}"):
        CrossEntropy() + factor * Dice()
    with pytest.raises(ValueError, match=f"the factor of dice must be above 0, got {factor}"):
        losses.get(f"cross_entropy + {factor} * dice")


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("shape", [(4, 6), (2, 4), (2, 6, 4)])
def test_weights_that_do_not_fit_the_labels_are_refused(name, shape):
    true, scores = np.zeros((2, 4, 6), "uint8"), np.zeros((2, 4, 6, 3), "float32")
    with pytest.raises(ValueError, match=r"sample_weight of shape .* does not fit labels of shape"):
        make(name, 3)(true, scores, sample_weight=np.ones(shape, "float32"))


def test_dice_of_soft_binary_labels_equals_the_arithmetic():
    # Intersection 0.5 * 0.9 + 1 * 0.25, predictions 0.5 + 1, targets 0.9 + 0.25; the third pixel is void.
    labels, p = np.array([[[0.9, 0.25, 255]]], "float32")[..., None], np.array([[[0.5, 1, 1]]], "float32")[..., None]
    assert float(Dice(from_logits=False)(labels, p)) == pytest.approx(1 - 2 * 0.7 / (1.5 + 1.15), rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_soft_binary_labels_are_the_soft_one_hot_labels_of_two_classes(name):
    labels, logits = sample(2, seed=18)
    soft = np.where(labels == 255, 255, np.random.default_rng(0).random(labels.shape)).astype("float32")
    pair = np.stack([1 - soft, soft], axis=-1) * (labels != 255)[..., None]
    two = np.concatenate([np.zeros_like(logits[..., :1]), logits[..., :1]], axis=-1)
    loss = make(name, 2, class_weights=[1.0, 2.0])  # so that regions count the background of a binary task too
    assert float(loss(soft[..., None], two[..., 1:])) == pytest.approx(float(loss(pair, two)), rel=1e-5)


@pytest.mark.parametrize("sigma", [1.0, 2.5])
def test_pixels_are_weighted_by_their_distance_to_a_border(sigma):
    rng = np.random.default_rng(0)
    labels = np.kron(rng.integers(0, 3, (1, 5, 6)), np.ones((1, 7, 6), int)).astype("uint8")
    labels[0, 3:9, 2:20] = 255
    logits = rng.normal(size=(*labels.shape, 4)).astype("float32")
    near = np.zeros(labels.shape[1:], bool)
    for index in range(3):
        near[tuple(border(labels[0], index).T)] = True
    distance = distance_transform_edt(~near)
    distance = np.where(distance > np.ceil(3 * sigma), np.inf, distance)
    weights = (1 + 7 * np.exp(-(distance**2) / (2 * sigma**2)))[None]
    expected = float(CrossEntropy()(labels, logits, weights.astype("float32")))
    found = float(losses.BoundaryWeighted(w0=7, sigma=sigma)(labels, logits))
    assert found == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("radius", [0, 2])
def test_borders_are_found_with_the_weights_of_their_share(radius):
    labels = np.kron(sample(3, shape=(2, 3, 3), seed=4)[0], np.ones((5, 6), "uint8"))
    logits = np.random.default_rng(5).normal(size=(*labels.shape, 1)).astype("float32")
    near = np.zeros(labels.shape, bool)
    for image, found in zip(labels, near, strict=True):
        touching = np.zeros(image.shape, bool)
        for index in range(3):
            touching[tuple(border(image, index).T)] = True
        found[:] = distance_transform_edt(~touching) <= radius
    weights = np.random.default_rng(6).random(labels.shape).astype("float32")
    pixels = weights * (labels != 255)
    p = 1 / (1 + np.exp(-logits[..., 0].astype("float64")))
    share = np.average(near, weights=pixels)
    each = np.where(near, -(1 - share) * np.log(p), -share * np.log(1 - p))
    expected = pytest.approx(np.average(each, weights=pixels), rel=1e-5)
    loss = losses.BorderDetection(radius=radius)
    assert float(loss(labels, logits, weights)) == float(loss(labels[..., None], logits, weights)) == expected
    one_hot = (labels[..., None] == np.arange(3)).astype("float32")
    assert float(loss(one_hot, logits, weights)) == expected
    again = type(loss).from_config(loss.get_config())
    probable = losses.border_detection(labels, 1 / (1 + np.exp(-logits)), radius=radius, from_logits=False)
    assert float(again(labels, logits)) == pytest.approx(float(probable), rel=1e-5)
    assert float(loss(np.full_like(labels, 255), logits)) == 0
    with pytest.raises(ValueError, match="needs one channel, y_pred has 3"):
        losses.border_detection(labels, one_hot)


@pytest.mark.parametrize("classes", [1, 4])
@pytest.mark.parametrize("name", LOSSES)
def test_all_forms_of_labels_and_predictions_give_the_same_loss(name, classes):
    labels, logits = sample(max(classes, 2), seed=14)
    logits = logits[..., :classes]
    expected = float(make(name, classes)(labels, logits))
    p = ops.softmax(logits) if classes > 1 else ops.sigmoid(logits)
    assert float(make(name, classes)(labels[..., None], logits)) == pytest.approx(expected, rel=1e-5)
    assert float(make(name, classes, from_logits=False)(labels, p)) == pytest.approx(expected, rel=1e-4)
    if classes > 1:
        encoded = np.eye(4, dtype="float32")[np.minimum(labels, 3)] * (labels != 255)[..., None]
        assert float(make(name, classes)(encoded, logits)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_void_pixels_do_not_count(name):
    labels, logits = sample(seed=15)
    other = np.where((labels == 255)[..., None], -logits, logits)
    loss = make(name)
    assert float(loss(labels, other)) == pytest.approx(float(loss(labels, logits)), rel=1e-6)
    value, gradient = value_and_gradient(lambda x: loss(labels, x), logits)
    assert not np.abs(gradient[labels == 255]).any()
    assert np.isfinite(gradient).all() and np.isfinite(value)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("name", LOSSES)
def test_values_and_gradients_are_finite_for_extreme_inputs(name, classes, dtype):
    rng = np.random.default_rng(0)
    loss = make(name, classes)
    for labels in (np.full((1, 3, 4), 255), np.zeros((1, 3, 4), int), rng.integers(0, max(classes - 1, 1), (1, 3, 4))):
        for scale in (0.0, 1e4) if dtype == "float32" else (1e4,):
            logits = (scale * rng.choice([-1.0, 1.0], (1, 3, 4, classes))).astype("float32")
            value, gradient = value_and_gradient(lambda x, y=labels: loss(y, ops.cast(x, dtype)), logits)
            assert np.isfinite(value) and value >= 0
            assert np.isfinite(gradient).all()
            if (labels == 255).all():
                assert value == 0 and not gradient.any()


@pytest.mark.parametrize("name", LOSSES)
def test_half_precision_is_computed_in_float32(name):
    labels, logits = sample(seed=6)
    value = make(name)(labels, ops.cast(logits, "float16"))
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    assert float(value) == pytest.approx(
        float(make(name)(labels, logits.astype("float16").astype("float32"))), rel=1e-5
    )


@pytest.mark.parametrize(
    ("classes", "stray"), [(3, 3), (3, 254), (3, -1), (3, 0.5), (3, 255.5), (1, 7), (1, 1.5), (1, -0.5)]
)
@pytest.mark.parametrize("name", LOSSES)
def test_a_stray_label_makes_the_loss_nan(name, classes, stray):
    logits = np.zeros((1, 1, 3, classes), "float32")
    assert np.isnan(float(make(name, classes)(np.array([[[0, 1, stray]]]), logits)))


@pytest.mark.parametrize("pixel", [[255, 255, 255], [0.5, 0, 0], [1, 1, 0], [1.5, -0.5, 0]])
@pytest.mark.parametrize("name", LOSSES)
def test_one_hot_labels_with_another_sum_make_the_loss_nan(name, pixel):
    labels = np.array([[[[0, 1, 0], [0, 0, 0], [0.3, 0.3, 0.4], pixel]]], "float32")
    logits = np.zeros((1, 1, 4, 3), "float32")
    assert np.isfinite(float(make(name, 3)(labels[:, :, :3], logits[:, :, :3])))
    assert np.isnan(float(make(name, 3)(labels, logits)))


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_can_be_serialized(name):
    loss = make(name, class_weights=WEIGHTS)
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert type(twin) is type(loss)
    assert twin.get_config() == loss.get_config()
    assert twin.name == name


def test_sums_are_weighted_and_can_be_serialized():
    labels, logits = sample(seed=17)
    pixels = np.random.default_rng(1).random(labels.shape).astype("float32")
    parts = [float(loss(labels, logits, pixels)) for loss in (CrossEntropy(), Dice(), losses.Focal())]
    total = 0.5 * (CrossEntropy() + 3 * Dice()) + losses.Focal()
    expected = 0.5 * parts[0] + 1.5 * parts[1] + parts[2]
    assert float(total(labels, logits, pixels)) == pytest.approx(expected, rel=1e-5)
    assert total.name == "0.5_cross_entropy_plus_1.5_dice_plus_focal"
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(total))
    assert float(twin(labels, logits, pixels)) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match="give all of them the same from_logits"):
        CrossEntropy() + Dice(from_logits=False)


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        ("dise", {}, "unknown loss 'dise': did you mean dice"),
        ("much * dice", {}, "'much \\* dice' must be a number \\* a name"),
        ("dice + focal", {"gama": 1}, "has no option 'gama': did you mean gamma"),
    ],
)
def test_unknown_names_and_options_are_refused(names, options, message):
    with pytest.raises(ValueError, match=message):
        losses.get(names, **options)


@pytest.mark.parametrize("classes", [1, 4])
@pytest.mark.parametrize("name", [*LOSSES, "cross_entropy + 0.5 * dice"])
def test_a_training_step_compiled_by_xla_follows_the_gradient(name, classes):
    """On a GPU Keras compiles TensorFlow's steps with XLA, which lacks some operations; PyTorch's run as they are."""
    labels, images = sample(max(classes, 2), seed=14)
    images, loss = images[..., :2], make(name, classes)
    start = np.random.default_rng(0).normal(size=(3, 3, 2, classes)).astype("float32")
    value, slope = value_and_gradient(lambda kernel: loss(labels, ops.conv(images, kernel, padding="same")), start)
    convolution = keras.layers.Conv2D(classes, 3, padding="same", use_bias=False)
    model = keras.Sequential([keras.Input((None, None, 2)), convolution])
    convolution.kernel.assign(start)
    model.compile(keras.optimizers.SGD(0.1), loss, jit_compile=keras.backend.backend() != "torch")
    assert float(model.train_on_batch(images, labels)) == pytest.approx(value, rel=1e-4)
    np.testing.assert_allclose(ops.convert_to_numpy(convolution.kernel), start - 0.1 * slope, rtol=1e-4, atol=1e-5)


def test_a_sum_with_a_loss_of_keras_names_the_way():
    with pytest.raises(TypeError, match=r"^dice and MeanSquaredError cannot be added: write the latter as a function"):
        losses.Dice() + keras.losses.MeanSquaredError()
