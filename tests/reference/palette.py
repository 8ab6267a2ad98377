"""The search for the colors of `kseg.visualize.default_palette`, which the library keeps as a table.

Every color is compared in CIELAB, for normal vision and for two simulations of each color blindness. Both simulations
are matrices on linear RGB. They differ, most for tritanopia, so that colors must be far apart in both.

Reference:
    Machado, Oliveira, Fernandes: A Physiologically-based Model for Simulation of Color Vision Deficiency, 2009,
    https://www.inf.ufrgs.br/~oliveira/pubs_files/CVD_Simulation/CVD_Simulation.html
    Vienot, Brettel, Mollon: Digital Video Colourmaps for Checking the Legibility of Displays by Dichromats, 1999
"""

from collections.abc import Iterator, Sequence

import numpy as np

# Linear sRGB to CIE XYZ; the rows' sums are the white point D65.
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
# XYZ to the cones L, M, S (Hunt, Pointer, Estevez).
CONES = np.array([[0.4002, 0.7076, -0.0808], [-0.2263, 1.1653, 0.0457], [0.0, 0.0, 0.9182]]) @ XYZ
# Machado et al., severity 1: protanopia, deuteranopia, tritanopia.
MACHADO = (
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
)


def seen(colors: np.ndarray) -> np.ndarray:
    """Returns colors as seven observers see them: normal vision, then each dichromat by Machado and by Vienot.

    Args:
        colors: sRGB, `(N, 3)`, 0 to 255.

    Returns:
        CIELAB `(7, N, 3)`; Euclidean distances are the CIE color differences of 1976.
    """
    value = np.asarray(colors) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    observers = [np.eye(3), *map(np.array, MACHADO), *(_without(cone) for cone in range(3))]
    return _lab(np.stack([np.clip(linear @ matrix.T, 0, 1) for matrix in observers]))


def _without(cone: int) -> np.ndarray:
    """Returns Vienot's projection along the axis of the missing cone onto the plane of grays and one unchanged color.

    The unchanged color is blue if L or M is missing, as in the paper, and red if S is missing (not in the paper).
    """
    gray, kept = CONES @ np.ones(3), CONES[:, 0 if cone == 2 else 2]
    normal = np.cross(gray, kept)
    projection = np.eye(3)
    projection[cone] = -normal / normal[cone]
    projection[cone, cone] = 0
    return np.linalg.inv(CONES) @ projection @ CONES


def _lab(linear: np.ndarray) -> np.ndarray:
    xyz = linear @ XYZ.T / XYZ.sum(axis=1)
    x, y, z = np.moveaxis(np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def search(first: Sequence[tuple[int, int, int]]) -> Iterator[tuple[int, int, int]]:
    """Yields the colors of the palette: the `first` ones, then always the candidate farthest from all before."""
    yield from first
    level = np.arange(0, 256, 17)
    taken = [*first, (0, 0, 0), (255, 255, 255)]
    candidates = np.concatenate([taken, np.stack(np.meshgrid(level, level, level), axis=-1).reshape(-1, 3)])
    lab = seen(candidates).round(2)  # so that the last bit of a machine decides nothing
    places = np.ascontiguousarray(np.moveaxis(lab, -1, 0), "float32")  # (Lab, observers, candidates)
    distance = np.full(len(candidates), np.inf, "float32")  # squared, to the nearest color taken
    for index in range(len(taken)):
        _approach(distance, places, index)
    while distance[index := int(distance.argmax())] > 0:
        _approach(distance, places, index)
        red, green, blue = candidates[index].tolist()
        yield red, green, blue


def _approach(distance: np.ndarray, places: np.ndarray, index: int) -> None:
    difference = places - places[:, :, index, None]
    np.minimum(distance, np.square(difference).sum(axis=0).min(axis=0), out=distance)
