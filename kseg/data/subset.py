"""A part of a data set: for a process among several, or when all of it takes too long."""

import numpy as np

from kseg.data.dataset import Dataset


class Subset(Dataset):
    """Every n-th image of a data set.

    Args:
        whole: The data set.
        every: Take every n-th image.
        start: The index of the first one.

    Example:
        >>> from kseg import data
        >>> [len(data.Subset(data.load("streets", "val", count=8), 3, start)) for start in range(3)]
        [3, 3, 2]
    """

    def __init__(self, whole: Dataset, every: int, start: int = 0):
        super().__init__(whole.name, whole.classes, whole.palette, memory_limit=0)
        self.whole, self.indices, self.marks_void = whole, range(start, len(whole), every), whole.marks_void

    def __len__(self) -> int:
        return len(self.indices)

    def identifier(self, index: int) -> str:
        """Returns the name of one image in the whole data set."""
        return self.whole.identifier(self.indices[index])

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns one pair, as the whole data set does."""
        return self.whole[self.indices[index]]

    def size(self, index: int) -> tuple[int, int]:
        """Returns the height and the width of one image."""
        return self.whole.size(self.indices[index])
