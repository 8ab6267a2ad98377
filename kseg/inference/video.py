"""Video files, read and written by OpenCV frame by frame."""

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import numpy as np

from kseg.data import in_utf8
from kseg.inference.opencv import load_opencv

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv")


def is_video(path: str | os.PathLike) -> bool:
    """Returns whether a path is an existing file with the suffix of a video."""
    return os.path.isfile(path) and os.fspath(path).lower().endswith(VIDEO_SUFFIXES)


class Frames:
    """The frames of a video file, uint8 RGB `(H, W, 3)`, decoded one after the other by iteration.

    Args:
        path: The file.

    Attributes:
        rate: Frames per second.

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If OpenCV is not installed.
        ValueError: If it is not a video that OpenCV can decode.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = path
        if not os.path.isfile(path):
            raise FileNotFoundError(f"no video at {os.fspath(path)}")
        with _opened(path) as capture:
            cv2 = load_opencv("videos")
            self.rate = float(capture.get(cv2.CAP_PROP_FPS)) or 25.0
            self.count = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))

    def __len__(self) -> int:
        """Returns the number of frames that the file declares, which may be an estimate."""
        return self.count

    def __iter__(self) -> Iterator[np.ndarray]:
        with _opened(self.path) as capture:
            while True:
                read, frame = capture.read()
                if not read:
                    return
                yield np.ascontiguousarray(frame[..., ::-1])


@contextlib.contextmanager
def _opened(path: str | os.PathLike) -> Iterator[Any]:
    """Yields OpenCV's reader of a video file."""
    cv2 = load_opencv("videos")
    with in_utf8(path) as name:
        capture = cv2.VideoCapture(name)
    try:
        if not capture.isOpened():
            raise ValueError(f"{os.fspath(path)}: not a video that can be read")
        yield capture
    finally:
        capture.release()


class VideoWriter:
    """Writes pictures of one size as an MP4 file (MPEG-4), in a `with` block; it appears whole or not at all.

    Args:
        path: The file to write; its folder must exist.
        rate: Frames per second.

    Raises:
        ImportError: If OpenCV is not installed.
        OSError: If the file cannot be written.
    """

    def __init__(self, path: pathlib.Path, rate: float):
        self.path, self.rate = path, rate
        self.video: Any = None
        self.cv2 = load_opencv("videos")

    def __enter__(self) -> "VideoWriter":
        self.folder = tempfile.TemporaryDirectory(prefix=".kseg-", dir=self.path.parent)
        self.aside = pathlib.Path(self.folder.name, "video.mp4")
        return self

    def add(self, picture: np.ndarray) -> None:
        """Adds a picture, uint8 RGB `(H, W, 3)`. Odd sides are extended by a pixel, which MPEG-4 needs."""
        height, width = picture.shape[:2]
        picture = np.pad(picture, [(0, height % 2), (0, width % 2), (0, 0)], mode="edge")
        if self.video is None:
            size = picture.shape[1::-1]
            with in_utf8(self.folder.name) as folder:
                path = os.path.join(folder, self.aside.name)
                self.video = self.cv2.VideoWriter(path, self.cv2.VideoWriter_fourcc(*"mp4v"), self.rate, size)
            if not self.video.isOpened():
                raise OSError(
                    f"cannot write {self.path}: OpenCV has no encoder for MPEG-4 of {size[0]}x{size[1]} pixels"
                )
        self.video.write(np.ascontiguousarray(picture[..., ::-1]))

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        if self.video is not None:
            self.video.release()
        with self.folder:
            if kind is None and self.aside.is_file():
                try:
                    os.replace(self.aside, self.path)
                except OSError as error:
                    raise OSError(error.errno, f"cannot write {self.path}: {error.strerror}") from None
