"""Annotations of labeling tools; pycocotools and arrays drawn by NumPy are the references."""

import base64
import io
import itertools
import json
import unicodedata

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from kseg.data import annotations
from kseg.data.labeling import regions

SIZE = (40, 60)
RNG = np.random.default_rng(0)
BLOBS = np.kron(RNG.random((8, 12)) < 0.4, np.ones((5, 5), bool))


def square(left, top, right, bottom):
    mask = np.zeros(SIZE, np.uint8)
    mask[top:bottom, left:right] = 1
    return mask


def ring(left, top, right, bottom):
    return [left, top, right, top, right, bottom, left, bottom]


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def coco(*objects, names=("leaf", "stem"), images=("a.jpg",)):
    """COCO's form of objects `(name, segmentation)` of the first image."""
    return {
        "images": [
            {"id": 10 + number, "file_name": name, "height": SIZE[0], "width": SIZE[1]}
            for number, name in enumerate(images)
        ],
        "categories": [{"id": 3 + 2 * number, "name": name} for number, name in enumerate(names)],
        "annotations": [
            {"id": number, "image_id": 10, "category_id": 3 + 2 * names.index(name), "segmentation": shape}
            for number, (name, shape) in enumerate(objects)
        ],
    }


def test_polygons_cover_the_pixels_that_they_cover_for_pycocotools():
    wrong, total = 0, 0
    for corners in range(3, 23):
        height, width = (int(side) for side in RNG.integers(30, 90, 2))
        angles, radii = np.sort(RNG.uniform(0, 2 * np.pi, corners)), RNG.uniform(0.2, 0.7, corners)  # partly outside
        flat = np.stack([width * (0.5 + radii * np.cos(angles)), height * (0.5 + radii * np.sin(angles))], 1).reshape(
            -1
        )
        ours = annotations.draw([(1, regions.polygon(flat))], (height, width))
        theirs = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects([flat.tolist()], height, width)))
        wrong, total = wrong + (ours != theirs).sum(), total + theirs.sum()
    assert wrong < 0.01 * total  # pixels whose center is within a tenth of a pixel of the outline


@pytest.mark.parametrize("points", [ring(7, 5, 30, 21), ring(-9, -9, 99, 12), ring(50, 30, 200, 300)])
def test_rectangles_on_pixel_edges_are_exact(points):
    left, top, right, bottom = (np.clip(points[index], 0, SIZE[1 - index % 2]) for index in (0, 1, 2, 5))
    assert (annotations.draw([(1, regions.polygon(points))], SIZE) == square(left, top, right, bottom)).all()


def test_large_polygons_are_drawn_in_strips(monkeypatch):
    points = ring(3, 2, 55, 39)
    whole = annotations.draw([(1, regions.polygon(points))], SIZE)
    monkeypatch.setattr(regions, "STRIP", 3 * 15**2 * 52)
    assert (annotations.draw([(1, regions.polygon(points))], SIZE) == whole).all()


@pytest.mark.parametrize("mask", [BLOBS, ~BLOBS, np.zeros(SIZE, bool), np.ones(SIZE, bool)])
def test_both_run_lengths_of_coco_are_those_of_pycocotools(mask, tmp_path):
    packed = coco_mask.encode(np.asfortranarray(mask.astype("uint8")))
    changes = [sum(1 for _ in run) for _, run in itertools.groupby(mask.T.reshape(-1))]
    plain = [0, *changes] if mask[0, 0] else changes
    for counts in (plain, packed["counts"].decode()):
        content = coco(("stem", {"size": list(SIZE), "counts": counts}))
        found = annotations.read(write(tmp_path / "instances.json", content))
        assert found.classes == ("background", "leaf", "stem")
        assert (found.label("a.jpg", SIZE) == 2 * mask).all()


def test_later_objects_cover_earlier_ones_and_parts_of_one_object_are_joined(tmp_path):
    content = coco(("leaf", [ring(0, 0, 20, 20), ring(10, 10, 30, 30)]), ("stem", [ring(15, 0, 25, 40)]))
    expected = np.maximum(square(0, 0, 20, 20), square(10, 10, 30, 30))
    expected[square(15, 0, 25, 40) > 0] = 2
    assert (annotations.read(write(tmp_path / "x.json", content)).label("a.jpg", SIZE) == expected).all()


def test_classes_choose_and_order_the_categories_and_nothing_is_left_out_silently(tmp_path):
    content = coco(
        ("leaf", [ring(0, 0, 9, 9)]), ("stem", [ring(20, 20, 29, 29)]), ("root", [ring(40, 0, 50, 9)]), ("leaf", []),
        names=("leaf", "stem", "root"),
    )  # fmt: skip
    path = write(tmp_path / "x.json", content)
    found = annotations.read(path, ["soil", "stem", "leaf"])
    assert (found.label("a.jpg", SIZE) == 2 * square(0, 0, 9, 9) + square(20, 20, 29, 29)).all()
    assert "not drawn, since no class has their names: root (1)" in found.notes
    assert "left out: boxes without an outline (1)" in found.notes
    whole = annotations.read(path, ["leaf", "stem"], ignore=["root"])  # leaf objects exist: the rest is unknown
    assert whole.fill == 255 and any("pixels without an object are ignored" in note for note in whole.notes)
    assert np.unique(annotations.read(path, ["soil", "leaf"], ignore=["stem"]).label("a.jpg", SIZE)).tolist() == [
        0, 1, 255,
    ]  # fmt: skip


def test_the_category_of_the_whole_data_set_in_files_of_roboflow_is_no_class(tmp_path):
    content = coco(("stem", [ring(0, 0, 9, 9)]))
    content["categories"] = [
        {"id": 0, "name": "plants", "supercategory": "none"},
        {"id": 5, "name": "stem", "supercategory": "plants"},
    ]
    assert annotations.read(write(tmp_path / "_annotations.coco.json", content)).classes == ("background", "stem")


@pytest.mark.parametrize(
    ("image", "listed"),
    [
        ("photos/train/a.png", ["val/a.png", "train/a.png"]),
        ("photos/a.tif", ["b.jpg", "images\\a.jpg"]),
        ("photos/a.jpg", ["b.jpg", "https://x.org/images/a.jpg?raw=1"]),
        (f"{unicodedata.normalize('NFD', 'é')}.jpg", ["x.jpg", f"{unicodedata.normalize('NFC', 'é')}.jpg"]),
        ("frame.0001.png", ["frame.0002.png", "frame.0001.png"]),
    ],
)
def test_images_are_found_by_name_and_folder(image, listed, tmp_path):
    found = annotations.read(write(tmp_path / "x.json", coco(images=listed)))
    assert found.find(image).names == (listed[1],)
    assert found.find("another.png") is None
    assert len(found) == 2 and found.names() == listed


def labelme(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(BLOBS[5:20, 10:30]).save(buffer, "PNG")
    shapes = [
        {"label": "leaf", "points": [[3, 2], [12, 2], [12, 9], [3, 9]], "shape_type": "polygon"},
        {"label": "stem", "points": [[20, 18], [10, 12]], "shape_type": "rectangle"},
        {
            "label": "leaf",
            "points": [[30, 20], [49, 34]],
            "shape_type": "mask",
            "mask": base64.b64encode(buffer.getvalue()).decode(),
        },
        {"label": "__ignore__", "points": [[50, 0], [60, 0], [60, 5], [50, 5]], "shape_type": "polygon"},
        {"label": "stem", "points": [[1, 1], [9, 9]], "shape_type": "line"},
    ]
    content = {"imagePath": "..\\images\\a.jpg", "imageHeight": SIZE[0], "imageWidth": SIZE[1], "shapes": shapes}
    write(tmp_path / "labels" / "a.json", content)
    expected = square(3, 2, 12, 9) + 2 * square(10, 12, 20, 18)
    expected[20:35, 30:50][BLOBS[5:20, 10:30]] = 1
    expected[:5, 50:] = 255
    return tmp_path / "labels", expected, "left out: objects of type line, which have no area (1)"


def yolo(tmp_path):
    write(tmp_path / "data.yaml", "names: [leaf, stem]\ntrain: images")
    lines = "0 0.05 0.05 0.2 0.05 0.2 0.225 0.05 0.225\n\n1 0.5 0.5 1 0.5 1 1 0.5 1\n1 0.5 0.5 0.1 0.1\n"
    write(tmp_path / "labels" / "a.txt", lines)
    return tmp_path / "labels", square(3, 2, 12, 9) + 2 * square(30, 20, 60, 40), "boxes without an outline (1)"


def cvat_xml(tmp_path):
    part = BLOBS[5:20, 10:30]
    runs = [sum(1 for _ in run) for _, run in itertools.groupby(part.reshape(-1))]
    runs = ", ".join(map(str, [0, *runs] if part[0, 0] else runs))
    text = f"""<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version>
      <meta><task><labels><label><name>leaf</name></label><label><name>stem</name></label></labels></task></meta>
      <image id="0" name="sub/a.jpg" width="60" height="40">
        <polygon label="leaf" z_order="1" points="0.0,0.0;10.0,0.0;10.0,10.0;0.0,10.0"/>
        <box label="stem" z_order="0" xtl="5" ytl="5" xbr="20" ybr="20" rotation="90.0"/>
        <mask label="stem" rle="{runs}" left="30" top="20" width="20" height="15" z_order="0"/>
        <polyline label="leaf" points="0,0;9,9" z_order="0"/><tag label="leaf"/>
      </image></annotations>"""
    expected = 2 * square(5, 5, 20, 20)
    expected[20:35, 30:50][part] = 2
    expected[:10, :10] = 1
    return write(tmp_path / "annotations.xml", text), expected, "objects of type polyline, which have no area (1)"


def cvat_datumaro(tmp_path):
    packed = coco_mask.encode(np.asfortranarray(BLOBS.astype("uint8")))
    entries = [
        {"id": 0, "type": "polygon", "label_id": 0, "points": ring(0, 0, 10, 10), "z_order": 2},
        {"id": 1, "type": "mask", "label_id": 1, "rle": {"counts": packed["counts"].decode(), "size": list(SIZE)}},
        {"id": 2, "type": "bbox", "label_id": 0, "bbox": [50, 30, 5, 5], "z_order": 1},
        {"id": 3, "type": "points", "label_id": 0, "points": [1, 1]},
    ]
    content = {
        "categories": {"label": {"labels": [{"name": "leaf"}, {"name": "stem"}]}},
        "items": [{"id": "a", "annotations": entries, "image": {"path": "a.jpg", "size": list(SIZE)}}],
    }
    expected = (2 * BLOBS).astype("uint8")
    expected[(square(0, 0, 10, 10) | square(50, 30, 55, 35)) > 0] = 1
    return write(tmp_path / "default.json", content), expected, "objects of type points, which have no area (1)"


def cvat_backup(tmp_path):
    frames = [{"version": "1.1"}, {"name": "b", "extension": ".jpg", "width": 9, "height": 9}]
    frames.append({"name": "a", "extension": ".jpg", "width": SIZE[1], "height": SIZE[0]})
    write(tmp_path / "data" / "manifest.jsonl", "\n".join(map(json.dumps, frames)))
    shapes = [
        {"type": "polygon", "label": "leaf", "frame": 1, "points": ring(3, 2, 12, 9), "z_order": 0},
        {"type": "mask", "label": "stem", "frame": 1, "points": [0, 2, 1, 3, 30, 20, 32, 21], "z_order": 0},
        {"type": "points", "label": "stem", "frame": 0, "points": [3, 3], "z_order": 0},
    ]
    expected = square(3, 2, 12, 9)
    expected[20:22, 30:33] = [[2, 2, 0], [2, 2, 2]]
    return write(tmp_path / "annotations.json", [{"version": 0, "shapes": shapes}]), expected, "type points"


def brush(mask):
    """Packs a mask as the brush of Label Studio does: single values and runs of up to 8, 16, 256 or 65,536 bytes."""
    values = np.repeat(mask.reshape(-1, 1), 4, axis=1).astype("uint8").reshape(-1) * 255
    bits = f"{values.size:032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in (3, 4, 8, 16))
    for value, run in itertools.groupby(values.tolist()):
        count = sum(1 for _ in run)
        size = next(index for index, width in enumerate((3, 4, 8, 16)) if count <= 2**width)
        bits += f"{int(count > 1)}{size:02b}{count - 1:0{(3, 4, 8, 16)[size]}b}{value:08b}"
    return [int(bits[start : start + 8].ljust(8, "0"), 2) for start in range(0, len(bits), 8)]


def studio(kind, label, value, number="r1"):
    return {
        "id": number, "type": kind, "original_width": SIZE[1], "original_height": SIZE[0],
        "value": value | ({kind: [label]} if label else {}),
    }  # fmt: skip


def label_studio(tmp_path):
    box = {"x": 50, "y": 50, "width": 25, "height": 25, "rotation": 0}
    results = [
        studio("polygonlabels", "leaf", {"points": [[5, 5], [20, 5], [20, 22.5], [5, 22.5]], "closed": True}),
        studio("rectanglelabels", "stem", box),
        studio("brushlabels", "leaf", {"format": "rle", "rle": brush(square(0, 30, 7, 40))}),
        studio("polygon", None, {"points": [[90, 0], [100, 0], [100, 10], [90, 10]]}, "r2"),
        studio("labels", "stem", {}, "r2"),
        studio("keypointlabels", None, {"x": 1, "y": 1, "labels": ["leaf"]}),
    ]
    old = {"result": [studio("rectanglelabels", "leaf", box | {"x": 0})]}
    task = {"data": {"image": "/data/upload/1/0123abcd-a.jpg"}, "annotations": [old, {"result": results}]}
    expected = square(3, 2, 12, 9) + 2 * square(30, 20, 45, 30) + square(0, 30, 7, 40) + 2 * square(54, 0, 60, 4)
    return write(tmp_path / "project-1.json", [task]), expected, "older annotations of the same image (1)"


def label_studio_minimal(tmp_path):
    entry = {
        "points": [[5, 5], [20, 5], [20, 22.5], [5, 22.5]], "polygonlabels": ["leaf"],
        "original_width": SIZE[1], "original_height": SIZE[0],
    }  # fmt: skip
    content = [{"id": 1, "image": "/data/local-files/?d=photos/a.jpg", "label": [entry]}]
    return write(tmp_path / "min.json", content), square(3, 2, 12, 9), None


@pytest.mark.parametrize(
    "made", [labelme, yolo, cvat_xml, cvat_datumaro, cvat_backup, label_studio, label_studio_minimal]
)
def test_every_format_gives_the_pixels_that_were_labeled(made, tmp_path):
    path, expected, note = made(tmp_path)
    found = annotations.read(path, ["background", "leaf", "stem"])
    assert (found.label("images/a.jpg", SIZE) == expected).all()
    assert note is None or any(note in line for line in found.notes), found.notes
    assert annotations.read(path).classes[0] == "background"


@pytest.mark.parametrize(
    ("task", "note"),
    [
        ({"annotations": []}, "images that nobody labeled (1)"),
        ({"annotations": [], "predictions": [{"result": []}]}, "images that nobody labeled (1)"),
        ({"annotations": [{"was_cancelled": True, "result": []}]}, "images whose task was skipped (1)"),
        ({"completions": []}, "images that nobody labeled (1)"),
        ({"annotations": [{"result": []}]}, None),
        ({"image": "b.jpg"}, "images that nobody labeled (1)"),
        ({"image": "b.jpg", "annotation_id": 7}, None),
    ],
)
def test_images_that_nobody_labeled_in_label_studio_are_no_background(task, note, tmp_path):
    task = task if "image" in task else {"data": {"image": "b.jpg"}} | task
    done = json.loads(label_studio(tmp_path)[0].read_text())
    found = annotations.read(write(tmp_path / "project.json", [*done, task]))
    assert (found.find("b.jpg") is None) is (note is not None)
    assert note is None or any(line.endswith(note) for line in found.notes), found.notes
    if note is None:
        assert not found.label("b.jpg", SIZE).any()


def test_rotated_boxes_and_ellipses_have_their_area():
    turned = annotations.draw([(1, regions.box(20, 10, 20, 10, degrees=30))], SIZE)
    assert turned.sum() == pytest.approx(200, rel=0.03) and turned[15, 30]
    about_corner = annotations.draw([(1, regions.box(20, 10, 20, 10, degrees=90, corner=True))], SIZE)
    assert (about_corner == square(10, 10, 20, 30)).all()
    assert annotations.draw([(1, regions.ellipse(30, 20, 15, 8))], SIZE).sum() == pytest.approx(np.pi * 120, rel=0.02)


@pytest.mark.parametrize(
    ("content", "classes", "message"),
    [
        (coco(), ["soil", "laef"], "no class 'laef': did you mean 'leaf'"),
        (coco(), ["soil", "bark"], "no class 'bark': it has leaf, stem"),
        ({"a": 1}, None, "not a known annotation file; there are COCO"),
        ([], None, "not a known annotation file"),
        ("{", None, "not a whole JSON"),
        (
            {"images": [{}], "annotations": [], "categories": []},
            None,
            "an entry has no key 'file_name', or a wrong value for it",
        ),
        (coco() | {"annotations": [{"segments_info": []}]}, None, "panoptic"),
        (coco(("leaf", {"size": [9, 9], "counts": [81]})), None, "run lengths of 9x9 pixels for an image of 40x60"),
        (coco(("leaf", {"size": list(SIZE), "counts": "\x7f"})), None, "none of COCO's"),
        (coco(("leaf", [[1, 2, 3]])), None, "annotation 0: a polygon is a list x, y"),
    ],
)
def test_errors_name_the_file_and_the_cause(content, classes, message, tmp_path):
    path = write(tmp_path / "instances.json", content)
    with pytest.raises(ValueError, match=message) as caught:
        annotations.read(path, classes)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_errors_about_one_image(tmp_path):
    path = write(
        tmp_path / "x.json",
        coco(("leaf", {"size": list(SIZE), "counts": [9999]}), images=("a.jpg", "c/b.jpg", "d/b.jpg")),
    )
    found = annotations.read(path)
    for image, size, message in (
        ("a.jpg", (60, 40), r"was 40x60 when .*\(rotated"),
        ("a.jpg", SIZE, "x.json: a.jpg: run lengths cover 9999 pixels of 40x60"),
        ("z.jpg", SIZE, "no annotations of this image"),
        ("b.jpg", SIZE, "'c/b.jpg' and 'd/b.jpg' are both the image b.jpg"),
    ):
        with pytest.raises(ValueError, match=message):
            found.label(image, size)
    with pytest.raises(FileNotFoundError, match="no annotations at"):
        annotations.read(tmp_path / "no.json")
    with pytest.raises(FileNotFoundError, match="no annotation files in"):
        annotations.read(write(tmp_path / "empty" / "note.md", "").parent)
    write(tmp_path / "boxes" / "a.xml", "<annotation><object/></annotation>")
    with pytest.raises(ValueError, match="boxes only"):
        annotations.read(tmp_path / "boxes")
    write(tmp_path / "many" / "train.json", coco())
    write(tmp_path / "many" / "val.json", coco())
    with pytest.raises(ValueError, match=r"holds 2 annotation files \(train.json, val.json\): name one"):
        annotations.read(tmp_path / "many")
    write(tmp_path / "yolo" / "a.txt", "0 0.1 0.2 x")
    with pytest.raises(ValueError, match=r"a.txt, line 1: YOLO's lines are numbers"):
        annotations.read(tmp_path / "yolo")


def test_the_digest_of_an_image_changes_with_its_objects(tmp_path):
    content = coco(("leaf", [ring(0, 0, 9, 9)]), images=("a.jpg", "b.jpg"))
    digests = []
    for name, shape in (("leaf", [ring(0, 0, 9, 9)]), ("leaf", [ring(0, 0, 9, 8)]), ("stem", [ring(0, 0, 9, 9)])):
        content["annotations"] = coco((name, shape))["annotations"]
        found = annotations.read(write(tmp_path / "x.json", content))
        digests.append(found.digest("a.jpg"))
        assert found.digest("b.jpg") == 0
    assert len({*digests}) == 3
