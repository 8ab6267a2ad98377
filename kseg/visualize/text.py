"""Text in pictures, in fonts that have its letters."""

import functools
import importlib.util
import os
import pathlib
import shutil
import subprocess
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from PIL import ImageFont

from kseg.classes import printable

PAPER, INK = (255, 255, 255), (32, 32, 32)

NAMES = (
    "DejaVuSans.ttf", "NotoSans-Regular.ttf", "NotoSansCJK-Regular.ttc", "NotoSansCJKsc-Regular.otf",
    "NotoSansSC-Regular.otf", "NotoSansKR-Regular.otf", "DroidSansFallbackFull.ttf", "wqy-microhei.ttc",
    "wqy-zenhei.ttc", "NanumGothic.ttf",
    "arial.ttf", "msyh.ttc", "malgun.ttf", "meiryo.ttc",  # Windows
    "Arial Unicode.ttf", "PingFang.ttc", "Hiragino Sans GB.ttc", "AppleSDGothicNeo.ttc",  # macOS
)  # fmt: skip
"""Files of fonts with many letters, which Pillow finds in the font folders of the system."""


def size_for(width: int) -> int:
    """Returns a letter height that stays legible when a picture of this width is shrunk to fit a screen."""
    return max(16, width // 50)


def width_of(text: str, font: Any) -> int:
    """Returns the width of a line of text in pixels."""
    return int(font.getlength(text)) + 1


def font_for(text: str, size: int) -> Any:
    """Returns the first font that has all letters of a text: Pillow's own, or one of the system; else Pillow's own."""
    place = _place(_letters(text))
    return ImageFont.load_default(size) if place is None else ImageFont.truetype(place[0], size, index=place[1])


def drawable(classes: Sequence[str]) -> list[str]:
    """Returns class names as they can be drawn: `"class 3"` if no font has the letters, and warns about it."""
    return [name if _drawn(name) else f"class {index}" for index, name in enumerate(classes)]


def fitting(text: str) -> str:
    """Returns a text with `"?"` instead of letters that no font has, and warns about it."""
    text = printable(text)
    return text if _drawn(text) else "".join(letter if _found(letter) else "?" for letter in text)


def _drawn(text: str) -> bool:
    if found := _found(text):
        return found
    warnings.warn(
        f"no font has the letters of {text!r}, which a picture shows in another way: install a font that has them, "
        "such as Noto Sans (CJK)",
        stacklevel=4,
    )
    return False


def _found(text: str) -> bool:
    letters = _letters(text)
    place = _place(letters)
    return place is not None or _has(ImageFont.load_default(16), letters)


def _letters(text: str) -> str:
    """Returns the visible characters of a text, each once."""
    composed = unicodedata.normalize("NFC", text)
    hidden = ("Mn", "Cf", "Cc")
    return "".join(sorted({c for c in composed if not c.isspace() and unicodedata.category(c) not in hidden}))


@functools.cache
def _place(letters: str) -> tuple[str, int] | None:
    """Returns file and index of a font that has the letters; None if Pillow's own font or no font has them."""
    if _has(ImageFont.load_default(16), letters):
        return None
    for file, index in _candidates(letters):
        try:
            font = ImageFont.truetype(file, 16, index=index)
        except OSError:
            continue
        if _has(font, letters):
            return str(font.path), index
    return None


def _candidates(letters: str) -> Iterator[tuple[str, int]]:
    """Yields fonts: the one that fontconfig prefers, those of `NAMES`, and the one in matplotlib."""
    if program := shutil.which("fc-match"):
        pattern = "sans:charset=" + " ".join(f"{ord(letter):x}" for letter in letters)
        try:
            found = subprocess.run([program, "-f", "%{file}\n%{index}", pattern], capture_output=True, timeout=20)
            file, index = os.fsdecode(found.stdout).split("\n")
            yield file, int(index)
        except (OSError, ValueError, subprocess.SubprocessError):
            pass
    yield from ((name, 0) for name in NAMES)
    spec = importlib.util.find_spec("matplotlib")
    if spec and spec.origin:
        yield str(pathlib.Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"), 0


def _has(font: Any, letters: str) -> bool:
    """Returns whether no letter is drawn as the sign for missing ones."""
    missing = bytes(font.getmask("\ufffe"))  # no character
    return all(bytes(font.getmask(letter)) != missing for letter in letters)
