import keras
import numpy as np
import pytest
import scipy.special
import sklearn.metrics

from kseg.data import Subset
from kseg.inference import Predictor, labeling, predictions
from kseg.losses import CrossEntropy
from kseg.metrics import confusion_matrix
from kseg.training import evaluate, evaluation, sample_picture, splits
from tests.data.folders import Pairs


def drawn(sizes=((8, 8), (8, 8), (6, 10)), classes=("a", "b", "c")):
    """Random images and labels of several sizes, with one void pixel each."""
    rng = np.random.default_rng(0)
    pairs = []
    for size in sizes:
        label = rng.integers(0, len(classes), size).astype("uint8")
        label[0, 0] = 255
        pairs.append((rng.integers(0, 256, (*size, 3)).astype("uint8"), label))
    return Pairs(pairs, classes)


def channels(size=(None, None)):
    """A model whose scores are the channels of the image, so that it predicts the brightest channel."""
    image = keras.Input((*size, 3))
    model = keras.Model(image, keras.layers.Conv2D(3, 1, use_bias=False)(image))
    model.set_weights([np.eye(3, dtype="float32")[None, None] / 100])
    return model


@pytest.mark.parametrize("batch_size, window", [(1, 2), (2, 2**16), (8, 2)])
def test_the_confusion_matrix_counts_every_labeled_pixel_once(batch_size, window, monkeypatch):
    monkeypatch.setattr(labeling, "WINDOW", window)
    dataset = drawn()
    pairs = [(label[label != 255], image.argmax(-1)[label != 255]) for image, label in dataset.pairs]
    pixels = [np.concatenate(parts) for parts in zip(*pairs, strict=True)]
    scores = evaluate(channels(), dataset, batch_size=batch_size)
    assert scores["confusion_matrix"] == sklearn.metrics.confusion_matrix(*pixels).tolist()
    np.testing.assert_allclose(list(scores["iou"].values()), sklearn.metrics.jaccard_score(*pixels, average=None))
    for name, wanted in (
        ("miou", sklearn.metrics.jaccard_score(*pixels, average="macro")),
        ("frequency_weighted_iou", sklearn.metrics.jaccard_score(*pixels, average="weighted")),
        ("pixel_accuracy", sklearn.metrics.accuracy_score(*pixels)),
        ("mean_accuracy", sklearn.metrics.balanced_accuracy_score(*pixels)),
    ):
        np.testing.assert_allclose(scores[name], wanted)
    assert scores["images"] == 3


def cross_entropy(dataset, scale=0.01):
    """The mean cross-entropy of each image for scores that are its channels, scaled, by scikit-learn."""
    losses = []
    for image, label in dataset.pairs:
        known = label != 255
        p = scipy.special.softmax(image[known] * scale, axis=-1)
        losses.append(sklearn.metrics.log_loss(label[known], p, labels=range(3)))
    return np.mean(losses)


@pytest.mark.parametrize(("scores", "size"), [(2**26, (None, None)), (1, (None, None)), (2**26, (12, 16))])
def test_the_loss_is_the_mean_over_the_images_without_their_padding(scores, size, monkeypatch):
    monkeypatch.setattr("kseg.inference.loss.SCORES", scores)
    dataset = drawn()
    found = evaluate(channels(size), dataset, batch_size=1 if scores > 1 else 8, loss=CrossEntropy())
    np.testing.assert_allclose(found["loss"], cross_entropy(dataset), rtol=1e-5)
    assert found["confusion_matrix"] == evaluate(channels(), dataset)["confusion_matrix"]
    assert "loss" not in evaluate(channels(), dataset)


@pytest.mark.parametrize("activation", [None, "softmax"])
def test_the_loss_of_tiles_is_that_of_the_image(activation, monkeypatch):
    dataset = drawn(sizes=((40, 70),))
    dataset.pairs = [(image, np.where(label == 255, 0, label)) for image, label in dataset.pairs]
    model = channels()
    if activation:
        model = keras.Model(model.inputs, keras.layers.Softmax()(model.outputs[0]))
    monkeypatch.setattr(labeling, "PIXELS", 40 * 70 - 1)
    monkeypatch.setattr(labeling, "TILE", 32)
    found = evaluate(model, dataset, loss=CrossEntropy(from_logits=activation is None))
    np.testing.assert_allclose(found["loss"], cross_entropy(dataset), rtol=1e-4)


def test_the_loss_of_one_channel_is_that_of_its_sigmoid():
    dataset = drawn(sizes=((8, 8),), classes=("a", "b"))
    image = keras.Input((None, None, 3))
    model = keras.Model(image, image[..., :1] / 100 - 1)
    ((pixels, label),) = dataset.pairs
    p, known = scipy.special.expit(pixels[..., 0] / 100 - 1), label != 255
    expected = sklearn.metrics.log_loss(label[known], p[known])
    for predictor_ in (Predictor(model), Predictor(model, flip=True)):
        found = evaluate(predictor_, dataset, loss=CrossEntropy())
        np.testing.assert_allclose(found["loss"], expected, rtol=1e-4)


@pytest.fixture
def shapes(monkeypatch):
    """The shapes of the batches that pass through a network."""
    shapes, run = [], Predictor.run

    def recorded(self, function, images):
        shapes.append(images.shape[:3])
        return run(self, function, images)

    monkeypatch.setattr(Predictor, "run", recorded)
    return shapes


def test_images_of_one_size_share_batches_that_are_bounded_by_pixels(shapes, monkeypatch):
    model, dataset = channels(), drawn(sizes=((4, 4), (8, 8), (4, 8), (4, 4), (4, 4), (8, 8), (4, 4), (4, 4)))
    expected = evaluate(model, dataset)["confusion_matrix"]
    for pixels, wanted in (
        (2**21, [(3, 4, 4), (2, 4, 4), (1, 4, 8), (2, 8, 8)]),
        (64, [(3, 4, 4), (2, 4, 4), (1, 4, 8), (1, 8, 8), (1, 8, 8)]),
        (1, [*[(1, 4, 4)] * 5, (1, 4, 8), (1, 8, 8), (1, 8, 8)]),
    ):
        shapes.clear()
        monkeypatch.setattr(labeling, "PIXELS", pixels)
        assert evaluate(model, dataset, batch_size=4)["confusion_matrix"] == expected
        assert shapes == wanted


def test_images_beyond_the_bound_are_cut_into_tiles(shapes, monkeypatch):
    dataset = drawn(sizes=((40, 70), (20, 30)))
    expected = evaluate(channels(), dataset)["confusion_matrix"]
    monkeypatch.setattr(labeling, "PIXELS", 40 * 70 - 1)
    monkeypatch.setattr(labeling, "TILE", 32)
    for model in (channels(), Predictor(channels(), flip=True), Predictor(channels(), tile=0)):
        shapes.clear()
        assert evaluate(model, dataset)["confusion_matrix"] == expected
        assert shapes[0] == (1, 20, 30)
        largest = 70 if getattr(model, "tile", None) == 0 else 32
        assert max(max(shape) for shape in shapes[1:] if shape != (1, 20, 30)) == largest


@pytest.mark.parametrize(("pixels", "most"), [(64, 5), (63, 2)])
def test_images_are_read_a_bounded_number_of_pixels_ahead(pixels, most, monkeypatch):
    monkeypatch.setattr(labeling, "PIXELS", pixels)
    dataset, read = drawn(sizes=[(8, 8)] * 20), []
    monkeypatch.setattr(dataset, "read", lambda index: read.append(index) or dataset.pairs[index])
    dataset.memory_limit = 0
    monkeypatch.setattr(dataset, "size", lambda index: (8, 8))
    found = predictions(dataset, [lambda image: image[..., 0] % 3])
    assert [next(found).index, len(read) <= most] == [0, True]
    assert sorted(each.index for each in found) == list(range(1, 20)) and sorted(read) == list(range(20))


def test_a_batch_that_does_not_fit_is_labeled_image_by_image(shapes, monkeypatch):
    dataset, run, most = drawn(sizes=[(8, 8)] * 5), Predictor.run, 5

    def limited(self, function, images):
        if len(images) > most:
            raise RuntimeError("RESOURCE_EXHAUSTED: failed to allocate")
        return run(self, function, images)

    monkeypatch.setattr(Predictor, "run", limited)
    expected = evaluate(channels(), dataset)["confusion_matrix"]
    most = 1
    assert evaluate(channels(), dataset)["confusion_matrix"] == expected
    assert [count for count, *_ in shapes] == [5, 1, 1, 1, 1, 1]
    most = 0
    with pytest.raises(MemoryError, match=r"an image of 8x8 pixels of pairs: free memory and start again, .*tile=512"):
        evaluate(channels(), dataset)


def test_a_model_with_one_score_for_each_of_two_classes_can_be_evaluated():
    """Models of other libraries have two; kseg's have one, the logit of class 1."""
    dataset = drawn(classes=("a", "b"))
    image = keras.Input((None, None, 3))
    two = channels()(image)[..., :2]
    pairs = [keras.Model(image, two), keras.Model(image, two[..., 1:] - two[..., :1])]
    first, second = (evaluate(model, dataset)["confusion_matrix"] for model in pairs)
    assert np.array_equal(first, second) and np.array(first).shape == (2, 2)


def test_only_a_model_a_predictor_or_a_function_can_be_evaluated():
    with pytest.raises(TypeError, match=r"model must be a keras\.Model, a Predictor or a function.*, got 7"):
        evaluate(7, drawn(sizes=[(8, 8)]))


@pytest.mark.parametrize(
    "options", [{}, {"flip": "both", "scales": (1.0, 1.5)}, {"tile": 32, "crf": {"iterations": 1}}]
)
def test_a_predictor_and_a_function_are_scored_as_they_label(options):
    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 3))
    for classes in ("ab", "abc"):
        dataset = drawn(((40, 33), (12, 20), (12, 20)), tuple(classes))
        model = keras.Model(image, keras.layers.Conv2D(dataset.num_classes, 3, padding="same")(image / 255))
        predictor = Predictor(model, **options)
        wanted = sum(confusion_matrix(label, predictor(image), len(classes)) for image, label in dataset.pairs).tolist()
        for scored in (predictor, predictor.__call__, *[model] * (not options)):
            assert evaluate(scored, dataset)["confusion_matrix"] == wanted


def test_operation_names_of_a_loaded_model_do_not_collide():
    """A file keeps the names of its operations, while each process counts new names from the start."""
    dataset = drawn()
    expected = evaluate(channels(), dataset)["confusion_matrix"]
    image = keras.Input((None, None, 3))
    x = channels()(image)
    for operation in ("concatenate", "argmax", "moveaxis", "unstack", "zeros_like", "where", "maximum", "cast"):
        x = keras.layers.Identity(name=operation)(x)
    keras.utils.clear_session()
    assert evaluate(keras.Model(image, x), dataset)["confusion_matrix"] == expected


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_labels_are_chosen_at_the_precision_of_the_scores(policy):
    """Scores of 1.0001 and 1.0002 are one number in half precision."""
    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.Dense(2, use_bias=True, dtype="float32")(image))
    model.set_weights([np.zeros((3, 2), "float32"), np.float32([1.0001, 1.0002])])
    keras.config.set_dtype_policy(policy)
    try:
        labels = Predictor(model).labels(np.zeros((1, 4, 4, 3), "uint8"))
    finally:
        keras.config.set_dtype_policy("float32")
    assert labels.dtype == "uint8"
    assert (labels == 1).all()


def test_an_empty_part_of_a_data_set_adds_nothing():
    dataset = drawn()
    empty = evaluate(channels(), Subset(dataset, 3, 5), total=lambda array: array, loss=CrossEntropy())
    assert empty["images"] == 0 and np.sum(empty["confusion_matrix"]) == 0
    alone = evaluate(channels(), dataset)
    parts = [evaluate(channels(), Subset(dataset, 2, start))["confusion_matrix"] for start in range(2)]
    assert np.sum(parts, axis=0).tolist() == alone["confusion_matrix"]


def test_an_absent_class_has_no_iou():
    dataset = drawn(classes=("a", "b", "c"))
    for image, label in dataset.pairs:
        label[label == 2] = 1
        image[..., 2] = 0
    assert evaluate(channels(), dataset)["iou"]["c"] is None


def test_a_model_with_other_classes_is_refused():
    with pytest.raises(ValueError, match="the model has num_classes=3, pairs needs 4"):
        evaluate(channels(), drawn(classes=("a", "b", "c", "d")))
    model = channels()
    model.classes = ("x", "y", "z")
    with pytest.raises(ValueError, match="the model's classes are x, y, z; those of pairs are a, b, c"):
        evaluate(model, drawn())


def test_an_empty_split_and_a_missing_file_are_named(tmp_path):
    with pytest.raises(ValueError, match="pairs has no images"):
        evaluate(channels(), drawn(sizes=()))
    with pytest.raises(FileNotFoundError, match=r"nowhere\.safetensors"):
        evaluate(tmp_path / "nowhere.safetensors", drawn())


def test_255_as_the_only_foreground_is_refused():
    image = np.zeros((2, 2, 3), "uint8")
    dataset = Pairs([(image, np.array([[0, 0], [0, 255]], "uint8")), (image, np.zeros((2, 2), "uint8"))])
    for scored in (lambda: evaluate(channels(), dataset), lambda: splits.check(dataset, "train")):
        with pytest.raises(ValueError, match="pairs: labels contain 255, which means void, and no class above 0"):
            scored()
    dataset.marks_void = True
    assert evaluate(channels(), dataset)["miou"] == 1
    splits.check(dataset, "train")
    rare = Pairs([*dataset.pairs * 20, (image, np.array([[0, 2], [0, 255]], "uint8")), *dataset.pairs])
    splits.check(rare, "train")  # the foreground is in none of the pairs that are read first


def test_sample_pictures_of_large_images_show_some_of_their_pixels(monkeypatch):
    dataset = drawn(sizes=((80, 60), (8, 8)))
    whole = sample_picture({"model": channels()}, dataset, np.arange(2), footer=None)
    monkeypatch.setattr(evaluation, "SAMPLE_SIDE", 40)
    small = sample_picture({"model": channels()}, dataset, np.arange(2), footer=None)
    assert whole.shape[0] - small.shape[0] == 40 and whole.shape[1] > small.shape[1]
