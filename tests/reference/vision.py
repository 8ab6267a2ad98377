"""Color blindness by Brettel, Vienot and Mollon (1997), one color at a time.

A dichromat sees two half-planes of the space of cones, each through white and one spectral color that stays unchanged.
"""

import numpy as np

# Linear sRGB to XYZ, and XYZ to the cones L, M, S of Smith and Pokorny (1975).
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
CONES = np.array([[0.15514, 0.54312, -0.03286], [-0.15514, 0.45684, 0.03286], [0.0, 0.0, 0.01608]])
# CIE 1931 color matching functions at wavelengths in nm.
SPECTRUM = {
    475: (0.1421, 0.1126, 1.0419),
    485: (0.0580, 0.1693, 0.6162),
    575: (0.8425, 0.9154, 0.0018),
    660: (0.1649, 0.0610, 0.0000),
}
# Missing cone, the two others, and the wavelengths where the second of these is the stronger and the weaker one.
DICHROMATS = {
    "protanopia": (0, 1, 2, 475, 575),
    "deuteranopia": (1, 0, 2, 475, 575),
    "tritanopia": (2, 0, 1, 485, 660),
}


def linear(color):
    value = np.asarray(color) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def as_seen(color, dichromat):
    """Returns the linear RGB that a dichromat sees; None is normal vision."""
    if dichromat is None:
        return linear(color)
    missing, first, second, strong, weak = DICHROMATS[dichromat]
    cones, white = CONES @ XYZ @ linear(color), CONES @ XYZ @ np.ones(3)
    stronger = cones[second] * white[first] > cones[first] * white[second]
    anchor = CONES @ np.array(SPECTRUM[strong if stronger else weak])
    a, b, c = np.cross(white, anchor)[[missing, first, second]]
    cones[missing] = -(b * cones[first] + c * cones[second]) / a
    return np.clip(np.linalg.inv(CONES @ XYZ) @ cones, 0, 1)


def lab(rgb):
    """Returns linear RGB in CIELAB."""
    ratios = XYZ @ rgb / (XYZ @ np.ones(3))
    x, y, z = (ratio ** (1 / 3) if ratio > 0.008856 else 7.787 * ratio + 16 / 116 for ratio in ratios)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def smallest_distance(colors, dichromat):
    """Returns the smallest CIE 1976 difference between two of the colors."""
    seen = np.array([lab(as_seen(color, dichromat)) for color in colors])
    distances = np.linalg.norm(seen[:, None] - seen[None], axis=-1)
    return distances[np.triu_indices(len(seen), 1)].min()
