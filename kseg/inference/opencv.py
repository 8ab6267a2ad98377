"""OpenCV, which the extra `train` brings."""

import os
from typing import Any


def load_opencv(needed_by: str) -> Any:
    """Returns the module cv2, or raises an ImportError with the command that installs it."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # errors of videos are reported by kseg
    try:
        import cv2
    except ImportError as error:
        raise ImportError(f"{needed_by} need OpenCV: pip install 'kseg[train]' ({error})") from None
    return cv2
