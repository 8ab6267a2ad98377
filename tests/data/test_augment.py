import importlib.metadata
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from kseg.data import augment

NAMES = list(augment.PIPELINES)


def scene(rng, height=40, width=56):
    """An image of two gray levels in blocks, and its label of two classes."""
    label = rng.integers(0, 2, (-(-height // 8), -(-width // 8))).repeat(8, 0).repeat(8, 1)[:height, :width]
    image = np.where(label == 1, 210, 40)[..., None].repeat(3, -1)
    return image.astype(np.uint8), label.astype(np.uint8)


@pytest.mark.parametrize("crop", [None, (24, 32), (33, 17), (90, 100)])
@pytest.mark.parametrize("name", NAMES)
def test_no_augmentation_invents_a_label(name, crop):
    augmentation = augment.pipeline(name, crop=crop)
    rng = np.random.default_rng(0)
    for seed in range(40):
        known = rng.choice(255, 4, replace=False)
        label = rng.choice(known, (41, 57)).astype(np.uint8)
        image = rng.integers(0, 256, (41, 57, 1 + 2 * (seed % 2)), np.uint8)
        new_image, new_label = augmentation(image, label, seed)
        assert set(np.unique(new_label)) <= {*known, 255}
        assert new_image.shape == (*(crop or (41, 57)), image.shape[2])
        assert new_label.shape == new_image.shape[:2]
        assert (new_image.dtype, new_label.dtype) == (np.uint8, np.uint8)


@pytest.mark.parametrize("name", NAMES)
def test_image_and_label_move_together(name):
    augmentation = augment.pipeline(name, crop=(32, 48))
    rng = np.random.default_rng(1)
    for seed in range(30):
        image, label = augmentation(*scene(rng), seed)
        gray, valid = image.mean(-1), label != 255
        if not {0, 1} <= set(np.unique(label)):
            continue
        middle = (gray[label == 0].mean() + gray[label == 1].mean()) / 2
        agree = (gray > middle) == (label == 1)
        assert agree[valid].mean() > 0.93, seed  # all except the blurred borders of the blocks


@pytest.mark.parametrize("name", NAMES)
def test_padding_is_labeled_with_the_ignored_class(name):
    augmentation = augment.pipeline(name, crop=(100, 100), scale=(1, 1), ignore_class=99)
    _, label = augmentation(*scene(np.random.default_rng(2)), 0)
    assert (label == 99).sum() == 100 * 100 - 40 * 56


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_alone_decides_on_any_thread_and_in_any_order(name):
    pair = scene(np.random.default_rng(5))
    augmentation = augment.pipeline(name, crop=(24, 32))
    expected = [augmentation(*pair, seed)[0].tobytes() for seed in range(60)]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda seed: augmentation(*pair, seed)[0].tobytes(), reversed(range(60))))
    assert found == expected[::-1]
    assert len(set(expected)) > 3


@pytest.mark.parametrize("name", NAMES)
def test_the_pair_that_goes_in_stays_as_it_is(name):
    pair = scene(np.random.default_rng(6))
    before = [array.copy() for array in pair]
    for array in pair:
        array.setflags(write=False)
    for seed in range(5):
        for array in augment.pipeline(name)(*pair, seed):
            array[:] = 1
    assert all((one == other).all() for one, other in zip(pair, before, strict=True))


def test_doubling_repeats_labels_and_halving_averages_the_image():
    rng = np.random.default_rng(7)
    image, label = rng.integers(0, 256, (6, 8, 3), np.uint8), rng.integers(0, 9, (6, 8), np.uint8)
    _, doubled = augment.scaled_crop(image, label, rng, scale=2.0, size=(12, 16))
    assert (doubled == label.repeat(2, 0).repeat(2, 1)).all()
    halved, _ = augment.scaled_crop(image, label, rng, scale=0.5, size=(3, 4))
    expected = image.reshape(3, 2, 4, 2, 3).mean((1, 3))
    assert np.abs(halved - expected).max() <= 0.5


def test_every_place_of_a_crop_is_drawn():
    image = np.arange(6, dtype=np.uint8).reshape(1, 6, 1)
    augmentation = augment.pipeline("none", crop=(1, 4))
    assert {int(augmentation(image, image[..., 0], seed)[0][0, 0, 0]) for seed in range(60)} == {0, 1, 2}


def test_scales_are_drawn_from_the_whole_range():
    label = np.tile(np.arange(100, dtype=np.uint8), (100, 1))
    augmentation = augment.pipeline("none", crop=(50, 50), scale=(0.5, 2.0))
    spans = [int(np.ptp(augmentation(label[..., None], label, seed)[1][0])) + 1 for seed in range(300)]
    scales = 50 / np.array(spans)
    assert scales.min() < 0.55 and scales.max() > 1.9
    assert abs(scales.mean() - 1.25) < 0.1  # uniform in [0.5, 2]


def test_street_changes_colors_and_flips():
    image, label = scene(np.random.default_rng(8))
    image[..., 0] //= 2
    results = [augment.pipeline("street", scale=(1, 1))(image, label, seed) for seed in range(12)]
    assert len({tuple(new.reshape(-1, 3).mean(0).round()) for new, _ in results}) == 12
    flipped = [bool((new == label[:, ::-1]).all()) for _, new in results]
    assert set(flipped) == {True, False}


def test_microscope_turns_a_square_in_all_eight_ways():
    label = np.arange(9, dtype=np.uint8).reshape(3, 3)
    augmentation = augment.pipeline("microscope", scale=(1, 1))
    results = {augmentation(label[..., None].repeat(3, -1), label, seed)[1].tobytes() for seed in range(100)}
    assert len(results) == 8


def test_a_street_crop_of_camvid_takes_a_few_milliseconds():
    rng = np.random.default_rng(9)
    image, label = rng.integers(0, 256, (360, 480, 3), np.uint8), rng.integers(0, 11, (360, 480), np.uint8)
    augmentation = augment.pipeline("street", crop=(240, 320))
    augmentation(image, label, 0)
    seconds = []
    for seed in range(20):
        start = time.thread_time()
        augmentation(image, label, seed)
        seconds.append(time.thread_time() - start)
    assert np.quantile(seconds, 0.25) < 0.005, "about 1.2 ms on an idle machine"


def test_users_may_name_a_pipeline_of_their_own(monkeypatch):
    upside_down = augment.Pipeline(transforms=lambda albumentations: [albumentations.VerticalFlip(p=1.0)])
    monkeypatch.setitem(augment.PIPELINES, "upside_down", upside_down)
    image, label = scene(np.random.default_rng(10))
    assert (augment.pipeline("upside_down")(image, label, 0)[1] == label[::-1]).all()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("streets", {}, "unknown augmentation 'streets'; did you mean 'street'"),
        *(("street", {"scale": scale}, "scale must be") for scale in ((2.0, 0.5), (0, 1))),
        *(("street", {"crop": crop}, "crop must be") for crop in ((0, 10), (5,))),
    ],
)
def test_unknown_names_and_wrong_options_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        augment.pipeline(name, **options)


def test_a_label_of_another_size_is_refused():
    with pytest.raises(ValueError, match="but its label is"):
        augment.pipeline("flip")(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5), np.uint8), 0)


def test_the_successor_under_another_license_is_refused(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: name)
    with pytest.raises(ImportError, match=r"albumentationsx \(AGPL\) is installed"):
        augment.pipeline("flip")


def test_a_missing_albumentations_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "albumentations", None)
    with pytest.raises(ImportError, match=r'augmentation needs albumentations: pip install "kseg\[train\]"'):
        augment.pipeline("flip")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("bands", [1, 2, 3, 5, 13])
@pytest.mark.parametrize("name", NAMES)
def test_images_of_any_type_and_number_of_bands_keep_both(name, bands, dtype):
    """Bands are moved and scaled alike: a band does not depend on the others, nor on its type but for rounding."""
    rng = np.random.default_rng(bands)
    full = 65535 if dtype == "uint16" else 255
    image = (rng.integers(0, 256, (40, 56, bands)) * (full // 255)).astype(dtype)
    label = rng.integers(0, 5, (40, 56)).astype("uint8")
    augmentation = augment.pipeline(name, crop=(24, 32))
    for seed in range(6):
        new, new_label = augmentation(image, label, seed)
        assert (new.dtype, new.shape, new_label.shape) == (np.dtype(dtype), (24, 32, bands), (24, 32))
        if bands not in (1, 3):
            alone, same_label = augmentation(image[..., [-1] * bands], label, seed)
            assert (same_label == new_label).all()
            np.testing.assert_allclose(alone[..., 0] / full, new[..., -1] / full, atol=1.01 / full)
        eight, _ = augmentation((image // (full // 255)).astype("uint8"), label, seed)
        np.testing.assert_allclose(new / full, eight / 255, atol=0.06)


def test_colors_of_more_bands_than_three_stay():
    image, label = np.full((16, 16, 5), 100, np.uint8), np.zeros((16, 16), np.uint8)
    augmentation = augment.pipeline("street", scale=(1, 1))
    for seed in range(5):
        assert (augmentation(image, label, seed)[0] == 100).all()
        assert (augmentation(image[..., :3], label, seed)[0] != 100).any()


def test_labels_of_other_types_are_padded_with_void():
    """Case 17: 255 does not fit int8."""
    augmentation = augment.pipeline("flip", crop=(4, 4))
    image = np.zeros((2, 2, 3), np.uint8)
    for dtype in (np.int8, np.int64, np.float32):
        _, label = augmentation(image, np.ones((2, 2), dtype), 0)
        assert label.dtype == np.uint8 and np.unique(label).tolist() == [1, 255]
    with pytest.raises(ValueError, match=r"the label: label values -1 \(4 pixels\) are outside"):
        augmentation(image, np.full((2, 2), -1, np.int8), 0)


class Pair:
    """A data set of two images: a black one of class 0, and a white one with a square of class 1 on class 2."""

    classes = ("plain", "square", "wall")

    def __len__(self):
        return 2

    def __getitem__(self, index):
        label = np.full((40, 56), 2 * index, np.uint8)
        label[8:24, 10:30] = index
        return np.full((40, 56, 3), 255 * index, np.uint8), label


def test_pixels_of_a_class_are_copied_from_another_image_into_a_share_of_the_images():
    pair, plain = Pair(), augment.pipeline("none", crop=(24, 32), scale=(0.5, 2.0))
    copies = augment.copy_paste(plain, pair, [1])
    pasted = 0
    for seed in range(200):
        image, label = copies(*pair[0], seed)
        assert set(np.unique(label)) <= {0, 1, 255}  # never the wall
        assert (image[label == 1] == 255).all() and (image[label == 0] == 0).all()
        again = copies(*pair[0], seed)
        assert (again[0] == image).all() and (again[1] == label).all()
        pasted += bool((label == 1).any())
        first, first_label = plain(*pair[0], seed)  # the rest stays
        assert (image[label != 1] == first[label != 1]).all() and (label[label != 1] == first_label[label != 1]).all()
    assert 30 <= pasted <= 70  # half of the images, and half of the others have a square, some outside of the crop


@pytest.mark.parametrize(("share", "counts"), [(0.0, range(1)), (1.0, range(3, 18))])
def test_a_share_of_0_pastes_nothing_and_of_1_always_draws_another_image(share, counts):
    pair = Pair()
    copies = augment.copy_paste(augment.pipeline("none"), pair, [2], share=share)
    assert sum(bool((copies(*pair[0], seed)[1] == 2).any()) for seed in range(20)) in counts


def test_copies_that_cannot_work():
    pair, plain = Pair(), augment.pipeline("none")
    for classes in ([], [3], [-1]):
        with pytest.raises(ValueError, match="classes must be ids from 0 to 2, at least one, got"):
            augment.copy_paste(plain, pair, classes)
    with pytest.raises(ValueError, match=r"share must be from 0 to 1, got 1\.5"):
        augment.copy_paste(plain, pair, [1], share=1.5)
    with pytest.raises(ValueError, match=r"images of \(20, .*\) and \(40, .*\) cannot be pasted; set a crop size"):
        augment.copy_paste(plain, pair, [1], share=1.0)(*(array[:20, :20] for array in pair[0]), 0)
