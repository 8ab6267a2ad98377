"""Letters in pictures."""

from typing import Any

from PIL import Image, ImageDraw, ImageFont

PAPER, INK = (255, 255, 255), (32, 32, 32)


def font_of(size: int) -> Any:
    """Pillow's own font.

    Args:
        size: height of the letters in pixels.
    """
    return ImageFont.load_default(size)


def size_for(width: int) -> int:
    """The height of letters that can still be read when a picture of this width is shrunk to fit a screen."""
    return max(16, width // 50)


def width_of(text: str, font: Any) -> int:
    """The width of a line of text in pixels."""
    return int(font.getlength(text)) + 1


def upright(picture: Image.Image, text: str, font: Any, *, x: int, bottom: int) -> None:
    """Writes bottom to top.

    Args:
        picture: where to.
        text: one line.
        font: see `font_of`.
        x: the middle of the letters.
        bottom: where the text begins.
    """
    height = round(1.4 * font.size)
    strip = Image.new("RGB", (width_of(text, font) + 2, height), PAPER)
    ImageDraw.Draw(strip).text((0, height // 2), text, fill=INK, font=font, anchor="lm")
    strip = strip.rotate(90, expand=True)
    picture.paste(strip, (x - strip.width // 2, bottom - strip.height))
