import time

import numpy as np
import pytest

from kseg import data
from kseg.data.scene import with_void


def test_a_scene_depends_on_split_and_index_alone():
    first, again = data.streets("train"), data.streets("train", count=5)
    later = first[4]
    for index in (0, 4):
        assert all((one == other).all() for one, other in zip(first[index], again[index], strict=True))
    assert (later[0] == data.streets("train")[4][0]).all()
    assert (first[0][0] != data.streets("val")[0][0]).any()
    assert (first[0][0] != first[1][0]).any()


def test_all_classes_are_drawn_and_void_is_thin():
    dataset = data.streets("val")
    labels = np.stack([dataset[index][1] for index in range(len(dataset))])
    share = np.bincount(labels.reshape(-1), minlength=256) / labels.size
    assert (share[:8] > 0.01).all()
    assert 0.02 < share[255] < 0.10
    assert share[8:255].sum() == 0


@pytest.mark.parametrize("size", [(32, 32), (65, 97), (240, 320)])
def test_scenes_have_any_size(size):
    dataset = data.streets("test", size=size)
    image, label = dataset[0]
    assert image.shape == (*size, 3)
    assert label.shape == size == dataset.size(0)


def test_a_size_too_small_is_refused():
    with pytest.raises(ValueError, match="both 32 or more"):
        data.streets("train", size=(16, 64))


def test_void_takes_from_the_thing_behind():
    label = np.array([[0, 0, 6, 6, 0, 0]], np.uint8)  # a pole two pixels wide in front of the sky
    assert with_void(label).tolist() == [[0, 255, 6, 6, 255, 0]]
    assert with_void(np.array([[0, 0, 0], [1, 1, 1]], np.uint8)).tolist() == [[255] * 3, [1, 1, 1]]


def test_drawing_is_fast():
    dataset = data.streets("train")
    dataset.read(0)
    seconds = []
    for index in range(30):
        start = time.thread_time()  # other processes do not count
        dataset.read(index)
        seconds.append(time.thread_time() - start)
    assert np.quantile(seconds, 0.25) < 0.010, "about 4 ms on an idle machine"
