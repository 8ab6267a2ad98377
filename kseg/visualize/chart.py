"""Axes, lines and bars."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, ImageDraw

from kseg.visualize.palette import Color
from kseg.visualize.text import INK, PAPER, font_of, upright, width_of

FINE = 3  # drawn so many times as large and then shrunk, which smooths the lines
FAINT: Color = (225, 225, 225)
Span = tuple[float, float]


class Chart:
    """A chart to draw into, values in the units of its axes.

    Args:
        x: the first and the last value across.
        y: the lowest and the highest value.
        title: a text above.
        x_label: a text below.
        y_label: a text to the left.
        size: width and height of the area of values in pixels.
        font_size: height of the letters in pixels.
        whole: whether only whole numbers are marked across, such as epochs.
    """

    def __init__(
        self,
        x: Span,
        y: Span,
        *,
        title: str = "",
        x_label: str = "",
        y_label: str = "",
        size: tuple[int, int] = (480, 300),
        font_size: int = 14,
        whole: bool = False,
    ):
        self.x, self.y = _widened(x), _widened(y)
        self.title, self.x_label, self.y_label = title, x_label, y_label
        self.size, self.font_size = size, font_size
        self.x_marks, self.y_marks = marks(self.x, whole=whole), marks(self.y)
        self.area = Image.new("RGB", (size[0] * FINE, size[1] * FINE), PAPER)
        self.draw = ImageDraw.Draw(self.area)
        for value in self.x_marks:
            self.line([(value, self.y[0]), (value, self.y[1])], FAINT, width=1)
        for value in self.y_marks:
            self.line([(self.x[0], value), (self.x[1], value)], FAINT, width=1)

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a value lies in the area, in fine pixels."""
        across, down = ((value - low) / (high - low) for value, (low, high) in ((x, self.x), (y, self.y)))
        return across * self.area.width, (1 - down) * self.area.height

    def line(self, points: Sequence[tuple[float, float]], color: Color, *, width: float = 2) -> None:
        """A line through points; a single one becomes a dot."""
        places = [self.place(*point) for point in points]
        if len(places) == 1:
            self.dot(points[0], color)
        self.draw.line(places, fill=color, width=round(width * FINE), joint="curve")

    def dot(self, point: tuple[float, float], color: Color, *, radius: float = 3, hollow: bool = False) -> None:
        """A dot; a hollow one is filled with white."""
        x, y = self.place(*point)
        reach = radius * FINE
        box = (x - reach, y - reach, x + reach, y + reach)
        self.draw.ellipse(box, fill=PAPER if hollow else color, outline=color, width=2 * FINE)

    def bar(self, x: Span, y: Span, color: Color) -> None:
        """A rectangle, `y` in either order."""
        corners = (*self.place(x[0], max(y)), *self.place(x[1], min(y)))
        left, top, right, bottom = map(round, corners)
        if right > left and bottom > top:  # Pillow counts the last row and column in
            self.draw.rectangle((left, top, right - 1, bottom - 1), fill=color)

    def picture(self) -> np.ndarray:
        """The chart with its texts: uint8 `(H, W, 3)`, white background."""
        font, small, pad = font_of(self.font_size), font_of(self.font_size - 1), self.font_size
        x_texts, y_texts = texts(self.x_marks), texts(self.y_marks)
        # At least as wide as 0.000, so that the axes of charts above one another mostly align.
        left = max(width_of(text, small) for text in ["0.000", *y_texts]) + pad + (2 * pad if self.y_label else 0)
        top = 2 * pad if self.title else pad
        right = max(width_of(x_texts[-1], small) // 2 if x_texts else 0, pad) + 2
        (width, height), below = self.size, pad * (4 if self.x_label else 2)
        picture = Image.new("RGB", (left + width + right, top + height + below), PAPER)
        picture.paste(self.area.resize(self.size, Image.Resampling.BOX), (left, top))
        draw = ImageDraw.Draw(picture)
        draw.rectangle((left - 1, top - 1, left + width, top + height), outline=INK)
        for value, text in zip(self.x_marks, x_texts, strict=True):
            x = left + self.place(value, self.y[0])[0] / FINE
            draw.text((x, top + height + pad // 2), text, fill=INK, font=small, anchor="ma")
        for value, text in zip(self.y_marks, y_texts, strict=True):
            y = top + self.place(self.x[0], value)[1] / FINE
            draw.text((left - pad // 2, y), text, fill=INK, font=small, anchor="rm")
        draw.text((left + width // 2, top // 2), self.title, fill=INK, font=font, anchor="mm")
        draw.text((left + width // 2, top + height + 3 * pad), self.x_label, fill=INK, font=font, anchor="mm")
        if self.y_label:
            bottom = top + (height + width_of(self.y_label, font)) // 2
            upright(picture, self.y_label, font, x=pad, bottom=bottom)
        return np.asarray(picture)


def marks(span: Span, *, whole: bool = False) -> list[float]:
    """Three to eight round numbers within a span: steps of 1, 2 or 5 times a power of ten."""
    rough = (span[1] - span[0]) / 7
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    step = max(step, 1.0) if whole else step
    first, last = math.ceil(span[0] / step - 1e-9), math.floor(span[1] / step + 1e-9)
    return [count * step for count in range(first, last + 1)]


def texts(values: Sequence[float]) -> list[str]:
    """Numbers with as many digits as tell them apart."""
    if not values:
        return []
    largest, step = max(map(abs, values)), abs(values[-1] - values[0]) / max(len(values) - 1, 1)
    if largest >= 1e6 or 0 < largest < 1e-4:
        return [f"{value:.3g}" for value in values]
    digits = max(0, -math.floor(math.log10(step) + 1e-9)) if step else 0
    return [f"{value:.{digits}f}" for value in values]


def _widened(span: Iterable[float]) -> Span:
    """A span of some length, so that a constant can be drawn."""
    low, high = map(float, span)
    if high > low:
        return low, high
    margin = abs(low) / 10 or 1.0
    return low - margin, low + margin
