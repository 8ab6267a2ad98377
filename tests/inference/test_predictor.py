"""Labels and probabilities, flips and scales, many images, the CRF."""

import functools
import weakref

import keras
import numpy as np
import pytest
import tifffile
from PIL import Image

import kseg
from kseg.data import Pixels
from kseg.inference import Predictor
from kseg.inference import predictor as predictor_module
from kseg.inference.loss import measure
from kseg.pretrained import SegmentationModel

pytestmark = pytest.mark.usefixtures("numpy_initializers")


@functools.cache  # JAX compiles each model and shape once
def pointwise(classes=3):
    keras.utils.set_random_seed(1)
    image = keras.Input((None, None, 3))
    return keras.Model(image, keras.layers.Conv2D(classes, 1)(image / 255))


def photo():
    return np.random.default_rng(0).integers(0, 256, (12, 17, 3)).astype("uint8")


def test_labels_are_the_largest_logits_or_probabilities_above_one_half():
    model = pointwise()
    logits = model.predict_on_batch(photo()[None])[0]
    np.testing.assert_array_equal(Predictor(model)(photo()), logits.argmax(-1))
    p = Predictor(model).probabilities(photo())
    np.testing.assert_allclose(p, np.exp(logits) / np.exp(logits).sum(-1, keepdims=True), rtol=1e-4)
    binary = pointwise(1)
    logits = binary.predict_on_batch(photo()[None])[0, ..., 0]
    np.testing.assert_array_equal(Predictor(binary)(photo()), logits > 0)


def test_scales_return_to_the_size_of_the_image():
    model = pointwise()
    even = np.full((9, 13, 3), 77, "uint8")
    plain = Predictor(model).probabilities(even)
    np.testing.assert_allclose(Predictor(model, scales=(0.5, 1, 1.5)).probabilities(even), plain, atol=1e-5)


def test_consecutive_images_of_one_size_share_a_batch_and_keep_their_order():
    small = [photo()[:9] // (1 + index) for index in range(5)]
    large = [photo(), photo() // 2]
    sources = [*small[:3], "missing.png", *small[3:], *large, np.zeros((64, 40, 3), "uint8")]
    predictor, shapes = Predictor(pointwise(), tile=32), []
    run = predictor.run
    predictor.run = lambda network, images: shapes.append(images.shape) or run(network, images)
    found = list(predictor.many(sources, batch_size=2))
    assert [each.source is wanted for each, wanted in zip(found, sources, strict=True)] == [True] * 9
    assert [shape[0] for shape in shapes] == [2, 1, 2, 2, *[1] * 4]  # the last one is cut into tiles
    assert isinstance(found[3].error, FileNotFoundError)
    for source, image, label, _ in found[:3] + found[4:]:
        np.testing.assert_array_equal(image, source)
        np.testing.assert_array_equal(label, predictor(source))
    with pytest.raises(ValueError, match="batch_size must be 1 or more, got 0"):
        list(predictor.many(sources, batch_size=0))


def test_images_are_read_one_batch_at_a_time():
    read = []

    def sources():
        for index in range(9):
            read.append(index)
            yield photo()

    found = Predictor(pointwise()).many(sources(), batch_size=3)
    assert read == []
    next(found)
    assert read == [0, 1, 2]


def test_a_yielded_image_is_not_held_while_the_next_is_read(monkeypatch):
    yielded = []

    def read(source, pixels, on_warning):
        assert [image for image in yielded if image() is not None] == []
        return photo() // source

    monkeypatch.setattr(predictor_module, "read_picture", read)
    for found in Predictor(pointwise()).many([1, 2, 3]):
        yielded.append(weakref.ref(found.image))
        del found
    assert len(yielded) == 3


def test_images_are_converted_to_gray_for_gray_models():
    keras.utils.set_random_seed(1)
    image = keras.Input((None, None, 1))
    model = keras.Model(image, keras.layers.Conv2D(3, 1, bias_initializer="normal")(image / 255))
    gray = np.asarray(Image.fromarray(photo()).convert("L"))
    logits = model.predict_on_batch(gray[None, ..., None].astype("float32"))[0]
    np.testing.assert_array_equal(Predictor(model)(photo()), logits.argmax(-1))
    np.testing.assert_array_equal(Predictor(model)(gray), logits.argmax(-1))


@pytest.fixture
def crf(monkeypatch):
    """Replaces the dense CRF by one that always chooses the last class; records its arguments."""
    given = []

    def dense_crf(image, probabilities, **options):
        given.append((image, probabilities, options))
        return np.eye(probabilities.shape[-1], dtype="float32")[np.full(probabilities.shape[:2], -1)]

    monkeypatch.setattr("kseg.inference.refinement.dense_crf", dense_crf)
    return given


def test_the_crf_refines_the_probabilities_of_the_whole_image_also_after_tiling(crf):
    wide = np.random.default_rng(1).integers(0, 256, (40, 90, 3)).astype("uint8")
    found = list(Predictor(pointwise(), crf=True).many(photo()))
    found += Predictor(pointwise(), tile=32, crf={"iterations": 3}).many([wide] * 2, batch_size=2)
    for each, (image, probabilities, options) in zip(found, crf, strict=True):
        assert (each.label == 2).all() and options == ({} if len(image) == 12 else {"iterations": 3})
        np.testing.assert_array_equal(image, each.image)
        np.testing.assert_allclose(probabilities, Predictor(pointwise()).probabilities(each.image), atol=1e-5)


def test_the_crf_gets_two_classes_for_a_model_with_one_channel(crf):
    p = Predictor(pointwise(1), crf=True).probabilities(photo())
    np.testing.assert_array_equal(p, np.ones((12, 17, 1)))
    np.testing.assert_allclose(crf[0][1].sum(axis=-1), 1, rtol=1e-6)


def test_many_accepts_a_folder_a_pattern_and_a_single_image(tmp_path):
    Image.fromarray(photo()).save(tmp_path / "b.png")
    (tmp_path / "a.png").write_text("no image")
    for sources, errors in (
        (tmp_path, [True, False]),
        (tmp_path / "b*.png", [False]),
        (photo(), [False]),
        (Image.fromarray(photo()), [False]),
    ):
        found = list(Predictor(pointwise()).many(sources))
        assert [each.error is not None for each in found] == [each.label is None for each in found] == errors


@pytest.mark.parametrize(
    ("flip", "turns"), [(True, [(1, -1)]), ("vertical", [(-1, 1)]), ("both", [(-1, 1), (1, -1), (-1, -1)])]
)
def test_flips_are_undone_before_the_mean(flip, turns):
    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.Conv2D(3, (3, 2), padding="same")(image / 255))
    parts = [Predictor(model).probabilities(photo())]
    parts += [Predictor(model).probabilities(photo()[::a, ::b])[::a, ::b] for a, b in turns]
    np.testing.assert_allclose(Predictor(model, flip=flip).probabilities(photo()), np.mean(parts, axis=0), atol=1e-6)
    with pytest.raises(ValueError, match="got 'diagonal'"):
        Predictor(model, flip="diagonal")


class Wrapped(keras.Model):
    def __init__(self):
        super().__init__()
        self.last = keras.layers.Activation("sigmoid")

    def call(self, x):
        return self.last(x)


@pytest.mark.parametrize("last", ["layer", "operation", "model", "resized", "cast", "wrapped"])
def test_a_model_that_returns_probabilities_is_recognized(last):
    """Half of the pixels are foreground; with a second sigmoid, all of them would be."""
    image = keras.Input((None, None, 3))
    scores = image[..., :1] - 127.5
    ends = {
        "layer": keras.layers.Activation("sigmoid"),
        "operation": keras.ops.sigmoid,
        "model": keras.Sequential([keras.layers.Activation("sigmoid")]),
        "resized": lambda x: keras.ops.image.resize(
            keras.layers.UpSampling2D(2)(keras.ops.sigmoid(x)), photo().shape[:2]
        ),
        "cast": keras.Sequential(
            [keras.layers.Activation("sigmoid"), keras.layers.Activation("linear", dtype="float32")]
        ),
        "wrapped": Wrapped(),
    }
    model = keras.Model(image, ends[last](scores))
    np.testing.assert_array_equal(Predictor(model)(photo()), photo()[..., 0] > 127)
    logits = keras.Model(image, scores)
    np.testing.assert_array_equal(Predictor(logits)(photo()), photo()[..., 0] > 127)
    np.testing.assert_array_equal(Predictor(logits, from_logits=False)(photo()), photo()[..., 0] - 127.5 > 0.5)


def test_an_image_on_which_the_network_fails_does_not_stop_the_others():
    """A network that fails on one size, with an error type of its own."""
    model = pointwise()
    predictor = Predictor(model)
    run = predictor.run

    def picky(network, images):
        if images.shape[2] == 5:
            raise RuntimeError("out of memory")
        return run(network, images)

    predictor.run = picky
    small = photo()[:4, :5]
    found = list(predictor.many([photo(), small, small, photo()], batch_size=2))
    assert [each.label is not None for each in found] == [True, False, False, True]
    assert [str(each.error) for each in found[1:3]] == ["out of memory"] * 2


def test_models_that_do_not_fit_are_refused_with_the_cure():
    image, gray = keras.Input((None, None, 3)), keras.Input((None, None, 1))
    shrinking = keras.Model(image, keras.layers.Conv2D(2, 3)(image), name="shrinking")
    for small, size in ((shrinking, "10x15"), (keras.Model(image, keras.layers.Conv2D(2, 1, 4)(image)), "3x5")):
        with pytest.raises(
            ValueError, match=rf"gives {size} labels for 12x17 pixels, .*: resize the scores in"
        ) as found:
            Predictor(small)(photo())
        cure = str(found.value).partition("model = ")[2].partition(", and export")[0]
        enlarged = eval(cure, {"keras": keras, "kseg": kseg, "model": small})
        assert Predictor(enlarged)(photo()).shape == (12, 17)

    class Mine(keras.Model):
        def call(self, x):
            return x

    mine = Mine(name="mine")
    mine(photo()[None])
    for model, error, told in (
        (mine, ValueError, r"mine is a subclassed or unbuilt model, .* keras\.Model\(x, model\(x\)\)"),
        (keras.Sequential([keras.layers.Conv2D(2, 1)]), ValueError, "unbuilt"),
        (keras.Model([image, gray], image + gray), ValueError, "has 2 inputs: give it one image that is split inside"),
        (keras.Model(image, [image, image]), ValueError, r"several outputs: .*keras\.Model\(model\.inputs, model"),
        (keras.Model(image, keras.layers.GlobalAveragePooling2D()(image)), ValueError, r"maps .* to \(None, 3\)"),
        ("best.safetensors", TypeError, r"must be a keras\.Model, got 'best\.safetensors': kseg\.zoo\.load"),
    ):
        with pytest.raises(error, match=told):
            Predictor(model)
    for options, told in (
        ({"threshold": 0.3}, "threshold needs a model with one output channel, .* has 3"),
        ({"scales": ()}, "scales must be positive"),
    ):
        with pytest.raises(ValueError, match=told):
            Predictor(pointwise(), **options)
    five = keras.Input((None, None, 5))
    with pytest.raises(ValueError, match="crf needs gray or RGB images, five takes 5 channels"):
        Predictor(keras.Model(five, five, name="five"), crf=True)


def test_a_model_of_any_number_of_channels_reads_files_and_arrays(tmp_path):
    image = keras.Input((None, None, 5))
    model = keras.Model(image, image)
    values = np.random.default_rng(0).integers(0, 4096, (6, 7, 5)).astype("uint16")
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack", planarconfig="contig")
    pixels = Pixels(range=(0, 4095), bands=(5, 4, 3, 2, 1))
    predictor = Predictor(model, pixels=pixels, tile=32)
    expected = values[..., ::-1].argmax(-1)
    np.testing.assert_array_equal(predictor(tmp_path / "a.tif"), expected)
    for source in (values[..., ::-1], values[..., ::-1] * (255 / 4095)):  # what data sets give stays
        np.testing.assert_array_equal(predictor(source), expected)
    with pytest.raises(ValueError, match=r"band 5 is asked for, but the image has 3 bands"):
        predictor(photo())
    with pytest.raises(ValueError, match=r"3 bands where 5 are expected"):
        Predictor(model)(photo())
    image = keras.Input((None, None, 3))  # arrays and images in memory have no pages
    paged = Predictor(keras.Model(image, image), pixels=Pixels(page=2))
    for source in (photo(), photo()[..., 0], photo() / 1.0, Image.fromarray(photo())):
        assert paged(source).shape == photo().shape[:2]
    Image.fromarray(photo()).save(tmp_path / "b.png")
    with pytest.raises(ValueError, match=r"page 2 is asked for, but the file has 1 page"):
        paged(tmp_path / "b.png")
    with pytest.raises(ValueError, match=r"takes 5 bands, got bands = \[1, 2\]"):
        Predictor(model, pixels=Pixels(bands=(1, 2)))


def test_the_meaning_of_pixels_is_part_of_the_model():
    """Bands that a model was trained on are chosen, and values scaled; images of data sets are both already."""
    image = keras.Input((None, None, 3))
    model = SegmentationModel.of(keras.Model(image, image), pixels={"range": [0, 1000], "bands": [4, 3, 2]})
    values = np.random.default_rng(0).integers(0, 1000, (6, 7, 5)).astype("int16")
    found = Predictor(model).read(values)
    np.testing.assert_allclose(found, values[..., [3, 2, 1]] * 0.255, rtol=1e-5)
    np.testing.assert_array_equal(Predictor(model).read(found), found)
    np.testing.assert_allclose(Predictor(model, pixels=Pixels(range=(0, 2000))).read(values[..., :3]),
                               values[..., :3] * 0.1275, rtol=1e-5)  # fmt: skip


@pytest.mark.parametrize("scaled", [lambda x: x / 127.5 - 1, lambda x: x * 257.0, lambda x: x * np.nan])
def test_arrays_of_floats_are_refused_with_a_cure_that_works(scaled):
    for pixels in (None, Pixels(range=(-1, 1)), Pixels(range="percentile")):
        with pytest.raises(
            ValueError, match=r"the image: an array of floats must have values from 0 to 255, got .*scale"
        ):
            Predictor(pointwise(), pixels=pixels).read(scaled(photo()))
    bands = np.random.default_rng(0).random((6, 7, 5)) * 255
    found = Predictor(pointwise(), pixels=Pixels(bands=(4, 3, 2))).read(bands)
    np.testing.assert_allclose(found, bands[..., [3, 2, 1]], rtol=1e-6)


def test_class_ids_are_not_taken_for_scores():
    image = keras.Input((None, None, 3))
    ids = keras.ops.argmax(keras.layers.Conv2D(3, 1)(image), axis=-1, keepdims=True)
    with pytest.raises(ValueError, match=r"returns int\d+, class ids instead of scores: leave out its argmax"):
        Predictor(keras.Model(image, ids))


def test_images_divided_by_255_are_doubted_once():
    """Case 12."""
    predictor = Predictor(pointwise())
    with pytest.warns(UserWarning, match="values from 0 to 1 are nearly black") as caught:
        for _ in range(3):
            predictor(photo() / 255)
    assert sum("nearly black" in str(each.message) for each in caught) == 1  # PyTorch has warnings of its own


def test_a_model_of_fixed_size_pads_smaller_images_and_the_tiles_of_larger_ones():
    image = keras.Input((32, 48, 3), name="image")
    model = keras.Model(image, keras.layers.Conv2D(3, 1)(image / 255))
    free = keras.Input((None, None, 3))
    anysize = keras.Model(free, model.layers[-1](free / 255))
    np.testing.assert_array_equal(Predictor(model)(photo()), Predictor(anysize)(photo()))
    large = np.random.default_rng(1).integers(0, 256, (50, 70, 3)).astype("uint8")
    expected = Predictor(anysize).probabilities(large)
    for options in ({}, {"tile": 1024}, {"tile": 32}):
        np.testing.assert_allclose(Predictor(model, **options).probabilities(large), expected, atol=1e-5)
    assert Predictor(model, scales=(1, 1.2)).tile is None  # 32 / 1.2 is less than the smallest tile
    for options in ({"tile": 0}, {"scales": (1, 1.2)}):
        with pytest.raises(ValueError, match=r"takes images of 32x48 pixels, got"):
            Predictor(model, **options)(large)


@pytest.mark.parametrize(("depth", "order"), [(2, 1), (2, -1), (5, 1)])
def test_the_images_of_an_own_unet_are_padded_to_what_its_poolings_divide(depth, order):
    image = x = keras.Input((None, None, 3))
    skips = [x := keras.layers.MaxPooling2D()(x) for _ in range(depth)]
    for skip in [*skips[-2::-1], image]:
        x = keras.layers.Concatenate()([keras.layers.UpSampling2D()(x), skip][::order])
    model = keras.Model(image, keras.layers.Conv2D(3, 1)(x))
    odd, step = np.random.default_rng(2).integers(0, 256, (37, 66, 3)).astype("uint8"), 2**depth
    padded = np.pad(odd, ((0, -37 % step), (0, -66 % step), (0, 0)), mode="edge")
    expected = model.predict_on_batch(padded[None].astype("float32"))[0].argmax(-1)[:37, :66]
    np.testing.assert_array_equal(Predictor(model)(odd), expected)
    assert Predictor(model, tile=32)(odd).shape == (37, 66)
    truth = np.where(expected == 0, 255, expected)
    loss = lambda y, scores: keras.losses.sparse_categorical_crossentropy(y, scores, True, ignore_class=255)  # noqa: E731
    ids, value = measure(Predictor(model), odd[None], [truth], lambda y, scores: keras.ops.sum(loss(y, scores)))
    np.testing.assert_array_equal(ids[0], expected)
    logits = model.predict_on_batch(padded[None].astype("float32"))[0, :37, :66]
    p = np.exp(logits - logits.max(-1, keepdims=True))
    p = np.take_along_axis(p / p.sum(-1, keepdims=True), expected[..., None], -1)[..., 0]
    assert value == pytest.approx(-np.log(p[truth != 255]).sum(), rel=1e-4)


def halved_and_doubled(pool=2):
    """A U-Net with one pooling, whose sides must be multiples of `pool`."""
    image = keras.Input((None, None, 3))
    small = keras.layers.UpSampling2D(pool)(keras.layers.MaxPooling2D(pool)(image))
    return keras.Model(image, keras.layers.Conv2D(2, 1)(keras.layers.Concatenate()([image, small])))


def test_models_of_many_forms_take_odd_images():
    sequential = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(4, 2, 2, "same")])
    sequential.add(keras.layers.Conv2DTranspose(2, 2, strides=2))
    image = keras.Input((None, None, 3))
    inside = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Rescaling(1 / 255), halved_and_doubled()])
    for model in (
        sequential,
        keras.Model(image, inside(image)),
        keras.Model(image, halved_and_doubled()(inputs=image)),
        halved_and_doubled(pool=12),
    ):
        assert Predictor(model)(photo()[:11]).shape == (11, 17)
    assert Predictor(halved_and_doubled(pool=12), tile=32).tile == 96


def test_layers_that_compute_to_tell_their_shape_get_small_images():
    sides = []
    image = keras.Input((None, None, 3))
    x = keras.layers.Lambda(lambda x: sides.append(x.shape[1]) or x * 1.0)(image)
    for _ in range(6):
        x = keras.layers.MaxPooling2D()(x)
    model = keras.Model(image, keras.layers.Conv2D(2, 1)(keras.layers.UpSampling2D(64)(x)))
    assert Predictor(model)(photo()).shape == (12, 17)
    assert max(side for side in sides if isinstance(side, int)) < 1000


def test_a_model_of_a_fixed_batch_size_labels_any_number_of_images():
    image = keras.Input(batch_shape=(2, 32, 32, 3))
    fixed, free = keras.Model(image, pointwise().layers[-1](image)), keras.Input((None, None, 3))
    anysize = keras.Model(free, pointwise().layers[-1](free))
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3)).astype("uint8")
    np.testing.assert_array_equal(Predictor(fixed).labels(images), Predictor(anysize).labels(images))


@pytest.mark.parametrize(("bands", "size"), [(3, (None, None)), (3, (32, 40)), (5, (32, 40)), (8, (None, None))])
def test_the_cures_for_channels_first_and_for_two_inputs_work(bands, size):
    image = keras.Input((bands, *size))
    inner = keras.ops.transpose(image, (0, 2, 3, 1))[..., :1] - 127.5  # stands for layers with channels first
    first = keras.Model(image, keras.ops.sigmoid(keras.ops.transpose(inner, (0, 3, 1, 2))), name="first")
    with pytest.raises(ValueError, match=r"first takes channels-first images .*: wrap it, ") as error:
        Predictor(first)
    scope = {"keras": keras, "model": first}
    exec(str(error.value).partition("wrap it, ")[2].replace("; ", "\n"), scope)
    pixels = np.tile(photo(), 3)[..., :bands]
    np.testing.assert_array_equal(Predictor(scope["model"])(pixels), photo()[..., 0] > 127)
    rgb, depth = keras.Input((*size, 3)), keras.Input((*size, 1))
    both = keras.Model([rgb, depth], keras.ops.concatenate([rgb[..., :1], depth], axis=-1))
    with pytest.raises(ValueError, match="has 2 inputs") as error:
        Predictor(both)
    scope = {"keras": keras, "model": both}
    exec(str(error.value).partition("e.g. ")[2].replace("; ", "\n"), scope)
    assert scope["model"].input_shape == (None, None, None, 4)


def test_images_of_many_sizes_trace_one_graph_and_nothing_is_warned(caplog):
    predictors = [Predictor(keras.Sequential([keras.Input((None, None, 3)), pointwise()])) for _ in range(7)]
    for index, predictor in enumerate(predictors):
        for size in range(1, 4):
            predictor(photo()[: index + size, : 9 + size])
            predictor.probabilities(photo()[: index + size, : 9 + size])
    assert "retracing" not in caplog.text
