"""Videos that are written and read again."""

import os
import pathlib

import numpy as np
import pytest

from kseg.inference import Frames, VideoWriter


def colors(count=12, size=(35, 41)):
    """Frames of one color each; their sides are odd."""
    return [np.full((*size, 3), (20 * index, 255 - 20 * index, 128), "uint8") for index in range(count)]


def write(path, pictures):
    with VideoWriter(path, 10) as video:
        for picture in pictures:
            video.add(picture)
    return path


def test_frames_keep_their_order_and_colors(tmp_path):
    frames = Frames(write(tmp_path / "a.mp4", colors()))
    assert (len(frames), frames.rate) == (12, 10)
    for found, expected in zip(frames, colors(size=(36, 42)), strict=True):
        assert found.dtype == np.uint8 and np.abs(found.astype(int) - expected).max() < 8
    assert os.listdir(tmp_path) == ["a.mp4"]


def test_a_name_that_is_not_utf8_is_written_and_read(tmp_path):
    place = pathlib.Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xe9/caf\xe9.mp4"))
    place.parent.mkdir()
    write(place, colors())
    assert len(list(Frames(place))) == 12


def test_what_is_no_video_is_named_and_a_broken_write_leaves_nothing(tmp_path, capfd):
    (tmp_path / "b.mp4").write_bytes(b"no video" * 99)
    with pytest.raises(ValueError, match=r"b\.mp4: not a video that can be read"):
        Frames(tmp_path / "b.mp4")
    with pytest.raises(FileNotFoundError, match="no video at"):
        Frames(tmp_path / "c.mp4")
    with pytest.raises(KeyError), VideoWriter(tmp_path / "c.mp4", 10) as video:
        video.add(colors()[0])
        raise KeyError
    assert os.listdir(tmp_path) == ["b.mp4"] and capfd.readouterr().err == ""
