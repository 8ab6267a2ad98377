"""Connected regions against those of SciPy."""

import numpy as np
import pytest
import scipy.ndimage

from kseg.inference import find_objects
from tests.inference.test_formats import LABELS


def reference(label, index):
    """Yields area, box, centroid and pixels of the regions of a class, in the order of their first pixels."""
    parts, count = scipy.ndimage.label(label == index)
    for number in range(1, count + 1):
        y, x = np.nonzero(parts == number)
        box = (x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1)
        yield len(x), box, (x.mean(), y.mean()), (parts == number)[y.min() : y.max() + 1, x.min() : x.max() + 1]


@pytest.mark.parametrize("without", [(), (0,)])
@pytest.mark.parametrize("name", [*LABELS, "spiral", "noise"])
def test_regions_equal_those_of_scipy(name, without):
    if name == "spiral":  # whose ends meet only after many turns
        rows, columns = np.indices((63, 63)) - 31
        label = ((np.hypot(rows, columns) + 4 * np.arctan2(rows, columns) / np.pi) % 8 < 4).astype("uint16")
    else:
        label = np.random.default_rng(0).integers(0, 3, (40, 50)) if name == "noise" else LABELS[name]
    found = find_objects(label, 3, without=without)
    expected = [(index, *each) for index in range(3) if index not in without for each in reference(label, index)]
    assert len(found) == len(expected)
    for number, (index, area, box, centroid, pixels) in enumerate(expected):
        assert (found.classes[number], found.areas[number]) == (index, area)
        assert found.boxes[number].tolist() == list(box)
        np.testing.assert_allclose(found.centroids[number], centroid)
        np.testing.assert_array_equal(found.mask(number), pixels)
