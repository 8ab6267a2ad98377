"""Packed shards: the batches of the data set that was packed, and a command that can be killed and repeated."""

import itertools
import json
import os
import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

from kseg import data, losses
from kseg.training import Recipe, batches, dataset, pack, splits, train
from tests.cli.command import kseg_command, refused
from tests.data import folders
from tests.training import tiny

PALETTE = [[0, 0, 0], [200, 30, 30], [30, 200, 30]]


def recipe_of(section, **more):
    section = {"batch_size": 3, "crop": [16, 16], **section}
    return Recipe.from_dict({"epochs": 1, "data": section, "model": {"builder": "unet"}, **more})


def of_colors(root):
    """Palette PNG files with void, JPEG photos of two sizes, and lists of the splits."""
    rng = np.random.default_rng(0)
    for index in range(7):
        height, width = (20, 24) if index % 2 else (26, 18)
        mask = Image.fromarray(rng.choice([0, 1, 2, 255], (height, width)).astype("uint8"), "P")
        mask.putpalette([*itertools.chain(*PALETTE), *[255] * (3 * 253)])
        folders.write(root / "masks" / f"{index}.png", mask)
        folders.write(root / "images" / f"{index}.jpg", rng.integers(0, 256, (height, width, 3), np.uint8))
    return {"classes": ["a", "b", "c"], "palette": PALETTE, "split": "60/40"}


def of_16_bits(root):
    """12-bit images in 16-bit files, black-and-white masks in which 255 is a class."""
    rng = np.random.default_rng(0)
    for index in range(5):
        folders.write(root / "images" / f"{index}.tif", rng.integers(0, 4096, (20, 24)).astype("uint16"))
        folders.write(root / "masks" / f"{index}.png", rng.choice([0, 255], (20, 24)).astype("uint8"))
    section = {"classes": ["a", "b"], "values": [0, 255], "range": [0, 4095], "channels": 1, "split": "60/40"}
    return section | {"augment": "flip"}


def of_polygons(root):
    """Polygons of COCO in place of masks."""
    pictures, objects = [], []
    for index in range(5):
        folders.write(root / "images" / f"{index}.png", np.full((20, 24, 3), 40 * index, np.uint8))
        pictures.append({"id": index, "file_name": f"{index}.png", "height": 20, "width": 24})
        corners = [2, 3, 20, 3, 20, 10 + index, 2, 10 + index]
        objects.append({"image_id": index, "category_id": 1, "segmentation": [corners]})
    text = {"images": pictures, "categories": [{"id": 1, "name": "cell"}], "annotations": objects}
    (root / "instances.json").write_text(json.dumps(text))
    return {"classes": ["background", "cell"], "annotations": "instances.json", "split": "60/40"}


@pytest.fixture(params=[of_colors, of_16_bits, of_polygons, None], ids=["colors", "16 bits", "polygons", "streets"])
def section(request, tmp_path):
    if request.param is None:
        return {"name": "streets", "options": {"size": [32, 40], "count": 5}}
    return {"folder": str(tmp_path / "folder"), **request.param(tmp_path / "folder")}


def test_batches_of_shards_are_those_of_the_data_set(section, tmp_path):
    given = recipe_of(section)
    found = pack(given, tmp_path / "packed", shard_size=0.0001, progress=False)
    kept = {key: section[key] for key in ("augment",) if key in section}
    packed = recipe_of({"shards": str(tmp_path / "packed"), **kept})
    for name in found:
        one, other = dataset(given, name, None), dataset(packed, name, None)
        assert len(one) == len(other) == found[name]["images"] > 1 < found[name]["shards"]
        assert (one.name, one.classes, one.palette, one.marks_void) == (
            other.name, other.classes, other.palette, other.marks_void,
        )  # fmt: skip
        meaning = [getattr(each, "pixels", data.Pixels()).to_json() for each in (one, other)]
        assert meaning[0] == meaning[1]
        assert one.has_one_size() == other.has_one_size()
        for index in range(len(one)):
            assert (one.identifier(index), one.size(index)) == (other.identifier(index), other.size(index))
        for step in (0, 2):
            pairs = zip(batches(given, one, step), batches(packed, other, step), strict=False)
            for expected, batch in itertools.islice(pairs, 4):
                for first, second in zip(expected, batch, strict=True):
                    assert first.dtype == second.dtype and (first == second).all()
        splits.check(other, name)
        assert (pickle.loads(pickle.dumps(other))[1][0] == one[1][0]).all()
        for method in ("median", "inverse", "effective"):
            weights = [losses.class_weights(each, method=method) for each in (one, other)]
            assert (weights[0] == weights[1]).all()
        assert data.check(other).pixels == data.check(one).pixels


def test_the_files_are_kept_byte_by_byte(tmp_path):
    given = recipe_of({"folder": str(tmp_path / "folder"), **of_colors(tmp_path / "folder")})
    pack(given, tmp_path / "packed", progress=False)
    image, mask = data.ShardDataset(tmp_path / "packed", "val").files(0)
    assert image.name.startswith(str(tmp_path / "packed" / "val" / "00000.array_record" / "images"))
    for content, folder in ((image, "images"), (mask, "masks")):
        assert content.read() == (tmp_path / "folder" / folder / content.name.rsplit("/", 1)[1]).read_bytes()


def test_shards_are_packed_again_as_they_are(section, tmp_path):
    pack(recipe_of(section), tmp_path / "one", progress=False)
    pack(recipe_of({"shards": str(tmp_path / "one")}), tmp_path / "two", progress=False)
    names = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.array_record")]
    for name in [*names, "train/index.json"]:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.fixture
def packed(tmp_path):
    """A recipe file, and the folder into which the command packed it."""
    root = tmp_path / "folder"
    given = {"folder": str(root), **of_colors(root)}
    (tmp_path / "own.toml").write_text(
        f'epochs = 1\nmodel.builder = "unet"\n[data]\nfolder = "{root.as_posix()}"\n'
        f'classes = ["a", "b", "c"]\npalette = {PALETTE}\nsplit = "{given["split"]}"\n'
    )
    done = kseg_command("datasets", "pack", tmp_path / "own.toml", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert f'shards = "{(tmp_path / "out").as_posix()}"' in done.output
    return tmp_path / "own.toml", tmp_path / "out"


def state(folder):
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_a_complete_folder_stays_and_what_is_missing_is_packed(packed):
    recipe, out = packed
    before = state(out)
    assert "is complete: nothing to do" in kseg_command("datasets", "pack", recipe, out).output
    after = state(out)
    assert all(after[path] == time for path, time in before.items() if path.name != "packing.json")
    (out / "val" / "index.json").unlink()  # as if it had been killed
    (out / "val" / ".00000.array_record.kseg-0123456789abcdef").write_bytes(b"half")
    done = kseg_command("datasets", "pack", recipe, out)
    assert "val: 3 images" in done.output and "train: " not in done.output
    assert state(out).keys() == before.keys()
    (out / "train" / "00000.array_record").unlink()
    assert "train: 4 images" in kseg_command("datasets", "pack", recipe, out).output
    assert len(data.ShardDataset(out, "train")) == 4


def test_a_folder_of_others_is_refused_and_kept(packed, tmp_path):
    recipe, out = packed
    (out / "val" / "notes.txt").write_text("mine")
    assert "notes.txt was not written by this command: name another folder" in refused("datasets", "pack", recipe, out)
    (out / "val" / "notes.txt").unlink()
    assert "holds other data or another shard size" in refused("datasets", "pack", recipe, out, "--shard-size", "1")
    mask = tmp_path / "folder" / "masks" / "0.png"
    time = mask.stat().st_mtime_ns
    os.utime(mask, ns=(time, time + 10**6))  # changed, with as many bytes
    assert "or files were written again since" in refused("datasets", "pack", recipe, out)
    os.utime(mask, ns=(time, time))
    assert "nothing to do" in kseg_command("datasets", "pack", recipe, out).output
    with open(tmp_path / "folder" / "images" / "0.jpg", "ab") as file:
        file.write(b"changed")
    assert "holds other data" in refused("datasets", "pack", recipe, out)
    foreign = tmp_path / "foreign" / "train"
    foreign.mkdir(parents=True)
    (foreign / "00000.array_record").write_bytes(b"of another program")
    assert "was not written by this command" in refused("datasets", "pack", recipe, foreign.parent)
    assert (foreign / "00000.array_record").read_bytes() == b"of another program"
    assert "is a file: name a folder" in refused("datasets", "pack", recipe, recipe)
    assert "above 0 MiB" in refused("datasets", "pack", recipe, tmp_path / "new", "--shard-size", "0")


def test_what_cannot_be_trained_on_is_not_packed(packed, tmp_path):
    recipe, _ = packed
    Image.fromarray(np.full((26, 18), 7, np.uint8)).save(tmp_path / "folder" / "masks" / "0.png")
    assert "masks/0.png: mask values 7" in refused("datasets", "pack", recipe, tmp_path / "new")
    assert not list((tmp_path / "new").rglob("*array_record*"))  # neither whole nor half
    assert not (tmp_path / "new" / "train" / "index.json").exists()


def test_damaged_shards_are_named(packed):
    _, out = packed
    shard, index = out / "train" / "00000.array_record", out / "train" / "index.json"
    content, text = shard.read_bytes(), index.read_text()

    def fault(error=ValueError):
        with pytest.raises(error) as caught:
            data.ShardDataset(out, "train")[0]
        assert "\n" not in str(caught.value)
        return str(caught.value)

    shard.write_bytes(content[: len(content) // 2])
    assert f"{shard} has {len(content) // 2:,} bytes, {len(content):,} are expected" in fault()
    shard.write_bytes(content[:200] + bytes(reversed(content[200:900])) + content[900:])
    assert f"{shard}: record 0 is damaged: copy the file again" in fault()
    shard.write_bytes(bytes(len(content)))
    assert str(shard) in fault()
    shard.unlink()
    assert f"{shard} is missing: put it back" in fault(FileNotFoundError)
    index.write_text(text.replace('"version": 1', '"version": 2'))
    assert "was written by a later version of kseg" in fault()
    index.write_text(text[:50])
    assert f"{index} is not an index that kseg wrote" in fault()
    index.unlink()
    assert "has no train split" in fault(FileNotFoundError)
    shutil.rmtree(out)


def test_what_shards_state_is_not_given_again(packed):
    _, out = packed
    opened = {"interface": "recipe", "classes": ["a", "b"]}
    with pytest.raises(ValueError, match=r"packed with the classes a, b, c, not a, b: leave out classes in \[data\]"):
        data.ShardDataset(out, "train", **opened)
    opened["classes"] = ["a", "b", "c"]
    assert data.ShardDataset(out, "train", **opened).classes == ("a", "b", "c")
    with pytest.raises(ValueError, match=r"this itself: leave out values in \[data\], or pack the data set again"):
        data.ShardDataset(out, "train", values=[1, 2, 3], **opened)
    with pytest.raises(ValueError, match=r"was packed by splits: choose one, split="):
        data.ShardDataset(out, None)
    index = out / "val" / "index.json"
    index.write_text(index.read_text().replace('"c"', '"d"'))
    with pytest.raises(ValueError, match="classes of train are a, b, c, those of val are a, b, d: pack both from one"):
        splits.open_splits(recipe_of({"shards": str(out)}), None)


def test_a_run_on_shards_records_them_instead_of_images(tmp_path):
    pack(Recipe.from_dict(tiny.content()), tmp_path / "packed", progress=False)
    shutil.rmtree(tmp_path / "packed" / "val")  # optional without selection
    content = tiny.content(epochs=1, selection={"every": 0})
    content["data"] = {"shards": str(tmp_path / "packed"), "batch_size": 4, "crop": [32, 32]}
    recipe = Recipe.from_dict(content)
    result = train(recipe, tmp_path / "run", progress=False)
    assert result["finished"] and train(recipe, tmp_path / "run", progress=False) == result
    listed = json.loads((tmp_path / "run" / "data.json").read_text())
    assert [[name, count] for name, count, _ in listed["train"]] == [["00000.array_record", 10]]
    index = tmp_path / "packed" / "train" / "index.json"
    index.write_text(index.read_text().replace(listed["train"][0][2], "0" * 64))
    with pytest.raises(ValueError, match=r"was trained on other data .*00000\.array_record"):
        train(recipe, tmp_path / "run", progress=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"folder": "x"}, "give either name (a data set of kseg) or folder (your own data) or shards (packed data)"),
        ({"split": "80/20"}, "split belongs to folder, not to shards"),
        ({"annotations": "a.json", "mask_suffix": "_m"}, "mask_suffix, annotations belong to folder, not to shards"),
    ],
)
def test_keys_of_folders_are_not_those_of_shards(change, message):
    with pytest.raises(ValueError) as caught:
        recipe_of({"shards": "packed", **change})
    assert message in str(caught.value)
    assert "shards" not in json.loads(recipe_of({"name": "streets"}).to_json())["data"]
