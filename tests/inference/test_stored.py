"""Images at addresses and in Parquet files, against the same pixels in memory."""

import io
import sys

import fsspec
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import rasterio
from PIL import Image

from kseg.data import Pixels, read_picture
from kseg.inference import StoredImage, list_stored, stored
from kseg.inference.sources import as_image

PICTURES = [np.random.default_rng(seed).integers(0, 256, (5, 7, 3)).astype("uint8") for seed in range(5)]


def png(picture):
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "PNG")
    return content.getvalue()


def check(images, pictures):
    for (name, source), picture in zip(images.items(), pictures, strict=True):
        file, _ = as_image(source, Pixels())
        assert name == (getattr(file, "name", None) or str(file))
        np.testing.assert_array_equal(read_picture(file), picture)


@pytest.fixture
def bucket():
    files = fsspec.filesystem("memory")
    for number, picture in enumerate(PICTURES):
        files.pipe(f"/photos/{number}.png", png(picture))
    files.pipe("/photos/notes.txt", b"x")
    files.pipe("/photos/.hidden.png", b"x")
    files.pipe("/photos/deeper/9.png", png(PICTURES[0]))
    yield "memory://photos"
    files.rm("/photos", recursive=True)


@pytest.mark.parametrize(
    ("ending", "chosen"), [("", range(5)), ("/", range(5)), ("/[13].*", (1, 3)), ("/4.png", (4,)), ("/**/9.png", (0,))]
)
def test_images_at_addresses_are_listed_in_order_and_read(bucket, ending, chosen):
    images, others = list_stored(bucket + ending)
    check(images, [PICTURES[number] for number in chosen])
    assert others == (["memory:///photos/notes.txt"] if ending in ("", "/") else [])


def test_a_stamp_changes_with_the_content(tmp_path):
    Image.fromarray(PICTURES[0]).save(tmp_path / "a.png")
    ((before,), _) = (list(each) for each in list_stored(f"file://{tmp_path}"))
    first = list_stored(f"file://{tmp_path}")[0][before].stamp
    Image.fromarray(PICTURES[1][:4]).save(tmp_path / "a.png")
    assert list_stored(f"file://{tmp_path}")[0][before].stamp != first != ""


def test_what_an_address_lacks_is_one_line(bucket, monkeypatch):
    with pytest.raises(FileNotFoundError, match="no images at memory://nowhere: name a file"):
        list_stored("memory://nowhere")
    with pytest.raises(FileNotFoundError, match=r"^no image at photo$"):
        StoredImage("photo", "memory://nowhere.png").open()
    with pytest.raises(ValueError, match=r"^nothing://a is no address that fsspec can open"):
        list_stored("nothing://a")
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(ImportError, match=r"memory://photos needs fsspec: pip install 'kseg\[scale\]'"):
        list_stored(bucket)


def tables():
    """Each kind of column of images, with the names that its rows get."""
    files, paths = [png(each) for each in PICTURES], [f"{number}.png" for number in range(5)]
    numbers = [f"{number:06d}" for number in range(5)]
    both = [{"bytes": content, "path": path} for content, path in zip(files, paths, strict=True)]
    return {
        "bytes": ({"image": files, "label": numbers}, numbers),
        "bytes and paths": ({"image": files, "path": paths}, paths),
        "records": ({"image": both}, paths),
        "records of one name": ({"image": [{**each, "path": "image.png"} for each in both]}, numbers),
    }


@pytest.mark.parametrize("kind", tables())
def test_rows_of_parquet_files_are_images(tmp_path, kind):
    columns, names = tables()[kind]
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet", row_group_size=2)
    images, _ = list_stored(str(tmp_path / "*.parquet"))
    assert list(images) == [f"{tmp_path}/a.parquet/{name}" for name in names]
    check(images, PICTURES)
    fsspec.filesystem("memory").pipe("/tables/a.parquet", (tmp_path / "a.parquet").read_bytes())
    check(list_stored("memory://tables")[0], PICTURES)


def test_a_column_of_paths_names_files_beside_the_parquet_file(tmp_path):
    for number, picture in enumerate(PICTURES[:2]):
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
    paths = ["0.png", str(tmp_path / "1.png"), f"file://{tmp_path}/0.png"]
    pyarrow.parquet.write_table(pyarrow.table({"path": paths}), tmp_path / "a.parquet")
    images, _ = list_stored(str(tmp_path / "a.parquet"))
    assert [type(each).__name__ for each in images.values()] == ["str", "str", "StoredImage"]
    check(images, [PICTURES[0], PICTURES[1], PICTURES[0]])


def test_what_a_parquet_file_lacks_is_one_line(tmp_path):
    pyarrow.parquet.write_table(pyarrow.table({"label": [1], "picture": [b"x"]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet has no column image or path, only label, picture: rename one$"):
        list_stored(str(tmp_path / "a.parquet"))
    (tmp_path / "b.parquet").write_text("no table")
    with pytest.raises(ValueError, match=r"b\.parquet cannot be read as a Parquet file"):
        list_stored(str(tmp_path / "b.parquet"))
    pyarrow.parquet.write_table(pyarrow.table({"image": pyarrow.array([None], "binary")}), tmp_path / "c.parquet")
    (image,) = list_stored(str(tmp_path / "c.parquet"))[0].values()
    with pytest.raises(OSError, match=r"000000: the row has no image$"):
        image.open()


def test_gdal_does_not_look_for_addresses(monkeypatch):
    from kseg.data import georeference

    monkeypatch.setattr(rasterio, "open", lambda *_, **__: pytest.fail("GDAL was asked"))
    assert georeference("s3://bucket/a.tif") is None
    assert stored.beside("s3://bucket/a/b.parquet", "c.png") == "s3://bucket/a/c.png"
