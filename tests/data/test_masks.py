import numpy as np
import pytest
from PIL import Image

from kseg.data.masks import MaskReader
from tests.data.folders import ids, write

CLASSES = ("sky", "road", "car")
PALETTE = ((0, 0, 255), (90, 90, 90), (255, 0, 0))


def indexed():
    """A palette PNG whose colors are not those of `PALETTE`."""
    mask = Image.fromarray(ids([0, 1], [2, 2])).convert("P")
    mask.putpalette([7, 7, 7, 200, 0, 0, 0, 200, 0])
    return mask


CELLS = ("background", "cell")
RED, BLUE, BLACK, OTHER = [255, 0, 0], [0, 0, 255], [0, 0, 0], [1, 2, 3]


@pytest.mark.parametrize(
    ("reader", "pixels", "expected"),
    [
        pytest.param(MaskReader(CLASSES), ids([0, 1], [2, 255]), [[0, 1], [2, 255]], id="gray"),
        pytest.param(MaskReader(CLASSES, ignore=(11, 12)), ids([0, 11], [12, 2]), [[0, 255], [255, 2]], id="ignored"),
        pytest.param(MaskReader(CLASSES, ignore=11), ids([0, 11]), [[0, 255]], id="one value ignored"),
        pytest.param(MaskReader(CLASSES, PALETTE), indexed(), [[0, 1], [2, 2]], id="palette PNG"),
        pytest.param(MaskReader(CLASSES, PALETTE), ids([BLUE, RED]), [[0, 2]], id="RGB"),
        pytest.param(MaskReader(CLASSES, PALETTE), ids([[*BLUE, 255], [*RED, 255]]), [[0, 2]], id="RGBA"),
        pytest.param(MaskReader(CLASSES, PALETTE, ignore=[BLACK]), ids([RED, BLACK]), [[2, 255]], id="ignored color"),
        pytest.param(MaskReader(CLASSES), ids([[1, 1, 1], [2, 2, 2]]), [[1, 2]], id="gray saved as RGB"),
        pytest.param(MaskReader(CELLS, values=(0, 255)), ids([0, 255]), [[0, 1]], id="black and white"),
        pytest.param(MaskReader(CELLS), np.array([[False, True]]), [[0, 1]], id="one bit"),
    ],
)
def test_masks_of_every_kind_are_read_as_class_ids(tmp_path, reader, pixels, expected):
    label = reader.read(write(tmp_path / "m.png", pixels))
    assert label.dtype == np.uint8
    assert label.tolist() == expected


@pytest.mark.parametrize(
    ("reader", "pixels", "message"),
    [
        (
            MaskReader(CLASSES, PALETTE),
            ids([RED, OTHER]),
            r"mask values \(1, 2, 3\) \(1 pixels\) are outside the 3 classes",
        ),
        (MaskReader(CLASSES), ids([0, 7], [7, 9]), r"mask values 7 \(2 pixels\), 9 \(1 pixels\) are outside"),
        (MaskReader(CLASSES), ids([RED]), "this is a color mask and there is no palette"),
        (MaskReader(CLASSES), np.array([[0, 1]], np.uint16), "masks must have 8 bits per channel"),
        (MaskReader(CLASSES), None, "cannot be read as a mask"),
    ],
)
def test_masks_that_cannot_be_read_are_named(tmp_path, reader, pixels, message):
    path = tmp_path / "m.png"
    path.write_text("not an image") if pixels is None else write(path, pixels)
    with pytest.raises(ValueError, match=rf"m\.png: {message}"):
        reader.read(path)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_black_and_white_masks_without_values_are_explained(tmp_path, mode):
    path = write(tmp_path / "m.png", Image.fromarray(ids([0, 255])).convert(mode))
    with pytest.raises(ValueError, match=r"for black-and-white masks pass values=\[0, 255\]"):
        MaskReader(CELLS).read(path)
    assert MaskReader(CELLS, ignore=[255]).read(path).tolist() == [[0, 255]]


def test_every_class_has_values_of_its_own():
    with pytest.raises(ValueError, match="values names 2 mask values for 3 classes"):
        MaskReader(CLASSES, values=(0, 255))
    with pytest.raises(ValueError, match="mask value 1 has two meanings"):
        MaskReader(CLASSES, ignore=(1,))
    with pytest.raises(ValueError, match=r"palette color \(255, 0, 0\) has two meanings"):
        MaskReader(CLASSES, PALETTE, ignore=[(255, 0, 0)])
