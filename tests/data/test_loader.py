import ctypes
import itertools
import resource
import sys

import keras
import numpy as np
import pytest

from kseg import data
from tests.data.folders import Pairs, numbered


def noise(image, label, seed):
    """An augmentation that shows its seed."""
    return image + np.random.default_rng(seed).integers(0, 100, image.shape, np.uint8), label


def indices(batches, count):
    return [image[0, 0, 0] for images, _ in itertools.islice(iter(batches), count) for image in images]


def equal(one, other):
    return all((first == second).all() for first, second in zip(one, other, strict=True))


def test_every_epoch_has_every_image_in_a_new_order_decided_by_the_seed():
    one, same, other = (indices(data.loader(numbered(7), batch_size=5, seed=seed), 7) for seed in (3, 3, 4))
    assert one == same != other
    order = np.reshape(one, (5, 7))
    assert (np.sort(order) == np.arange(7)).all()
    assert len({tuple(epoch) for epoch in order}) == 5


def test_a_loader_rebuilt_at_a_step_goes_on_as_the_unbroken_one():
    options = {"batch_size": 3, "seed": 5, "augment": noise}
    unbroken = list(itertools.islice(iter(data.loader(numbered(7), **options)), 12))
    for step in (1, 2, 5, 9):
        rebuilt = itertools.islice(iter(data.loader(numbered(7), start_step=step, **options)), 12 - step)
        for expected, found in zip(unbroken[step:], rebuilt, strict=True):
            assert equal(expected, found)


def test_the_number_of_threads_changes_nothing():
    augment = data.augment.pipeline("street", crop=(32, 48))
    dataset = data.streets("val", count=9)
    runs = [
        list(itertools.islice(iter(data.loader(dataset, batch_size=4, augment=augment, num_threads=threads)), 6))
        for threads in (0, 1, 5)
    ]
    for other in runs[1:]:
        assert all(equal(one, two) for one, two in zip(runs[0], other, strict=True))


def test_augmentation_depends_on_seed_epoch_and_index_alone():
    def by_index(**options):
        batches = data.loader(numbered(7), augment=noise, epochs=3, **options)
        return {image.tobytes() for images, _ in batches for image in images}

    in_threes = by_index(batch_size=3, seed=1)
    assert len(in_threes) == 21  # three epochs, each with different noise
    assert in_threes == by_index(batch_size=1, seed=1) == by_index(batch_size=7, seed=1, shuffle=False)
    assert in_threes.isdisjoint(by_index(batch_size=3, seed=2))


def test_finite_epochs_end_with_a_short_batch_and_keep_the_order_without_shuffling():
    batches = list(data.loader(numbered(7), batch_size=4, epochs=2, shuffle=False))
    assert [images.shape for images, _ in batches] == [(count, 4, 6, 3) for count in (4, 4, 4, 2)]
    for images, labels in batches:
        assert (images.dtype, labels.dtype) == (np.uint8, np.uint8)
        assert (images[..., 0] % 3 == labels).all()
    assert indices(batches, 4) == [*range(7), *range(7)]


def test_evaluation_sees_every_image_once_in_order_in_batches_of_one_size():
    images = [np.full((2, width, 3), index, np.uint8) for index, width in enumerate((4, 4, 4, 6, 6, 4))]
    dataset = Pairs([(image, image[..., 0] % 3) for image in images])
    batches = list(data.evaluation_loader(dataset, batch_size=2))
    assert [images.shape for images, _ in batches] == [(2, 2, 4, 3), (1, 2, 4, 3), (2, 2, 6, 3), (1, 2, 4, 3)]
    assert [image[0, 0, 0] for images, _ in batches for image in images] == list(range(6))


def test_images_of_different_sizes_ask_for_a_crop():
    dataset = Pairs([(np.zeros((1, width, 3), np.uint8), np.zeros((1, width), np.uint8)) for width in (4, 6)])
    with pytest.raises(ValueError, match="set a crop size"):
        next(iter(data.loader(dataset, batch_size=2)))
    cropped = data.loader(dataset, batch_size=2, augment=data.augment.pipeline("flip", crop=(2, 5)))
    assert next(iter(cropped))[0].shape == (2, 2, 5, 3)


def test_an_empty_data_set_is_refused():
    for make in (data.loader, data.evaluation_loader):
        with pytest.raises(ValueError, match="pairs: there are no images"):
            make(numbered(0), batch_size=2)


@pytest.mark.parametrize(
    "options", [{"batch_size": 0}, {"batch_size": 1, "seed": -1}, {"batch_size": 1, "start_step": -1}]
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ValueError, match="must be"):
        data.loader(numbered(7), **options)


def test_an_error_while_reading_reaches_the_caller(monkeypatch):
    def broken(self, index):
        raise ValueError("a.png: mask values 9")

    monkeypatch.setattr(Pairs, "read", broken)
    with pytest.raises(ValueError, match=r"a\.png: mask values 9"):
        next(iter(data.loader(numbered(1), batch_size=1)))


def test_a_missing_grain_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "grain", None)
    with pytest.raises(ImportError, match=r'loading batches needs grain: pip install "kseg\[train\]"'):
        data.loader(numbered(7), batch_size=1)


def test_fit_goes_through_the_stream_batch_by_batch():
    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.Conv2D(1, 1, kernel_initializer="ones")(image))
    model.compile(keras.optimizers.SGD(0.0), lambda label, output: keras.ops.mean(output) / 3)  # the loss is the index
    batches = data.loader(numbered(7), batch_size=2, seed=4)
    history = model.fit(batches, steps_per_epoch=3, epochs=4, shuffle=False, verbose=0)
    expected = np.reshape(indices(batches, 12), (4, 6)).mean(axis=1)
    np.testing.assert_allclose(history.history["loss"], expected, rtol=1e-5)
    mean = model.evaluate(data.evaluation_loader(numbered(8), batch_size=2), steps=4, verbose=0)
    np.testing.assert_allclose(mean, 3.5, rtol=1e-5)


def test_reading_a_batch_lets_malloc_keep_freed_memory(monkeypatch):
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    ctypes.CDLL(None).mallopt(-1, 128 << 10)  # as TensorFlow's `from_generator` sets M_TRIM_THRESHOLD
    next(iter(data.loader(numbered(7), batch_size=1)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        np.ones(4 << 20)  # 32 MiB, or 8192 pages, which are faulted in once
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 2 * 8192


def test_a_users_setting_of_malloc_is_kept(monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    monkeypatch.setattr(ctypes, "CDLL", None)
    next(iter(data.loader(numbered(7), batch_size=1)))
