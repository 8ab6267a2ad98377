"""A canvas for road scenes: a camera, and functions that draw into an image and its label map.

Positions are in meters relative to the camera: x to the right, y up, z forward. A surface is drawn twice, its color
into the image and its class into the label map. Light, texture and noise are then added to the image only.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from kseg.data.masks import IGNORE

SOFTEN = ImageFilter.Kernel((3, 3), (1, 3, 1, 3, 16, 3, 1, 3, 1))

Color = Sequence[float] | np.ndarray
Place = tuple[float, float, float]
Span = tuple[float, float]


class Scene:
    """An image, its label map filled with `background`, and a camera with random position and view."""

    def __init__(self, rng: np.random.Generator, size: tuple[int, int], background: int = 0) -> None:
        self.rng = rng
        self.height, self.width = size
        self.horizon = self.height * rng.uniform(0.36, 0.47)
        self.vanishing = self.width * rng.uniform(0.38, 0.62)
        self.focal = self.width * rng.uniform(0.75, 0.9)
        self.eye = rng.uniform(1.7, 2.4)  # meters above the road
        self.road = (-rng.uniform(3.4, 5.4), rng.uniform(2.6, 4.2))  # x of the curbs
        self.walls = (self.road[0] - rng.uniform(2.8, 4.6), self.road[1] + rng.uniform(2.8, 4.6))  # x of the houses
        self.sun = int(rng.choice([-1, 1]))  # the side of the sun
        self.dark = int(255 * rng.uniform(0.5, 0.8))  # light in the shade, of 255
        self.image = Image.new("RGB", (self.width, self.height))
        self.label = Image.new("L", (self.width, self.height), background)
        self.shade = Image.new("L", (self.width, self.height), 255)
        self.on_image, self.on_label = ImageDraw.Draw(self.image), ImageDraw.Draw(self.label)
        self.on_shade = ImageDraw.Draw(self.shade)

    def at(self, x: float, y: float, z: float) -> tuple[float, float]:
        """Projects a position to pixel coordinates `(x, y)`."""
        return self.vanishing + self.focal * x / z, self.horizon + self.focal * (self.eye - y) / z

    def pixels(self, meters: float, z: float) -> float:
        """Returns the length in pixels of `meters` at distance `z`."""
        return self.focal * meters / z

    def place_in_view(self, x: Span, z: Span) -> tuple[float, float]:
        """Returns a random position `(x, z)` on the ground, visible to the camera unless eight tries fail."""
        for _ in range(8):
            depth, across = self.rng.uniform(*z), self.rng.uniform(min(x), max(x))
            if 4 < self.at(across, 0, depth)[0] < self.width - 4:
                break
        return across, depth

    def tint(self, color: Color, spread: float = 14.0) -> np.ndarray:
        """Returns a random variation of the color."""
        return np.asarray(color, float) + self.rng.normal(0, spread) + self.rng.normal(0, spread / 3, 3)

    def surface(self, places: Sequence[Place], color: Color, label: int | None = None) -> None:
        """Fills a polygon. Without a label it is a detail of the object behind, such as a window."""
        polygon = [self.at(*place) for place in places]
        self.on_image.polygon(polygon, fill=_rgb(color))
        if label is not None:
            self.on_label.polygon(polygon, fill=label)

    def floor(self, x: Span, z: Span, color: Color, label: int | None = None) -> None:
        """Draws a rectangle on the ground."""
        self.surface(_floor(x, z), color, label)

    def wall(self, x: float, y: Span, z: Span, color: Color, label: int | None = None) -> None:
        """Draws a vertical rectangle along the street."""
        self.surface([(x, y[0], z[0]), (x, y[1], z[0]), (x, y[1], z[1]), (x, y[0], z[1])], color, label)

    def front(self, x: float, y: Span, z: float, half: Span, color: Color, label: int | None = None) -> None:
        """Draws a vertical trapezoid that faces the camera, `2 * half[0]` wide below and `2 * half[1]` above."""
        places = [(x - half[0], y[0], z), (x - half[1], y[1], z), (x + half[1], y[1], z), (x + half[0], y[0], z)]
        self.surface(places, color, label)

    def box(self, x: Span, y: Span, z: float, color: Color, label: int, *, oval: bool = False) -> None:
        """Draws a vertical rectangle or ellipse that faces the camera, at least one pixel wide."""
        (left, top), (right, bottom) = self.at(x[0], y[1], z), self.at(x[1], y[0], z)
        corners = (left, top, max(right, left + 1), max(bottom, top + 1))
        for canvas, fill in ((self.on_image, _rgb(color)), (self.on_label, label)):
            (canvas.ellipse if oval else canvas.rectangle)(corners, fill=fill)

    def frame(self, corners: tuple[float, float, float, float], color: Color, label: int) -> None:
        """Draws a rectangle given in pixels: left, top, right, bottom."""
        self.on_image.rectangle(corners, fill=_rgb(color))
        self.on_label.rectangle(corners, fill=label)

    def shadow(self, x: Span, z: Span, light: int | None = None) -> None:
        """Draws a rectangle of shade on the ground."""
        self.on_shade.polygon([self.at(*place) for place in _floor(x, z)], fill=self.dark if light is None else light)

    def cast(self, x: float, z: float, half: float, length: float) -> None:
        """Draws the shadow of an object, away from the sun."""
        away, deep = -self.sun * length, z + 0.6 * half
        places = [(x - half, 0.0, z), (x + half, 0.0, z), (x + half + away, 0.0, deep), (x - half + away, 0.0, deep)]
        self.on_shade.polygon([self.at(*place) for place in places], fill=self.dark)

    def finish(self, roughness: np.ndarray, ground: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Returns the image with light and texture, of an amplitude per class, and the label map with void borders."""
        rng, size = self.rng, (self.height, self.width)
        label = np.array(self.label)
        image = np.array(self.image.filter(SOFTEN)).astype(np.float32)
        shade = np.array(self.shade.filter(ImageFilter.BoxBlur(1.5)))
        shade[~np.logical_or.reduce([label == index for index in ground])] = 255
        light = shade * (1 + np.float32(0.1) * smooth_noise(rng, (5, 7), size))
        patches = rng.standard_normal((size[0] // 3 + 1, size[1] // 3 + 1), np.float32).repeat(3, 0).repeat(3, 1)
        grain = rng.standard_normal(size, np.float32)
        rough = np.float32(0.8) * patches[: size[0], : size[1]] + np.float32(0.6) * grain
        rough *= roughness[label]
        # Color temperature, then exposure.
        tint = rng.uniform((0.94, 0.97, 0.92), (1.08, 1.03, 1.06)) * rng.uniform(0.82, 1.15)
        spread = np.float32(rng.uniform(6, 20))
        noise = rng.random((*size, 3), np.float32) * spread - spread / 2  # sensor noise
        for channel in range(3):
            image[..., channel] = image[..., channel] * light * np.float32(tint[channel] / 255) + rough
        image += noise
        return np.clip(image, 0, 255, out=image).astype(np.uint8), with_void(label)


def with_void(label: np.ndarray) -> np.ndarray:
    """Sets borders between classes to void, one pixel wide, on the side of the smaller id to keep thin objects."""
    void = np.zeros(label.shape, bool)
    for one, other in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        void[one] |= label[one] < label[other]
        void[other] |= label[other] < label[one]
    return np.where(void, np.uint8(IGNORE), label)


def smooth_noise(rng: np.random.Generator, cells: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Returns smooth noise with mean 0 and standard deviation of about 1, float32 of the given size."""
    coarse = Image.fromarray(rng.standard_normal(cells, np.float32))
    return np.asarray(coarse.resize((size[1], size[0]), Image.Resampling.BICUBIC))


def _floor(x: Span, z: Span) -> list[Place]:
    return [(x[0], 0.0, z[0]), (x[1], 0.0, z[0]), (x[1], 0.0, z[1]), (x[0], 0.0, z[1])]


def _rgb(color: Color) -> tuple[int, int, int]:
    red, green, blue = color
    return min(255, max(0, int(red))), min(255, max(0, int(green))), min(255, max(0, int(blue)))
