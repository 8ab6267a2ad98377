"""Palette pictures, overlays, areas, polygons and run lengths, converted back to the label map."""

import csv
import io
import json
import sys

import numpy as np
import pytest
from PIL import Image

from kseg.data.masks import MaskReader
from kseg.inference import coco, format, formats, polygons, tables

CLASSES, PALETTE = ["a", "b", "c"], [(9, 9, 9), (0, 0, 255), (0, 200, 0)]


def blobs(seed=0, height=31, width=43):
    """Regions, holes, specks, pixels that touch at corners, and void."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 3, (height, width)).astype("uint8")
    label[5:25, 5:35] = 1
    label[10:18, 9:20] = 0
    label[12:15, 11:14] = 2
    label[-3:] = 255
    return label


LABELS = {
    "blobs": blobs(),
    "one class": np.full((4, 6), 2, "uint8"),
    "one pixel": np.ones((1, 1), "uint8"),
    "void": np.full((3, 2), 255, "uint8"),
    "chequered": (np.indices((7, 8)).sum(axis=0) % 2).astype("uint8"),
}
every_label = pytest.mark.parametrize("label", LABELS.values(), ids=LABELS)


@pytest.mark.parametrize("classes", [3, 200])
def test_a_palette_picture_loads_back_as_labels(tmp_path, classes):
    palette = [(index, 0, 255 - index) for index in range(classes)]
    (tmp_path / "a.png").write_bytes(formats.Masks((), palette).encode("", None, blobs()))
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.mode == "P"
        np.testing.assert_array_equal(np.asarray(picture), blobs())
        colors = np.asarray(picture.convert("RGB"))
    np.testing.assert_array_equal(colors[blobs() == 2][0], palette[2])
    np.testing.assert_array_equal(colors[blobs() == 255][0], [0, 0, 0])
    reader = MaskReader([str(index) for index in range(classes)])
    np.testing.assert_array_equal(reader.read(tmp_path / "a.png"), blobs())


def test_more_classes_than_a_palette_holds_become_16_bit_gray():
    label = np.array([[0, 299]], "uint16")
    file = io.BytesIO(formats.Masks((), [(0, 0, 0)] * 300).encode("", None, label))
    np.testing.assert_array_equal(np.asarray(Image.open(file)), label)


@pytest.mark.parametrize("size", [(3, 2), (60, 90), (3, 5000), (300, 400)])
def test_an_overlay_shows_the_image_and_a_legend_of_what_occurs(size):
    image, label = np.full((*size, 3), 100, "uint8"), np.zeros(size, "uint8")
    overlays = formats.Overlays(CLASSES, PALETTE)
    picture = overlays.picture(image, label)
    assert picture.shape[0] > size[0] // 2
    assert max(picture.shape[:2]) <= formats.LONGEST + 100
    assert (picture == [68, 68, 68]).all(axis=-1).any()  # 0.65 of 100, 0.35 of 9
    assert not (picture.reshape(-1, 3) == PALETTE[1]).all(axis=-1).any()
    assert overlays.picture(image, label + 255).max() == 65
    assert len({overlays.frame(image, label + index).shape for index in (0, 1, 255)}) == 1  # as frames of a video


@every_label
def test_areas_are_counts_and_shares(label):
    rows = tables.Areas(CLASSES, PALETTE).encode("a.png", None, label).decode().splitlines()
    for index, row in enumerate(csv.reader(rows)):
        assert row[:4] == ["a.png", str(index), CLASSES[index], str((label == index).sum())]
        assert float(row[4]) == pytest.approx((label == index).mean(), abs=1e-6)
    assert len(rows) == 3


def rows(encoder, label, name="a.png"):
    text = encoder.head() + encoder.append(encoder.encode(name, None, label))
    return list(csv.DictReader(text.decode().splitlines()))


def test_objects_are_counted_with_area_box_and_centroid():
    label = np.zeros((10, 12), "uint8")
    label[1:3, 2:6], label[5, 5], label[6, 6], label[8:] = 1, 1, 1, 255  # two pixels touch at a corner
    table = tables.ObjectTable(CLASSES, PALETTE, format.Details(background=(0,)))
    found = rows(table, label, "caf\udce9.png")
    assert [(row["image"], row["class"], row["id"]) for row in found] == [
        ("caf\\udce9.png", "b", str(n)) for n in (1, 2, 3)
    ]
    measures = [[float(row[name]) for name in tables.ObjectTable.MEASURES] for row in found]
    assert measures == [[8, 2, 1, 4, 2, 3.5, 1.5], [1, 5, 5, 1, 1, 5, 5], [1, 6, 6, 1, 1, 6, 6]]
    assert table.counts.tolist() == [0, 3, 0]
    assert [row["class"] for row in rows(tables.ObjectTable(CLASSES, PALETTE), label)] == ["a", "b", "b", "b"]


def test_tables_also_use_real_units_if_the_size_of_a_pixel_is_known():
    label = np.ones((4, 6), "uint8")
    details = format.Details(pixel_size=0.5, unit="um")
    (found,) = rows(tables.ObjectTable(CLASSES, PALETTE, details), label)
    real = [float(found[f"real_{name}"]) for name in tables.ObjectTable.MEASURES]
    assert real == [6, 0, 0, 3, 2, 1.25, 0.75] and found["unit"] == "um"
    areas = rows(tables.Areas(CLASSES, PALETTE, details), label)
    assert [(row["real_area"], row["unit"]) for row in areas] == [("0.0", "um"), ("6.0", "um"), ("0.0", "um")]


@pytest.mark.parametrize(
    ("classes", "binary", "expected"),
    [
        (["background", "cell"], True, (0,)),
        (["soil", "leaf"], True, (0,)),
        (["soil", "leaf"], False, ()),
        (["road", "_Background_", "sky"], False, (1,)),
    ],
)
def test_the_background_is_known_by_its_name_or_from_a_binary_model(classes, binary, expected):
    assert format.background(classes, binary=binary) == expected


@every_label
def test_the_background_is_left_out_of_polygons_and_coco(label):
    details = format.Details(background=(0,))
    whole, without = (json.loads(formats.Polygons(CLASSES, PALETTE, each).encode("", None, label))["features"]
                      for each in (format.Details(), details))  # fmt: skip
    outlines = [[feature["geometry"] for feature in found if feature["properties"]["id"]] for found in (whole, without)]
    assert outlines[0] == outlines[1] and len(without) == len(outlines[1])
    file = formats.Coco(CLASSES, PALETTE, details)
    found = json.loads(file.head() + file.append(file.encode("a.png", None, label)) + file.tail())
    assert [each["id"] for each in found["categories"]] == [1, 2]
    assert {each["category_id"] for each in found["annotations"]} == {*np.unique(label).tolist()} & {1, 2}


def inside(ring, height, width):
    """Even-odd rule at the centers of the pixels: counts the edges that a ray to the left crosses."""
    (x, y), (to_x, to_y) = np.transpose(ring[:-1]), np.transpose(ring[1:])
    assert ((x == to_x) ^ (y == to_y)).all()  # along the pixels, without edges of length 0
    rows, columns = np.arange(height)[:, None] + 0.5, np.arange(width)[None] + 0.5
    crossed = np.zeros((height, width), int)
    for at, one, other in zip(x, y, to_y, strict=True):  # the ray never crosses horizontal edges
        crossed += (min(one, other) < rows) & (rows < max(one, other)) & (at < columns)
    return crossed % 2 == 1


def area(ring):
    (x, y), (to_x, to_y) = np.transpose(ring[:-1]), np.transpose(ring[1:])
    return (x * to_y - to_x * y).sum() / 2


@every_label
def test_polygons_cover_exactly_the_pixels_of_the_label_map(label):
    found = polygons.geojson(label, CLASSES)
    painted, times = np.full(label.shape, 255), np.zeros(label.shape, int)
    for feature in found["features"]:
        outer, *holes = feature["geometry"]["coordinates"]
        region = inside(outer, *label.shape)
        for hole in holes:
            assert area(hole) < 0 and inside(hole, *label.shape)[region].any()
            region &= ~inside(hole, *label.shape)
        for ring in (outer, *holes):  # closed, and passing no corner twice, which would not be valid GeoJSON
            assert ring[0] == ring[-1] and len({tuple(point) for point in ring}) == len(ring) - 1
        assert area(outer) + sum(map(area, holes)) == region.sum() == feature["properties"]["pixels"]
        assert CLASSES[feature["properties"]["id"]] == feature["properties"]["class"]
        painted[region] = feature["properties"]["id"]
        times += region
    np.testing.assert_array_equal(painted, label)
    assert (times == (label != 255)).all()
    assert "upper left corner" in found["origin"]


@pytest.mark.parametrize("tolerance", [0.5, 2, 8])
def test_simplified_polygons_have_fewer_corners_and_stay_valid_and_near(tolerance):
    rows, columns = np.indices((60, 80))
    label = (np.hypot(rows - 30, columns - 40) < 25).astype("uint8")
    label[25:35, 35:45], label[30:, 38:40] = 0, 2  # a hole, cut by a thin line
    exact, simple = (list(polygons.geojson(label, CLASSES, simplify=each)["features"]) for each in (0, tolerance))
    corners = [
        sum(len(ring) for each in found for ring in each["geometry"]["coordinates"]) for found in (exact, simple)
    ]
    assert corners[1] < corners[0] / (1.2 if tolerance < 1 else 2)
    for feature, before in zip(simple, exact, strict=True):
        rings = feature["geometry"]["coordinates"]
        assert feature["properties"] == before["properties"] and len(rings) == len(before["geometry"]["coordinates"])
        for ring in rings:
            assert ring[0] == ring[-1] and len({tuple(point) for point in ring}) == len(ring) - 1 >= 3
        assert sum(map(area, rings)) == pytest.approx(feature["properties"]["pixels"], abs=tolerance * 200)
        assert not polygons._crossing([np.array(ring) for ring in rings])


def test_rings_that_cross_or_touch_are_recognized():
    square = np.array([[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]])
    assert not polygons._crossing([square]) and not polygons._crossing([4 * square, square + 2])
    for ring in ([[0, 0], [2, 2], [2, 0], [0, 2], [0, 0]], [[0, 0], [4, 0], [2, 0], [0, 3], [0, 0]]):
        assert polygons._crossing([np.array(ring)])
    assert polygons._crossing([square, square + 1]) and polygons._crossing([square, square + 4])


def test_without_opencv_polygons_name_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ImportError, match=r"polygons need OpenCV: pip install 'kseg\[train\]'"):
        polygons.geojson(blobs(), CLASSES)


@every_label
def test_run_lengths_decode_to_the_label_map(label):
    """COCO's rule: columns one after the other, runs of zeros and ones in turn, zeros first."""
    decoded = np.full(label.shape, 255)
    for found in coco.annotations(label, 3):
        height, width = found["segmentation"]["size"]
        counts = found["segmentation"]["counts"]
        assert sum(counts) == height * width and all(counts[1:])
        mask = np.repeat(np.arange(len(counts)) % 2, counts).reshape(width, height).T.astype(bool)
        decoded[mask] = found["category_id"]
        x, y, box_width, box_height = found["bbox"]
        rows, columns = np.nonzero(mask)
        assert (x, y) == (columns.min(), rows.min())
        assert (x + box_width - 1, y + box_height - 1) == (columns.max(), rows.max())
        assert found["area"] == mask.sum()
    np.testing.assert_array_equal(decoded, label)
