"""The border of a class, neighbor by neighbor."""

import numpy as np


def border(classes, index):
    """Rows and columns, `(n, 2)`, of the pixels of a class with a neighbor of another class; void (255) is none."""
    around = np.pad(classes, 1, constant_values=255)
    places = [
        (row, column)
        for row, column in np.argwhere(classes == index)
        if {around[row + 2, column + 1], around[row, column + 1], around[row + 1, column + 2], around[row + 1, column]}
        - {index, 255}
    ]
    return np.array(places, int).reshape(-1, 2)
