"""What a run folder keeps, refuses and removes."""

import json
import pathlib
import shutil

import keras
import numpy as np
import pytest
import safetensors.numpy

from kseg import pretrained, zoo
from kseg.data import FolderDataset
from kseg.training import Recipe, run, splits, train, validation
from kseg.training.folder import RunFolder
from tests.data.folders import write
from tests.training import tiny


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    data = tiny.folder(tmp_path_factory.mktemp("data") / "own", 4)
    return tiny.content(epochs=2, selection={"every": 0}) | {"data": data}


@pytest.fixture(scope="module")
def trained(content, tmp_path_factory):
    """A run after one epoch, and the same run finished."""
    folder = tmp_path_factory.mktemp("runs")
    train(Recipe.from_dict(content), folder / "stopped", progress=False, minutes=0)
    shutil.copytree(folder / "stopped", folder / "finished")
    assert train(Recipe.from_dict(content), folder / "finished", progress=False)["finished"]
    assert zoo.load(folder / "finished" / "best.safetensors").output_shape[-1] == 1  # two classes
    return folder


@pytest.fixture
def folders(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "runs")
    return tmp_path / "runs"


def refused(content, folder, *messages):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ValueError) as caught:
        train(Recipe.from_dict(content), folder, progress=False)
    assert "\n" not in str(caught.value)
    for message in messages:
        assert message in str(caught.value)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_only_own_leftovers_are_removed_and_only_under_the_lock(tmp_path):
    recipe = Recipe.from_dict(tiny.content())
    kept = [".recipe.toml.swp", ".env.local.bak", ".~lock.log.csv#", ".log.csv.original", ".data.json.old12345"]
    kept += [".log.csv.kseg-0123456789abcde", ".notes.txt.kseg-0123456789abcdef"]
    for name in kept:
        (tmp_path / name).write_text("precious")
    (tmp_path / ".cache.v1.d").mkdir()
    (tmp_path / ".log.csv.kseg-abcdefabcdefabcd").mkdir()
    leftovers = [tmp_path / f".{name}.kseg-{16 * 'a'}" for name in ("log.csv", "checkpoint.safetensors")]
    with pytest.MonkeyPatch.context() as patch:
        written = []
        patch.setattr("os.replace", lambda aside, path: written.append(aside))
        pretrained.atomic_write(tmp_path / "log.csv", b"half")  # as if the process were killed before the rename
    leftovers += written
    with RunFolder(tmp_path, recipe):
        for leftover in leftovers:
            leftover.write_text("half")
        with pytest.raises(ValueError, match="another process trains in"), RunFolder(tmp_path, recipe):
            pass
        assert all(leftover.is_file() for leftover in leftovers)
    with RunFolder(tmp_path, recipe):
        assert {path.name for path in tmp_path.iterdir() if path.name.startswith(".")} == {
            *kept, ".cache.v1.d", ".log.csv.kseg-abcdefabcdefabcd", ".kseg.lock"
        }  # fmt: skip


def test_files_of_others_are_not_overwritten(content, tmp_path):
    (tmp_path / "log.csv").write_text("my table")
    refused(content, tmp_path, "holds log.csv but no recipe.json of a run: name another folder")
    (tmp_path / "log.csv").rename(tmp_path / "recipe.json")
    refused(content, tmp_path, "recipe.json is not a file that a run wrote: name another folder")
    (tmp_path / "recipe.json").write_text(Recipe.from_dict(content).to_json())  # written by the user
    refused(content, tmp_path, "versions.json is missing: put it back, or name another folder")
    (tmp_path / "versions.json").write_text('{"1.0": "the manual"}')
    refused(content, tmp_path, "versions.json is not a file that a run wrote: name another folder")
    (tmp_path / "recipe.json").unlink()
    refused(content, tmp_path, "versions.json is not a file that a run wrote: name another folder")
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="file is a file: name a folder for the run"):
        train(Recipe.from_dict(content), tmp_path / "file")


def test_another_recipe_is_refused_and_may_start_from_these_weights(content, folders):
    longer = content | {"epochs": 3}
    refused(longer, folders / "stopped", "another recipe (epochs: 2 -> 3): name another folder")
    start = (folders / "finished" / "best.safetensors").as_posix()
    refused(longer, folders / "finished", f'(epochs: 2 -> 3): name another folder, with start = "{start}" in [model]')
    model = longer["model"] | {"start": start}
    assert train(Recipe.from_dict(longer | {"model": model}), folders / "longer", progress=False)["epochs"] == 3


def test_a_start_that_failed_before_its_first_checkpoint_binds_nobody(content, tmp_path):
    with pytest.raises(ValueError, match="unknown builder 'tinny'"):
        train(Recipe.from_dict(content | {"model": {"builder": "tinny"}}), tmp_path, progress=False)
    assert train(Recipe.from_dict(content | {"epochs": 1}), tmp_path, progress=False)["finished"]
    assert json.loads((tmp_path / "recipe.json").read_text())["model"]["builder"] == "tiny"


def test_versions_that_changed_are_named(content, folders, capsys):
    path = folders / "stopped" / "versions.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"keras": "3.0.0", "processors": 1000}))
    train(Recipe.from_dict(content), folders / "stopped")
    assert f"first start (keras 3.0.0 -> {keras.__version__}); results may differ" in capsys.readouterr().out


def test_another_backend_is_refused(content, folders):
    (folders / "stopped" / "versions.json").write_text('{"backend": "abacus"}')
    refused(content, folders / "stopped", "holds a run on abacus, this is ", "KERAS_BACKEND=abacus")


@pytest.mark.parametrize("state", ["stopped", "finished"])
@pytest.mark.parametrize(
    ("images", "message"),
    [
        (["000", "001", "002", "003", "new"], "train: 4 -> 5 images; new: new"),
        (["000", "001", "003"], "train: 4 -> 3 images; gone: 002"),
        (["003", "001", "002", "000"], "train: another order"),
        (None, "train: other size: 001"),
    ],
)
def test_data_that_changed_between_two_starts_are_refused(content, folders, images, message, state):
    root = pathlib.Path(content["data"]["folder"])
    changed = [root / "train.txt", root / "masks" / "001.png"]
    before = [path.read_bytes() for path in changed]
    try:
        if images:
            changed[0].write_text("\n".join(images))
        else:
            changed[1].write_bytes(before[1] + b"more")
        for kind in ("images", "masks"):
            shutil.copy(root / kind / "000.png", root / kind / "new.png")
        refused(content, folders / state, f"was trained on other data ({message}): put them back, or name another")
    finally:
        for path, data in zip(changed, before, strict=True):
            path.write_bytes(data)


def test_lost_best_weights_are_restored_from_the_checkpoint_of_their_epoch(content, folders):
    best = folders / "finished" / "best.safetensors"
    before = best.read_bytes()
    best.write_bytes(before[:1000])
    refused(content, folders / "finished", "best.safetensors is damaged: delete it, then repeat the command")
    best.unlink()
    assert train(Recipe.from_dict(content), folders / "finished", progress=False)["finished"]
    assert best.read_bytes() == before
    for name in ("best", "checkpoint"):
        (folders / "finished" / f"{name}.safetensors").unlink()
    refused(content, folders / "finished", "best.safetensors is missing: put back the file of epoch 2, or delete")
    best.write_bytes(before)
    notes = pretrained.describe(best) | {"epoch": 1}
    safetensors.numpy.save_file(safetensors.numpy.load_file(best), best, {"kseg": json.dumps(notes)})
    refused(content, folders / "finished", "best.safetensors holds epoch 1: put back the file of epoch 2, or delete")


@pytest.mark.parametrize("text", ["{", "[]", '{"finished": true}'])
def test_a_damaged_result_is_refused_and_can_be_written_again(content, folders, text):
    result = folders / "finished" / "result.json"
    before = json.loads(result.read_text())
    result.write_text(text)
    refused(content, folders / "finished", "result.json is not ", "delete it, then repeat the command")
    result.unlink()
    assert train(Recipe.from_dict(content), folders / "finished", progress=False)["scores"] == before["scores"]


def test_weights_of_another_run_are_not_overwritten(content, folders):
    path = folders / "stopped" / "best.safetensors"
    best = folders / "finished" / "best.safetensors"
    description = pretrained.describe(best) | {"recipe": "another"}
    safetensors.numpy.save_file(safetensors.numpy.load_file(best), path, {"kseg": json.dumps(description)})
    refused(content, folders / "stopped", "best.safetensors was not written by this run: move it elsewhere")


def test_a_checkpoint_of_another_model_or_version_is_refused_by_name(content, folders):
    path = folders / "stopped" / "checkpoint.safetensors"
    with safetensors.safe_open(path, "np") as file:
        header = file.metadata()
    tensors = safetensors.numpy.load_file(path)
    tensors["middle/kernel"], tensors["decode/bias"] = tensors.pop("decode/kernel"), np.zeros(3, "float32")
    safetensors.numpy.save_file(tensors, path, header)
    other = "it lacks decode/kernel; it has middle/kernel, which the model lacks, and 1 more"
    refused(content, folders / "stopped", "written by kseg", other)
    safetensors.numpy.save_file(tensors, path, {"progress": header["progress"]})
    unnamed = "was written by kseg 0.1, which did not name its tensors: delete it to train from the start"
    refused(content, folders / "stopped", unnamed)
    safetensors.numpy.save_file(tensors, path, header | {"progress": "{"})
    refused(content, folders / "stopped", "the progress in", "checkpoint.safetensors is damaged: delete it to train")
    path.unlink()
    assert train(Recipe.from_dict(content), folders / "stopped", progress=False)["finished"]


def scores(miou):
    return {"miou": miou, "iou": {"a": miou, "b": 0.0}, "confusion_matrix": [[1, 0], [0, 1]]}


def test_an_epoch_whose_validation_failed_is_validated_and_not_trained_again(content, monkeypatch, tmp_path):
    recipe = Recipe.from_dict(content | {"selection": {"every": 1}, "epochs": 3})
    root = pathlib.Path(content["data"]["folder"])
    shutil.copy(root / "train.txt", root / "val.txt")
    trained, close = [], run.Run._end_epoch
    monkeypatch.setattr(
        run.Run, "_end_epoch", lambda self, epoch, *more: trained.append(epoch) or close(self, epoch, *more)
    )

    def killed(*arguments, **options):
        raise MemoryError("validation needs too much memory")

    monkeypatch.setattr(validation, "evaluate", killed)
    for _ in range(2):
        with pytest.raises(MemoryError):
            train(recipe, tmp_path, progress=False)
        assert trained == [0]
    mious = iter([0.5, 0.7, 0.6])
    monkeypatch.setattr(validation, "evaluate", lambda *_, **__: scores(next(mious)))
    assert train(recipe, tmp_path, progress=False)["epoch"] == 2
    assert trained == [0, 1, 2]
    log = (tmp_path / "log.csv").read_text().splitlines()
    column = log[0].split(",").index("val_miou")
    assert [float(row.split(",")[column]) for row in log[1:]] == [0.5, 0.7, 0.6]
    (tmp_path / "best.safetensors").unlink()
    mious = iter([0.6])
    with pytest.raises(ValueError, match=r"weights of epoch 2 is gone: put it back, or delete checkpoint.safetensors"):
        train(recipe, tmp_path, progress=False)


def test_annotations_that_changed_are_noticed(tmp_path):
    write(tmp_path / "images" / "a.png", np.zeros((4, 4), "uint8"))
    found = []
    for width in (2, 2, 3):
        shape = {"label": "leaf", "points": [[0, 0], [width, 0], [width, 4], [0, 4]]}
        (tmp_path / "a.json").write_text(json.dumps({"imagePath": "a.png", "shapes": [shape]}))
        dataset = FolderDataset(tmp_path, classes=["soil", "leaf"], annotations="a.json")
        found.append(splits.contents(dataset, None))
    assert found[0] == found[1] != found[2]
