"""Text in pictures."""

from typing import Any

PAPER, INK = (255, 255, 255), (32, 32, 32)


def size_for(width: int) -> int:
    """Returns a letter height that stays legible when a picture of this width is shrunk to fit a screen."""
    return max(16, width // 50)


def width_of(text: str, font: Any) -> int:
    """Returns the width of a line of text in pixels."""
    return int(font.getlength(text)) + 1
