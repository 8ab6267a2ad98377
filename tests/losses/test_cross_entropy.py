"""Cross-entropy against PyTorch and scikit-learn."""

import keras
import numpy as np
import pytest
import torch
from keras import ops
from scipy.special import softmax
from sklearn.metrics import log_loss

from kseg.losses import BalancedCrossEntropy, CrossEntropy, cross_entropy, pixel_cross_entropy
from tests.layers.tracing import value_and_gradient
from tests.losses.sample import sample

WEIGHTS = [0.3, 1.0, 2.0, 5.0]


def pytorch(labels, logits, weights=None, label_smoothing=0.0):
    """PyTorch's loss and its gradient `(N, H, W, C)`."""
    x = torch.tensor(logits, device="cpu", requires_grad=True)
    loss = torch.nn.functional.cross_entropy(
        x.movedim(-1, 1),
        torch.tensor(labels.astype("int64"), device="cpu"),
        weight=None if weights is None else torch.tensor(weights, device="cpu"),
        ignore_index=255,
        label_smoothing=label_smoothing,
    )
    loss.backward()
    return loss.item(), x.grad.numpy()


def scikit_learn(labels, logits, class_weights, pixels=1.0):
    """The mean of the cross-entropy, weighted by class and pixel weights."""
    kept = labels != 255
    weights = (np.append(class_weights, np.zeros(252))[labels] * pixels)[kept]
    return log_loss(labels[kept], softmax(logits[kept], axis=-1), sample_weight=weights, labels=range(4))


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_loss_and_gradient_equal_pytorch(weights, label_smoothing):
    labels, logits = sample()
    expected, slope = pytorch(labels, logits, weights, label_smoothing)
    loss = CrossEntropy(class_weights=weights, label_smoothing=label_smoothing)
    value, gradient = value_and_gradient(lambda x: loss(labels, x), logits)
    assert value == pytest.approx(expected, rel=1e-5)
    assert np.allclose(gradient, slope, atol=1e-6)
    encoded = np.eye(4, dtype="float32")[np.minimum(labels, 3)] * (labels != 255)[..., None]
    assert float(loss(encoded, logits)) == pytest.approx(expected, rel=1e-5)
    void = value_and_gradient(lambda x: loss(np.full_like(labels, 255), x), logits)
    assert void[0] == 0 and not void[1].any()


def test_pixel_weights_equal_sample_weights_of_scikit_learn():
    labels, logits = sample(seed=1)
    pixels = np.random.default_rng(2).random(labels.shape).astype("float32")
    expected = scikit_learn(labels, logits, WEIGHTS, pixels)
    for form in (pixels, pixels[..., None]):
        assert float(CrossEntropy(class_weights=WEIGHTS)(labels, logits, form)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, [0.5, 3.0]])
def test_binary_loss_equals_two_classes_with_logits_0_and_x(weights, label_smoothing):
    labels, logits = sample(2, seed=3)
    logit = logits[..., :1]
    pair = np.concatenate([np.zeros_like(logit), logit], axis=-1)
    expected, slope = pytorch(labels, pair, weights, label_smoothing)
    for form in (labels, labels[..., None]):
        value, gradient = value_and_gradient(
            lambda x, form=form: cross_entropy(form, x, class_weights=weights, label_smoothing=label_smoothing), logit
        )
        assert value == pytest.approx(expected, rel=1e-5)
        assert np.allclose(gradient, slope[..., 1:], atol=1e-6)
    probability = 1 / (1 + np.exp(-logit))
    options = {"class_weights": weights, "label_smoothing": label_smoothing, "from_logits": False}
    assert float(cross_entropy(labels, probability, **options)) == pytest.approx(expected, rel=1e-4)


SOFT = np.array([[[0, 0.25, 0.9], [1, 0.9, 255]]], "float32")
LOGIT = np.array([[[0.5, -2, 3], [-1, -3, 7]]], "float32")[..., None]


@pytest.mark.parametrize("weights", [None, [0.5, 3.0]])
def test_binary_labels_between_zero_and_one_are_probabilities_and_255_is_void(weights):
    y, p = SOFT.ravel()[:5], 1 / (1 + np.exp(-LOGIT.ravel()[:5]))
    w0, w1 = weights or (1, 1)
    expected = -np.sum(w0 * (1 - y) * np.log(1 - p) + w1 * y * np.log(p)) / np.sum(w0 * (1 - y) + w1 * y)
    for labels in (SOFT, SOFT[..., None], SOFT.astype("float64")[..., None]):
        for function in (cross_entropy, lambda *x, **options: CrossEntropy(**options)(*x)):
            assert float(function(labels, LOGIT, class_weights=weights)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int64"])
def test_fit_accepts_binary_labels_as_probabilities_and_as_ids_of_any_dtype(dtype):
    labels = SOFT if dtype.startswith("float") else np.where(SOFT == 255, 255, SOFT > 0.5)
    labels = labels.astype(dtype)[..., None]
    model = keras.Sequential([keras.Input((2, 3, 1)), keras.layers.Conv2D(1, 1, kernel_initializer="ones")])
    model.compile(keras.optimizers.SGD(), CrossEntropy())
    y, p = labels.ravel()[:5].astype("float64"), 1 / (1 + np.exp(-LOGIT.ravel()[:5]))
    expected = -np.mean((1 - y) * np.log(1 - p) + y * np.log(p))
    assert model.fit(LOGIT, labels, verbose=0).history["loss"] == pytest.approx([expected], rel=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_huge_logits_stay_finite(dtype):
    # Class 0 at 1e4, class 1 at -1e4: the wrong label costs 2e4, the right one nothing.
    logits = np.tile(np.array([1e4, -1e4], dtype), (1, 1, 2, 1))
    value, gradient = value_and_gradient(lambda x: cross_entropy(np.array([[[0, 1]]]), x), logits)
    assert value == pytest.approx(1e4)
    assert np.allclose(gradient[0, 0], [[0, 0], [0.5, -0.5]])
    value, gradient = value_and_gradient(lambda x: cross_entropy(np.array([[[0, 1]]]), x), -logits[..., :1])
    assert value == pytest.approx(5e3)
    assert np.allclose(gradient.ravel(), [0, -0.5])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("void", [3, 254, -1])
def test_ignore_class_may_be_any_number(channels, void):
    kept = cross_entropy(np.array([[[0, 1, void]]]), np.zeros((1, 1, 3, channels), "float32"), ignore_class=void)
    assert float(kept) == pytest.approx(np.log(max(channels, 2)))


def test_pixel_losses_and_weights_are_zero_at_void():
    labels, logits = sample(seed=7)
    loss, weight = (ops.convert_to_numpy(t) for t in pixel_cross_entropy(labels, logits, class_weights=WEIGHTS))
    assert loss.shape == weight.shape == labels.shape
    assert np.allclose(weight, np.append(WEIGHTS, np.zeros(252))[labels])
    assert np.array_equal(loss == 0, labels == 255)


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="4 classes need"):
        cross_entropy(np.zeros((1, 2, 2)), np.zeros((1, 2, 2, 4)), class_weights=[1, 2])
    with pytest.raises(ValueError, match=r"labels of shape \(1, 2, 3\) do not fit"):
        cross_entropy(np.zeros((1, 2, 3)), np.zeros((1, 2, 2, 4)))
    with pytest.raises(ValueError, match=r"labels of shape \(1, 2, 2, 3\) do not fit"):
        cross_entropy(np.zeros((1, 2, 2, 3)), np.zeros((1, 2, 2, 4)))


def model_of_one_layer(**options):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(4, 1, name="score")])
    model.compile(keras.optimizers.SGD(0.1), CrossEntropy(**options))
    return model


def test_fit_reports_the_loss_and_takes_pixel_weights():
    labels, _ = sample(shape=(4, 5, 6))
    rng = np.random.default_rng(0)
    images = rng.random((4, 5, 6, 3)).astype("float32")
    pixels = rng.random(labels.shape).astype("float32")
    model = model_of_one_layer(class_weights=WEIGHTS)
    logits = model.predict(images, verbose=0)
    history = model.fit(images, labels, sample_weight=pixels, batch_size=4, epochs=1, verbose=0).history
    assert history["loss"] == pytest.approx([scikit_learn(labels, logits, WEIGHTS, pixels)], rel=1e-5)
    after = scikit_learn(labels, model.predict(images, verbose=0), WEIGHTS)
    assert model.evaluate(images, labels, batch_size=4, verbose=0) == pytest.approx(after, rel=1e-5)


def test_a_saved_model_loads_with_its_loss(tmp_path):
    model = model_of_one_layer(class_weights=WEIGHTS, label_smoothing=0.1, ignore_class=11)
    model.save(tmp_path / "model.keras")
    assert keras.saving.load_model(tmp_path / "model.keras").loss.get_config() == model.loss.get_config()


def test_balanced_cross_entropy_divides_by_pixels():
    labels, logits = sample()
    loss, _ = pixel_cross_entropy(labels, logits, class_weights=WEIGHTS)
    expected = float(ops.sum(loss)) / (labels != 255).sum()
    assert float(BalancedCrossEntropy(class_weights=WEIGHTS)(labels, logits)) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match="needs class_weights"):
        BalancedCrossEntropy()
