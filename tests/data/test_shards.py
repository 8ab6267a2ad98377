"""Containers that others wrote, containers at an address, and millions of entries."""

import array
import io
import json
import os
import pickle
import tarfile
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import fsspec
import numpy as np
import pytest
from PIL import Image

from kseg import data
from kseg.data.shards import cache, packed, parquet, tar
from kseg.data.shards.index import Index, Shard
from kseg.data.shards.places import Place
from kseg.training import Recipe, batches, dataset, pack
from tests.data.folders import write

CLASSES = ["a", "b", "c"]
COUNT = 7


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("KSEG_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def pairs():
    rng = np.random.default_rng(0)
    for index in range(COUNT):
        height, width = 20 + index % 2, 24
        yield rng.integers(0, 256, (height, width, 3), np.uint8), rng.integers(0, 3, (height, width), np.uint8)


@pytest.fixture
def folder(tmp_path):
    """The pairs as a folder of PNG files; `train` has all of them."""
    for index, (image, mask) in enumerate(pairs()):
        write(tmp_path / "folder" / "images" / f"{index:06}.png", image)
        write(tmp_path / "folder" / "masks" / f"{index:06}.png", mask)
    (tmp_path / "folder" / "train.txt").write_text("\n".join(f"{index:06}" for index in range(COUNT)))
    return {"folder": str(tmp_path / "folder"), "classes": CLASSES}


def recipe_of(section):
    section = {"batch_size": 3, "crop": [16, 16], "augment": "flip", **section}
    return Recipe.from_dict({"epochs": 1, "data": section, "model": {"builder": "unet"}})


def equal_batches(section, other):
    one, two = (list(zip(range(4), _batches(each), strict=False)) for each in (section, other))
    return all(
        (first == second).all()
        for (_, pair), (_, copy) in zip(one, two, strict=True)
        for first, second in zip(pair, copy, strict=True)
    )


def _batches(section):
    recipe = recipe_of(section)
    return batches(recipe, dataset(recipe, "train", None), 0)


def by_datasets(root, files=2):
    """Written by the package `datasets`, two rows in a row group."""
    import datasets

    datasets.disable_progress_bars()
    images, masks = zip(*((Image.fromarray(image), Image.fromarray(mask)) for image, mask in pairs()), strict=True)
    kinds = datasets.Features(
        {"image": datasets.Image(), "annotation": datasets.Image(), "id": datasets.Value("int64")}
    )
    table = {"image": images, "annotation": masks, "id": range(COUNT)}
    whole = datasets.Dataset.from_dict(table, features=kinds)
    (root / "data").mkdir(parents=True)
    for number in range(files):
        part = whole.shard(files, number, contiguous=True)
        part.to_parquet(str(root / "data" / f"train-{number:05}-of-{files:05}.parquet"), batch_size=2)


def by_webdataset(root, files=2, mask="seg.png"):
    """Written by the package `webdataset`, with metadata between the pairs."""
    import webdataset

    root.mkdir()
    for number, part in enumerate(np.array_split(range(COUNT), files)):
        with webdataset.TarWriter(str(root / f"cells-train-{number:06}.tar")) as writer:
            for index, (image, label) in enumerate(pairs()):
                if index in part:
                    members = {"image.png": Image.fromarray(image), mask: Image.fromarray(label)}
                    writer.write({"__key__": f"x/{index:06}", **members, "json": {"index": index}})


@pytest.mark.parametrize("writer", [by_datasets, by_webdataset])
@pytest.mark.parametrize("address", ["disk", "memory"])
def test_batches_of_files_of_others_are_those_of_the_folder(writer, address, folder, tmp_path):
    writer(tmp_path / "others")
    place = str(tmp_path / "others")
    if address == "memory":
        place = upload(tmp_path / "others", f"memory://{writer.__name__}")
    section = {"shards": place, "classes": CLASSES}
    assert equal_batches(folder, section)
    opened = data.ShardDataset(place, "train", classes=CLASSES)
    assert sorted(opened.identifier(index) for index in range(COUNT)) == [opened.identifier(i) for i in range(COUNT)]
    assert [count for _, count, _ in opened.contents()] == [4, 3]
    assert (opened.size(1), opened.has_one_size(), opened.class_counts()) == ((21, 24), False, None)
    assert (pickle.loads(pickle.dumps(opened))[6][0] == opened[6][0]).all()
    with pytest.raises(FileNotFoundError, match="has no test split"):
        data.ShardDataset(place, "test", classes=CLASSES)
    with pytest.raises(ValueError, match=r"does not state its classes: .* classes = \[.* in \[data\]"):
        data.ShardDataset(place, "train", interface="recipe")
    if address == "disk":
        pack(recipe_of(section), tmp_path / "packed", progress=False)
        assert equal_batches(folder, {"shards": str(tmp_path / "packed")})
        os.utime(next(path for path in (tmp_path / "others").rglob("*train*") if path.is_file()), (1, 1))
        with pytest.raises(ValueError, match="or files were written again since: name another folder"):
            pack(recipe_of(section), tmp_path / "packed", progress=False)


def upload(folder, address):
    system, root = fsspec.core.url_to_fs(address)
    system.put(str(folder), root, recursive=True)
    return address


def test_a_pattern_chooses_files_and_keys_choose_columns(folder, tmp_path):
    by_datasets(tmp_path / "hub")
    by_webdataset(tmp_path / "tars", mask="ids.png")
    parquet_files = {"shards": str(tmp_path / "hub/data/{split}-*.parquet"), "images": "image", "masks": "annotation"}
    assert equal_batches(folder, {"classes": CLASSES, **parquet_files})
    tars = {"classes": CLASSES, "shards": str(tmp_path / "tars" / "cells-{split}-*.tar"), "images": "image.png"}
    with pytest.raises(ValueError, match=r"'x/000000' has no mask among .*\.ids\.png.* masks = .* in \[data"):
        dataset(recipe_of(tars), "train", None)
    assert equal_batches(folder, {**tars, "masks": "ids.png"})
    with pytest.raises(ValueError, match="same files for every split"):
        list(_batches({"classes": CLASSES, "shards": str(tmp_path / "tars" / "*.tar")}))
    (tmp_path / "hub" / "data" / "train.tar").touch()
    with pytest.raises(ValueError, match="has Parquet and tar files: choose by a pattern"):
        data.ShardDataset(tmp_path / "hub", "train", classes=CLASSES)


def tar_of(path, names, end=None):
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as file:
        for name in names:
            content, image = io.BytesIO(), Image.new("RGB" if "jp" in name else "L", (6, 4))
            image.save(content, "jpeg" if "jp" in name else "png")
            member = tarfile.TarInfo(name)
            member.size = len(content.getvalue())
            file.addfile(member, io.BytesIO(content.getvalue()))
    path.write_bytes(path.read_bytes()[:end])
    return path.parent


@pytest.mark.parametrize(
    ("names", "end", "message"),
    [
        (["1.jpg", "2.jpg"], None, r"train.tar: '1' has no mask among .jpg: name what follows its key, masks="),
        (["1.mask.png"], None, r"train.tar: '1' has no image among .mask.png: .*images="),
        (["1.png", "1.gif"], None, r"train.tar: '1' has several images among .png, .gif"),
        (["1.txt"], None, "train.tar contains no pairs of an image and a mask"),
        (["1.jpg", "1.png", "2.jpg", "2.png"], 2600, "train.tar is truncated, compressed or no tar file"),
        (["1.jpg", "1.png"], 100, "train.tar is truncated, compressed or no tar file"),
    ],
)
def test_a_tar_file_that_cannot_be_read_is_named(tmp_path, names, end, message):
    root = tar_of(tmp_path / "tars" / "train.tar", names, end)
    with pytest.raises(ValueError, match=message) as caught:
        data.ShardDataset(root, "train", classes=CLASSES)
    assert "\n" not in str(caught.value)


def test_a_table_of_a_tar_file_is_made_once_and_again_when_the_file_changes(tmp_path, home, monkeypatch):
    root = tar_of(tmp_path / "tars" / "train.tar", ["1.jpg", "1.png"])
    assert len(data.ShardDataset(root, "train", classes=CLASSES)) == 1
    with monkeypatch.context() as patched:
        patched.setattr(tar, "_table", None)
        assert len(data.ShardDataset(root, "train", classes=CLASSES)) == 1
    tar_of(root / "train.tar", ["1.jpg", "1.png", "2.jpeg", "2.gt.png"])
    assert data.ShardDataset(root, "train", classes=CLASSES).identifier(1) == "2"
    assert len(list((home / "tables").iterdir())) == 2


def test_a_parquet_file_that_cannot_be_read_is_named(tmp_path):
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "train.parquet"

    def fault(columns, **options):
        pyarrow.parquet.write_table(pyarrow.table(columns), path)
        with pytest.raises(ValueError) as caught:
            data.ShardDataset(tmp_path, "train", classes=CLASSES, **options)[0]
        assert "\n" not in str(caught.value)
        return str(caught.value)

    image, empty = {"bytes": b"image", "path": "1.png"}, {"bytes": None, "path": "1.png"}
    assert "has no column of images, it has x: name the column, images=" in fault({"x": [1]})
    assert "has no column of masks 'y', it has image: name the column, masks=" in fault({"image": [image]}, masks="y")
    assert "'mask' must hold image files, bytes or {bytes, path}, it is int64" in fault({"image": [image], "mask": [1]})
    assert "image of image 0 is the file 1.png, not its bytes" in fault({"image": [empty, image], "mask": [image] * 2})
    assert f"{path}/1.png: not an image that can be read" in fault({"image": [image], "mask": [b"mask"]})
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"train.parquet is truncated or no Parquet file: copy it again"):
        data.ShardDataset(tmp_path, "train", classes=CLASSES)


def test_row_groups_are_kept_up_to_a_limit(tmp_path, monkeypatch):
    by_datasets(tmp_path / "hub", files=1)
    opened = data.ShardDataset(tmp_path / "hub", "train", classes=CLASSES).records
    assert len(opened.groups) == 4
    size = opened._group(0).nbytes
    monkeypatch.setattr(parquet, "GROUPS_LIMIT", int(2.5 * size))
    for index in (0, 2, 4, 6, 1, 3):
        opened.record(index)
        assert sum(table.nbytes for table in opened._groups.values()) <= 2.5 * size
    assert list(opened._groups)[-2:] == [0, 1] and 2 not in opened._groups


@pytest.fixture
def bucket(folder, tmp_path, request):
    """Packed shards at an address: three of two pairs and one of one."""
    pack(recipe_of(folder), tmp_path / "packed", shard_size=0.004, progress=False)
    address = upload(tmp_path / "packed", f"memory://{request.node.name}")
    index = json.loads((tmp_path / "packed" / "train" / "index.json").read_text())
    return address, [shard["bytes"] for shard in index["shards"]]


def test_shards_at_an_address_are_downloaded_once(folder, bucket, home, monkeypatch):
    address, sizes = bucket
    assert equal_batches(folder, {"shards": address})
    kept = {path.name: path.stat().st_ino for path in (home / "shards").iterdir()}
    assert len(kept) == len(sizes) > 2
    with monkeypatch.context() as patched:
        patched.setattr(Place, "download", None)
        opened = data.ShardDataset(address, "train")
        assert len([opened[index] for index in range(COUNT)]) == COUNT
    assert kept == {path.name: path.stat().st_ino for path in (home / "shards").iterdir()}


def test_the_cache_of_shards_has_a_limit(bucket, home):
    address, sizes = bucket
    told = f"has {sum(sizes):,} bytes, and the cache may hold {sum(sizes) - 1:,}: raise it with cache_limit = "
    with pytest.raises(ValueError, match=rf"{told}\d+ in \[data.options\]"):
        data.ShardDataset(address, "train", cache_limit=sum(sizes) - 1)
    opened = data.ShardDataset(address, "train", cache_limit=sum(sizes))
    (home / "shards").mkdir(parents=True)
    (home / "shards" / f"older{cache.SUFFIX}").write_bytes(bytes(sizes[0]))
    (home / "shards" / "notes.txt").write_text("mine")
    for index in range(COUNT):
        opened[index]
        total = sum(path.stat().st_size for path in (home / "shards").glob(f"*{cache.SUFFIX}"))
        assert total <= sum(sizes)
    assert not (home / "shards" / f"older{cache.SUFFIX}").exists()
    assert (home / "shards" / "notes.txt").exists()


def test_threads_share_a_cache_that_holds_two_shards(bucket, home, monkeypatch):
    address, sizes = bucket
    opened = [data.ShardDataset(address, "train") for _ in range(4)]
    download, largest = Place.download, []

    def counted(place, target):
        largest.append(sum(path.stat().st_size for path in target.parent.glob(f"*{cache.SUFFIX}")) + place.stamp()[0])
        time.sleep(0.02)  # others would begin
        download(place, target)

    monkeypatch.setattr(Place, "download", counted)
    limit = 2 * max(sizes)
    for each in opened:
        each.records.cache_limit = limit
    with ThreadPoolExecutor(4) as pool:
        done = pool.map(lambda number: [opened[number].records.name(2 * (number + i) % 8) for i in range(2)], range(4))
        assert list(done) == [["000000", "000002"], ["000002", "000004"], ["000004", "000006"], ["000006", "000000"]]
    assert len(largest) >= 4 and max(largest) <= limit
    assert sum(path.stat().st_size for path in (home / "shards").glob(f"*{cache.SUFFIX}")) <= limit


def test_a_shard_that_is_removed_before_it_is_opened_is_downloaded_again(bucket, monkeypatch):
    opened, local, calls = data.ShardDataset(bucket[0], "train"), cache.local, []

    def removed(*arguments):
        path = local(*arguments)
        calls.append(path)
        if len(calls) != 2:
            path.unlink()
        return path

    monkeypatch.setattr(cache, "local", removed)
    assert opened[0][0].shape == (20, 24, 3) and len(calls) == 2
    calls[1:] = [None, None]
    with pytest.raises(ValueError, match=r"00001.array_record was removed twice before .* raise cache_limit"):
        opened[2]


def test_files_that_cannot_be_removed_stay(home, monkeypatch):
    (home / "shards").mkdir(parents=True)
    kept = [home / "shards" / f"{name}{cache.SUFFIX}" for name in "ab"]
    for path in kept:
        path.write_bytes(bytes(4))
    (home / "shards" / f"c{cache.SUFFIX}").symlink_to("nowhere")  # as if it had gone in between

    def unlink(path, missing_ok):
        if path == kept[0]:
            raise PermissionError(path)
        os.unlink(path)

    monkeypatch.setattr(cache.Path, "unlink", unlink)
    cache._make_room(4)
    assert [path.is_file() for path in kept] == [True, False]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"file": "../../00000.array_record"}, r"file of a shard is '../../00000"),
        ({"file": None}, "expected string"),
        ({"sha256": "../" + "0" * 61}, r"sha256 of a shard is '../000"),
        ({"sha256": "0" * 64 + "\n"}, "sha256 of a shard is"),
        ({"records": 0}, "records of a shard must be positive integers, not 0"),
        ({"bytes": -1}, "bytes of a shard must be positive integers, not -1"),
        ({"records": "9"}, "not '9'"),
        ({"sizes": [[4, 4, True]]}, "sizes of a shard must be positive integers, not True"),
    ],
)
def test_an_index_that_names_other_files_is_refused(change, message, tmp_path):
    entry = {"file": "00000.array_record", "records": 1, "bytes": 9, "sha256": "0" * 64, "sizes": [[4, 4, 1]]}
    for fields in (entry, {**entry, **change}):
        shards = (Shard(**fields),)
        (tmp_path / "index.json").write_text(Index("x", ("a",), ((0, 0, 0),), shards).to_json())
        if fields is entry:
            assert Index.read(Place(str(tmp_path))).shards == shards
    with pytest.raises(ValueError, match=rf"index.json is not an index that kseg wrote \(.*{message}") as caught:
        Index.read(Place(str(tmp_path)))
    assert "\n" not in str(caught.value)


def test_a_damaged_upload_is_named_and_not_kept(bucket, home):
    address, sizes = bucket
    system, path = fsspec.core.url_to_fs(f"{address}/train/00000.array_record")
    content = system.cat_file(path)
    system.pipe_file(path, content[:-1])
    with pytest.raises(ValueError, match=f"00000.array_record has {sizes[0] - 1:,} bytes, {sizes[0]:,} are expected"):
        data.ShardDataset(address, "train")[0]
    system.pipe_file(path, content[:-1] + b"x")
    with pytest.raises(ValueError, match=r"has another SHA-256 than its index says: upload it again"):
        data.ShardDataset(address, "train")[0]
    assert not list((home / "shards").glob("*.array_record*"))


def test_a_missing_package_is_named(monkeypatch, tmp_path):
    for name, place in (
        ("fsspec", "gs://bucket/x"),
        ("pyarrow", str(write(tmp_path / "train.png", Image.new("L", (1, 1))))),
    ):
        (tmp_path / "train.parquet").touch()
        with monkeypatch.context() as patched:
            patched.setitem(__import__("sys").modules, name, None)
            patched.setitem(__import__("sys").modules, f"{name}.parquet", None)
            with pytest.raises(ModuleNotFoundError, match=r"not installed: pip install 'kseg\[scale\]'"):
                data.ShardDataset(place.replace("train.png", ""), "train", classes=CLASSES)
    with pytest.raises(ValueError, match="fsspec cannot read it"):
        data.ShardDataset("nowhere://bucket/x", "train")


class Reader:
    """Records of a made-up shard: nothing lies on the disk."""

    def __init__(self, records):
        self.records = records

    def num_records(self):
        return self.records

    def read(self, places):
        return [record_bytes(places[0] % 5)]


def record_bytes(value, made={}):  # noqa: B006
    if value not in made:
        from kseg.data.decoding.decoded import Content
        from kseg.data.shards.lossless import saved
        from kseg.data.shards.records import Record, encode

        image = saved("images/x", np.full((4, 4, 3), value, np.uint8))
        mask = saved("masks/x", np.full((4, 4, 1), value % 3, np.uint8))
        made[value] = encode(Record("x", image, Content(mask.name, mask.getvalue()), (4, 4)))
    return made[value]


def test_memory_does_not_depend_on_the_number_of_images(tmp_path, monkeypatch):
    """A million images: opening them, a batch from anywhere, the check of their sizes and the weights of classes."""
    shards, each = 400, 2500
    monkeypatch.setattr(packed.Packed, "_opened", lambda self, number: Reader(self.index.shards[number].records))
    entries = tuple(Shard(f"{n:05}.array_record", each, 10**8, f"{n:064}", [[4, 4, each]]) for n in range(shards))
    counts = {"pixels": [8, 4, 4], "around": [16, 16, 16], "total": 16 * shards * each}
    index = Index("many", tuple(CLASSES), ((0, 0, 0),) * 3, entries, counts, arrays=True, drawn=True)
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "index.json").write_text(index.to_json())
    recipe = recipe_of({"shards": str(tmp_path), "crop": None, "options": {"memory_limit": 10**5}})
    next(iter(batches(recipe, dataset(recipe, "train", None), 0)))  # imports
    tracemalloc.start()
    try:
        opened = dataset(recipe, "train", None)
        stream = iter(batches(recipe, opened, 200_000))
        for _ in range(100):
            next(stream)
        assert len(opened) == 10**6 and opened.has_one_size()
        assert data.shards.ShardDataset.class_counts(opened).total == 16 * 10**6
        assert len(opened.contents()) == shards
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8e6  # eight bytes an image
    assert opened._kept_bytes <= 10**5
    assert len(opened.records.readers) == packed.OPEN


def test_a_tar_file_of_a_million_pairs_is_a_table_on_the_disk(tmp_path, monkeypatch):
    count = 10**6
    names = [f"{index:07}\0jpg\0seg.png".encode() for index in range(count)]
    table = np.arange(count)[:, None] * [100, 0, 100, 0, len(names[0])] + [512, 90, 602, 10, len(names[0])]
    made = array.array("q", table.astype(np.int64).tobytes()), bytearray(b"".join(names))
    monkeypatch.setattr(tar, "_table", lambda *_: made)
    root = tar_of(tmp_path / "tars" / "train.tar", ["1.jpg", "1.png"])
    tracemalloc.start()
    try:
        opened = data.ShardDataset(root, "train", classes=CLASSES)
        assert (len(opened), opened.identifier(0), opened.identifier(987_654)) == (count, "0000000", "0987654")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10**6
    with pytest.raises(ValueError, match=r"train.tar is truncated: copy it again"):
        opened[987_654]
