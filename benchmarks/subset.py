"""A part of a data set, for when all of it takes too long."""

import numpy as np

from kseg import data


class Subset(data.Dataset):
    """Every n-th image of a data set, starting with the first."""

    def __init__(self, whole: data.Dataset, every: int):
        super().__init__(whole.name, whole.classes, whole.palette)
        self.whole, self.every, self.marks_void = whole, every, whole.marks_void

    def __len__(self) -> int:
        return -(-len(self.whole) // self.every)

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Reads one image and its label."""
        return self.whole.read(index * self.every)

    def size(self, index: int) -> tuple[int, int]:
        """Returns the height and the width of one image."""
        return self.whole.size(index * self.every)
