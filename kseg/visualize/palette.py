"""Colours for classes."""

import functools
from collections.abc import Iterator

import numpy as np

from kseg.visualize.vision import seen

Color = tuple[int, int, int]

VOID: Color = (0, 0, 0)  # what is not a class
# Okabe and Ito's colours, told apart by colour-blind people; their black is void's here, so grey takes its place.
OKABE_ITO: tuple[Color, ...] = (
    (0, 114, 178),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (86, 180, 233),
    (213, 94, 0),
    (240, 228, 66),
    (153, 153, 153),
)


@functools.lru_cache
def default_palette(n: int) -> tuple[Color, ...]:
    """Colours for `n` classes, all different and none black, for colour-blind people too.

    The first eight are Okabe and Ito's. Each further one is, of 4096 colours, the farthest from all before it, black
    and white: in CIELAB, by the observer who tells it least from its nearest neighbour, of normal vision and simulated
    protanopia, deuteranopia and tritanopia. So the colours of up to 32 classes are no closer than those of eight: 7,
    by a simulation that took no part in the choice. For 64 classes it is 6, for 255 less than 1: add `borders` or
    names there. A longer palette begins with the shorter ones.

    Args:
        n: number of classes.

    Returns:
        `n` triples of 0..255.

    Reference:
        Okabe and Ito, Color Universal Design, 2008, https://jfly.uni-koeln.de/color/; for the simulations see
        `kseg.visualize.vision`.

    Example:
        >>> from kseg.visualize import default_palette
        >>> default_palette(2)
        ((0, 114, 178), (230, 159, 0))
        >>> len(set(default_palette(1000)))
        1000
    """
    colors: dict[Color, None] = {}  # a set that keeps the order
    source = _colors()
    while len(colors) < n:
        colors[next(source)] = None
    return tuple(colors)


def _colors() -> Iterator[Color]:
    """Endless colours, the farthest first; in the end any, for numbers of classes that no eye follows."""
    yield from OKABE_ITO
    level = np.arange(0, 256, 17)
    taken = [*OKABE_ITO, VOID, (255, 255, 255)]
    candidates = np.concatenate([taken, np.stack(np.meshgrid(level, level, level), axis=-1).reshape(-1, 3)])
    lab = seen(candidates).round(2)  # so that the last bit of some machine decides nothing
    places = np.ascontiguousarray(np.moveaxis(lab, -1, 0), "float32")  # (Lab, observers, candidates)
    far = np.full(len(candidates), np.inf, "float32")  # squared, to the nearest colour taken
    for index in range(len(taken)):
        _approach(far, places, index)
    while far[index := int(far.argmax())] > 0:
        _approach(far, places, index)
        red, green, blue = candidates[index].tolist()
        yield red, green, blue
    for count in range(1, 2**24):
        code = count * 0x9E3779 % 2**24  # odd: a permutation of all colours
        yield code >> 16, code >> 8 & 255, code & 255


def _approach(far: np.ndarray, places: np.ndarray, index: int) -> None:
    difference = places - places[:, :, index, None]
    np.square(difference, out=difference)
    np.minimum(far, difference.sum(axis=0).min(axis=0), out=far)
