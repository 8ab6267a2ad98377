"""The scores against scikit-learn and against arithmetic done by hand."""

import keras
import numpy as np
import pytest
import sklearn.metrics

from kseg.losses import CrossEntropy
from kseg.metrics import SegmentationScores, confusion_matrix, scores
from tests.losses.sample import sample

KEYS = ["miou", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou"]


def numbers(results):
    return {key: float(value) for key, value in results.items()}


def one_hot(labels, classes):
    return np.eye(classes, dtype="float32")[labels]


def matrix_of(labels, predicted, classes):
    kept = labels != 255
    return sklearn.metrics.confusion_matrix(labels[kept], predicted[kept], labels=range(classes))


# A label row [0 0 0 0 1 1 void] and the predictions [0 0 0 1 0 1 1]:
# matrix [[3 1] [1 1]], IoU 3/(4+4-3) = 3/5 and 1/(2+2-1) = 1/3, recall 3/4 and 1/2.
TINY_TRUE = np.array([[[0, 0, 0, 0, 1, 1, 255]]], "uint8")
TINY_PREDICTED = np.array([[[0, 0, 0, 1, 0, 1, 1]]])
TINY_SCORES = {
    "miou": (3 / 5 + 1 / 3) / 2,
    "pixel_accuracy": (3 + 1) / 6,
    "mean_accuracy": (3 / 4 + 1 / 2) / 2,
    "frequency_weighted_iou": 4 / 6 * 3 / 5 + 2 / 6 * 1 / 3,
}


def test_scores_equal_the_arithmetic_of_a_tiny_example():
    metric = SegmentationScores(2)
    metric.update_state(TINY_TRUE, one_hot(TINY_PREDICTED, 2))
    assert metric.confusion_matrix().tolist() == [[3, 1], [1, 1]]
    assert metric.ignored_pixels == 1
    assert metric.stray_pixels == 0
    assert numbers(metric.result()) == pytest.approx(TINY_SCORES, rel=1e-6)


@pytest.mark.parametrize("classes", [2, 5, 12, 70])  # 70: beyond the running maximum
def test_matrix_and_iou_equal_scikit_learn(classes):
    labels, logits = sample(classes, (3, 20, 20))
    metric = SegmentationScores(classes, per_class=True)
    for n in range(len(labels)):
        metric.update_state(labels[n : n + 1], logits[n : n + 1])
    expected = matrix_of(labels, logits.argmax(-1), classes)
    true, predicted = labels[labels != 255], logits.argmax(-1)[labels != 255]
    assert metric.confusion_matrix().dtype == np.int64
    assert np.array_equal(metric.confusion_matrix(), expected)
    result, twin = numbers(metric.result()), scores(expected)
    ious = sklearn.metrics.jaccard_score(true, predicted, labels=range(classes), average=None, zero_division=0)
    assert [result[f"iou_{c}"] for c in range(classes)] == pytest.approx(ious.tolist(), abs=1e-6)
    assert result["pixel_accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(true, predicted))
    recall = sklearn.metrics.recall_score(true, predicted, average="macro", labels=np.unique(true), zero_division=0)
    assert result["mean_accuracy"] == pytest.approx(recall)
    assert {key: twin[key] for key in KEYS} == pytest.approx({key: result[key] for key in KEYS}, rel=1e-6)
    assert twin["iou"] == pytest.approx(ious, nan_ok=True)


def test_an_absent_class_is_left_out_and_one_that_is_only_predicted_counts_zero():
    # Classes: 0 right (2/3: one pixel lost to 2), 1 absent, 2 only predicted (0).
    metric = SegmentationScores(3, per_class=True)
    metric.update_state(np.array([[[0, 0, 0]]]), one_hot(np.array([[[0, 0, 2]]]), 3))
    result = numbers(metric.result())
    assert result["miou"] == pytest.approx((2 / 3 + 0) / 2)
    assert result["mean_accuracy"] == pytest.approx(2 / 3)
    assert np.isnan(result["iou_1"])
    assert result["iou_2"] == 0
    assert scores(metric.confusion_matrix())["miou"] == pytest.approx((2 / 3 + 0) / 2)


def test_scores_without_labeled_pixels_are_zero():
    metric = SegmentationScores(3)
    assert numbers(metric.result()) == dict.fromkeys(KEYS, 0.0)
    metric.update_state(np.full((1, 2, 2), 255), np.zeros((1, 2, 2, 3), "float32"))
    assert numbers(metric.result()) == dict.fromkeys(KEYS, 0.0)
    assert metric.ignored_pixels == 4
    twin = scores(np.zeros((3, 3)))
    assert {key: twin[key] for key in KEYS} == dict.fromkeys(KEYS, 0.0)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "float32"])
def test_all_forms_of_labels_give_the_same_matrix(dtype):
    labels, logits = sample(4)
    metric = SegmentationScores(4)
    expected = matrix_of(labels, logits.argmax(-1), 4).tolist()
    encoded = one_hot(np.minimum(labels, 3), 4) * (labels != 255)[..., None]  # void: all zero
    for form in (labels.astype(dtype), labels[..., None].astype(dtype), encoded.astype(dtype)):
        metric.reset_state()
        metric.update_state(form, logits)
        assert metric.confusion_matrix().tolist() == expected
        assert metric.ignored_pixels == (labels == 255).sum()


def test_equal_logits_go_to_the_first_class():
    # -0.0 equals 0.0: TensorFlow's Keras argmax would pick the second here.
    metric = SegmentationScores(3)
    metric.update_state(np.array([[[0, 0]]]), np.array([[[[0, 0, 0], [-0.0, 0, -1]]]], "float32"))
    assert metric.confusion_matrix()[0].tolist() == [2, 0, 0]


@pytest.mark.parametrize(("from_logits", "values"), [(True, [-2, 0.3, 5, -0.1]), (False, [0.1, 0.51, 1, 0.49])])
def test_one_channel_is_thresholded(from_logits, values):
    metric = SegmentationScores(1, from_logits=from_logits, class_names=["background", "nucleus"], per_class=True)
    metric.update_state(np.array([[[0, 0, 1, 255]]]), np.array(values, "float32").reshape(1, 1, 4, 1))
    assert metric.confusion_matrix().tolist() == [[1, 1], [0, 1]]
    result = numbers(metric.result())
    assert result["iou_background"] == pytest.approx(1 / 2)
    assert result["iou_nucleus"] == pytest.approx(1 / 2)


# Without pixels 0 (true 0, predicted 0) and 4 (true 1, predicted 0) of the first image, or without the first image.
PIXELS = np.array([[[0, 1, 2, 1, 0, 0.5, 1]], [[1, 1, 1, 1, 1, 1, 1]]])


@pytest.mark.parametrize(
    ("weight", "matrix", "ignored"),
    [
        (PIXELS, [[5, 2], [1, 2]], 4),
        (PIXELS[..., None], [[5, 2], [1, 2]], 4),
        (np.array([0.0, 0.5]), [[3, 1], [1, 1]], 8),
    ],
)
def test_pixels_of_weight_zero_are_left_out_and_others_count_once(weight, matrix, ignored):
    metric = SegmentationScores(2)
    labels, logits = (np.concatenate([x, x]) for x in (TINY_TRUE, one_hot(TINY_PREDICTED, 2)))
    metric.update_state(labels, logits, sample_weight=weight)
    assert metric.confusion_matrix().tolist() == matrix
    assert metric.ignored_pixels == ignored


@pytest.mark.parametrize("stray", [2, 254, 256, -1])
def test_stray_label_makes_the_scores_nan_and_is_counted(stray):
    metric = SegmentationScores(2)
    metric.update_state(np.array([[[0, 1, stray]]]), np.zeros((1, 1, 3, 2), "float32"))
    assert all(np.isnan(value) for value in numbers(metric.result()).values())
    assert metric.stray_pixels == 1
    assert metric.confusion_matrix().sum() == 2
    metric.reset_state()
    assert metric.stray_pixels == 0


@pytest.mark.parametrize(("ignore_class", "left"), [(None, 3), (0, 2), (-1, 2)])
def test_ignore_class_may_be_any_number_or_none(ignore_class, left):
    labels = np.array([[[0 if ignore_class is None else ignore_class, 1, 2]]])
    metric = SegmentationScores(3, ignore_class=ignore_class)
    metric.update_state(labels, np.zeros((1, 1, 3, 3), "float32"))
    assert metric.confusion_matrix().sum() == left
    assert metric.stray_pixels == 0


def test_counts_are_exact_beyond_two_to_the_31():
    metric = SegmentationScores(2)
    start = 2**31 - 2  # two more reach what int32 cannot hold
    low, high = np.zeros(7, "int32"), np.zeros(7, "int32")
    low[0], high[0] = start % 2**24, start // 2**24
    low[3], high[3] = 2**24 - 1, 2**31 - 2  # the last but one carry there is
    metric.low.assign(low)
    metric.high.assign(high)
    labels = np.array([[[0, 0, 0, 1, 1, 255]]])
    for _ in range(2):
        metric.update_state(labels, one_hot(np.array([[[0, 0, 0, 1, 1, 0]]]), 2))
    assert metric.confusion_matrix().tolist() == [[2**31 + 4, 0], [0, (2**31 - 2) * 2**24 + 2**24 - 1 + 4]]
    assert metric.ignored_pixels == 2
    assert float(metric.result()["pixel_accuracy"]) == 1.0


def test_one_batch_is_exact_beyond_two_to_the_24():
    # 4097**2 = 2**24 + 2**13 + 1 pixels of one class: float32 would stop counting at 2**24.
    labels = np.zeros((1, 4097, 4097), "uint8")
    metric = SegmentationScores(1)
    metric.update_state(labels, np.zeros((1, 4097, 4097, 1), "float32"))
    assert metric.confusion_matrix().tolist() == [[4097**2, 0], [0, 0]]


JIT = {"tensorflow": [False, True], "jax": [True], "torch": [False]}  # torch.compile wants a C++ compiler


@pytest.mark.parametrize("jit", JIT[keras.backend.backend()])
def test_fit_and_evaluate_log_the_scores_of_the_whole_split(jit):
    labels, logits = sample(3, shape=(5, 4, 6))
    image = keras.Input((None, None, 3))
    # The identity, but not for XLA, which cannot tell then which classes come out.
    same = keras.layers.Conv2D(3, 1, kernel_initializer=lambda shape, dtype: np.eye(3, dtype=dtype)[None, None])
    model = keras.Model(image, same(image))
    metrics = [SegmentationScores(3, per_class=True, class_names=["sky", "road", "car"])]
    model.compile(keras.optimizers.SGD(0.0), "mse", metrics=metrics, jit_compile=jit)
    result = model.evaluate(logits, labels[..., None], batch_size=2, verbose=0, return_dict=True)  # batches of 2, 2, 1
    matrix = matrix_of(labels, logits.argmax(-1), 3)
    expected = scores(matrix)
    assert {key: result[key] for key in KEYS} == pytest.approx({key: expected[key] for key in KEYS}, rel=1e-5)
    assert [result[f"iou_{name}"] for name in ("sky", "road", "car")] == pytest.approx(expected["iou"], rel=1e-5)
    data = (logits, labels[..., None])
    history = model.fit(*data, batch_size=2, verbose=0, shuffle=False, validation_data=data).history
    assert history["miou"] == pytest.approx([expected["miou"]], rel=1e-5)
    assert history["val_miou"] == pytest.approx([expected["miou"]], rel=1e-5)
    assert np.array_equal(metrics[0].confusion_matrix(), matrix)


def test_scores_are_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        metric = SegmentationScores(2)
        metric.update_state(TINY_TRUE, one_hot(TINY_PREDICTED, 2).astype("float16"))
    finally:
        keras.config.set_dtype_policy("float32")
    assert numbers(metric.result()) == pytest.approx(TINY_SCORES, rel=1e-6)


def test_the_metric_can_be_serialized():
    metric = SegmentationScores(
        2, ignore_class=7, class_names=["a", "b"], per_class=True, from_logits=False, name="marks"
    )
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert isinstance(twin, SegmentationScores)
    assert twin.get_config() == metric.get_config()


def test_wrong_shapes_are_refused():
    metric = SegmentationScores(3)
    with pytest.raises(ValueError, match="counts 3 classes, but y_pred has 2 channels"):
        metric.update_state(np.zeros((1, 2, 2)), np.zeros((1, 2, 2, 2)))
    with pytest.raises(ValueError, match=r"labels of shape \(1, 2, 3\) do not fit"):
        metric.update_state(np.zeros((1, 2, 3)), np.zeros((1, 2, 2, 3)))
    with pytest.raises(ValueError, match="1 names for 3 classes"):
        SegmentationScores(3, class_names=["a"])
    with pytest.raises(ValueError, match="square"):
        scores(np.zeros((2, 3)))
    for shape in ((4, 6), (2, 4)):
        with pytest.raises(ValueError, match=r"sample_weight of shape .* does not fit labels of shape"):
            metric.update_state(np.zeros((2, 4, 6)), np.zeros((2, 4, 6, 3)), np.ones(shape))


@pytest.mark.parametrize("dtype", ["uint8", "int64"])
def test_the_matrix_of_numpy_arrays_equals_scikit_learn(dtype):
    rng = np.random.default_rng(0)
    label, prediction = rng.integers(0, 12, (2, 40, 30)).astype(dtype)
    label[label == 11] = 255
    prediction %= 11
    expected = matrix_of(label, prediction, 11)
    np.testing.assert_array_equal(confusion_matrix(label, prediction, 11), expected)
    np.testing.assert_array_equal(confusion_matrix(label, prediction, 300)[:11, :11], expected)
    many = confusion_matrix(label.astype("int64") + 300, prediction, 600, ignore_class=555)
    assert many.shape == (600, 600) and many.sum() == (label != 255).sum()


def test_void_may_be_any_value_and_stray_predictions_are_refused():
    label = np.array([0, 1, 65535])
    np.testing.assert_array_equal(confusion_matrix(label, np.array([0, 1, 7]), 2, ignore_class=65535), np.eye(2))
    np.testing.assert_array_equal(confusion_matrix(label[:2], np.array([0, 0]), 2, ignore_class=None), [[1, 0], [1, 0]])
    for dtype in ("uint8", "int64"):
        with pytest.raises(ValueError, match=r"predictions 9 \(1 pixels\)"):
            confusion_matrix(np.array([0, 1], dtype), np.array([0, 9], dtype), 2)
    with pytest.raises(ValueError, match=r"labels -1 \(1 pixels\)"):
        confusion_matrix(np.array([0, -1]), np.array([0, 1]), 2)


def test_stray_labels_and_different_shapes_are_refused():
    with pytest.raises(ValueError, match=r"labels 3 \(2 pixels\), 7 \(1 pixels\) are outside the classes 0 to 1"):
        confusion_matrix(np.array([0, 3, 7, 3, 255]), np.zeros(5, int), 2)
    with pytest.raises(ValueError, match="must have the same shape"):
        confusion_matrix(np.zeros((2, 3), "uint8"), np.zeros((3, 2), "uint8"), 2)


@pytest.mark.parametrize(
    "pixel", [[255, 255, 255], [255, 0, 0], [0.5, 0, 0], [1, 1, 0], [1.5, -0.5, 0], [2, 0, 0], [np.nan, 0, 0]]
)
def test_one_hot_labels_with_another_sum_make_the_scores_nan(pixel):
    metric = SegmentationScores(3)
    labels = np.array([[[[0, 1, 0], [0, 0, 0], [0.3, 0.3, 0.4], pixel]]], "float32")
    metric.update_state(labels, np.zeros((1, 1, 4, 3), "float32"))
    assert metric.stray_pixels == metric.ignored_pixels == 1
    assert metric.confusion_matrix().sum() == 2
    assert np.isnan(float(metric.result()["miou"]))
    with pytest.warns(UserWarning, match="nan, because 1 pixels have labels that are not classes 0 to 2 or 255"):
        metric.result()  # as Keras does at the end of an epoch
    metric.result()  # warns once


@pytest.mark.parametrize(("classes", "stray"), [(3, 1), (1, 0)])  # of one class, 0.7 is a probability
def test_fractions_are_no_class_ids(classes, stray):
    metric = SegmentationScores(classes)
    metric.update_state(np.array([[[0, 1, 0.7]]], "float32"), np.zeros((1, 1, 3, classes), "float32"))
    assert metric.stray_pixels == stray
    assert metric.confusion_matrix()[1].sum() == 2 - stray


@pytest.mark.parametrize("classes", [1, 3])
def test_255_as_the_only_foreground_makes_scores_nan_and_warns_once(classes):
    labels = np.tile(np.array([0, 255], "uint8"), (4, 4, 2))
    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.Conv2D(classes, 1)(image))
    model.compile("sgd", CrossEntropy(), metrics=[SegmentationScores(classes)])
    images = np.random.default_rng(0).normal(size=(*labels.shape, 3)).astype("float32")
    with pytest.warns(UserWarning) as caught:
        history = model.fit(images, labels, batch_size=2, epochs=2, verbose=0).history
        assert np.isnan(model.evaluate(images, labels, verbose=0, return_dict=True)["miou"])
    (warning,) = (each for each in caught if each.category is UserWarning)
    assert str(warning.message).startswith("the scores are nan, because 255, which means void, is the only label")
    assert np.isnan(history["miou"]).all() and np.isfinite(history["loss"]).all()
    labels[3, 0, 0] = max(classes - 1, 1)  # one pixel of a class shows that 255 is void
    history = model.fit(images, labels, batch_size=2, epochs=1, verbose=0).history
    assert np.isfinite(history["miou"]).all()
