import csv
import json

import keras
import numpy as np
import pytest
import safetensors
from PIL import Image

from kseg import data, pretrained, zoo
from kseg.training import Recipe, evaluate, preparation, run, splits, train
from tests.data import folders
from tests.training import tiny


def log(folder):
    with (folder / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def recipe(**sections):
    return Recipe.from_dict(tiny.content(**sections))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run with class weights and averaged weights: its folder and result."""
    folder = tmp_path_factory.mktemp("finished")
    loss = {"class_weights": "median", "class_weights_power": 0.5}
    result = train(recipe(loss=loss, optimizer={"ema": 0.5}), folder, progress=False)
    return folder, result


def test_a_run_folder_holds_what_it_promises(finished):
    folder, result = finished
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "recipe.json", "versions.json", "data.json", "log.csv", "checkpoint.safetensors",
        "best.safetensors", "confusion.csv", "confusion.png", "curves.png", "predictions.png", "result.json",
    }  # fmt: skip
    assert json.loads((folder / "result.json").read_text()) == result
    assert result["finished"] and result["epochs"] == 3
    assert json.loads((folder / "versions.json").read_text())["backend"] == keras.backend.backend()
    with Image.open(folder / "predictions.png") as picture:
        assert picture.mode == "RGB"


def test_the_log_has_a_row_for_each_epoch(finished):
    rows = log(finished[0])
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [row["step"] for row in rows] == ["2", "4", "6"]
    assert float(rows[-1]["learning_rate"]) == 0.0
    assert all(np.isfinite(float(row["loss"])) for row in rows)
    assert max(float(row["val_miou"]) for row in rows) == finished[1]["scores"]["miou"]
    assert all(0 < float(row["val_loss"]) < 10 for row in rows)


def test_the_best_weights_rebuild_the_model_and_its_scores(finished):
    folder, result = finished
    model = zoo.load(folder / "best.safetensors")
    split = data.load("streets", "val", size=(48, 48), count=10)
    assert (model.classes, model.palette) == (split.classes, split.palette)
    notes = pretrained.describe(folder / "best.safetensors")
    assert (notes["epoch"], notes["scores"]) == (result["epoch"], result["scores"])
    again = evaluate(model, split, batch_size=3)
    assert again["confusion_matrix"] == result["scores"]["confusion_matrix"]
    head, *rows = csv.reader((folder / "confusion.csv").read_text().splitlines())
    assert head[1:] == list(split.classes)
    assert [[int(cell) for cell in row[1:]] for row in rows] == again["confusion_matrix"]


def test_a_factor_of_zero_freezes_weights_and_statistics_of_the_encoder(tmp_path):
    keras.utils.set_random_seed(0)
    start = tiny.tiny(8)
    train(recipe(optimizer={"encoder_factor": 0.0, "ema": 0.5}, epochs=1), tmp_path, progress=False)
    model = zoo.load(tmp_path / "best.safetensors")
    for old, new in zip(start.get_layer("encoder").weights, model.get_layer("encoder").weights, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(old), keras.ops.convert_to_numpy(new))
    old, new = (net.get_layer("decode").get_weights()[0] for net in (start, model))
    assert np.abs(old - new).max() > 0


def test_training_starts_from_a_weight_file(tmp_path):
    """Tensors that do not fit: see `test_a_net_of_another_class_count_starts_from_released_weights`."""
    coarse = tiny.tiny(8)
    file = pretrained.save(coarse, tmp_path / "coarse.safetensors")
    arguments = preparation.arguments(recipe(), data.load("streets", "val"))
    started = preparation.model(recipe(model={"start": str(file)}), arguments)
    for ours, theirs in zip(coarse.get_weights(), started.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(FileNotFoundError, match="no weight file at nowhere"):
        preparation.model(recipe(model={"start": "nowhere.safetensors"}), arguments)
    gone = recipe(model={"builder": "lraspp", "encoder": "mobilenet_v2", "encoder_weights": "gone.safetensors"})
    with pytest.raises(ValueError, match="there is no file 'gone"):
        preparation.model(gone, preparation.arguments(gone, data.load("streets", "val")))
    preparation.model(gone, preparation.arguments(gone, data.load("streets", "val")), resumes=True)


def test_a_builder_with_unnamed_layers_is_resumed_and_loaded_in_the_same_process(tmp_path, monkeypatch):
    @zoo.builder
    def unnamed(num_classes, *, weights=None, input_shape=(None, None, 3)):
        image = keras.Input(input_shape)
        x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3, padding="same")(image))
        return keras.Model(image, keras.layers.Conv2D(num_classes, 1)(x))

    monkeypatch.setitem(zoo.BUILDERS, "unnamed", unnamed)
    content = recipe(epochs=2, model={"builder": "unnamed"}, optimizer={"encoder_factor": 1.0}).model_dump()
    del content["model"]["encoder"]
    own = Recipe.from_dict(json.loads(json.dumps(content)))
    assert not train(own, tmp_path, progress=False, minutes=0)["finished"]
    assert train(own, tmp_path, progress=False)["finished"]
    keys = [[*pretrained.weight_keys(net)] for net in (zoo.load(tmp_path / "best.safetensors"), unnamed(11))]
    assert keys[0] != keys[1]


def test_no_selection_keeps_the_last_epoch(tmp_path):
    result = train(recipe(selection={"every": 0}, epochs=2), tmp_path, progress=False)
    assert result["epoch"] == 2
    rows = log(tmp_path)
    assert [bool(row["val_miou"]) for row in rows] == [False, True]


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains_resumes_and_is_put_back(tmp_path, precision):
    mixed = recipe(precision=precision, epochs=2, data={"augment": "none"})
    assert not train(mixed, tmp_path, progress=False, minutes=0)["finished"]
    result = train(mixed, tmp_path, progress=False)
    assert np.isfinite(result["scores"]["miou"])
    assert keras.config.dtype_policy().name == "float32"
    with safetensors.safe_open(tmp_path / "checkpoint.safetensors", "np") as file:
        assert ("loss_scale/dynamic_scale" in file.keys()) == (precision == "mixed_float16")  # noqa: SIM118
    assert zoo.load(tmp_path / "best.safetensors").compute_dtype == "float32"


def test_sgd_trains_with_a_model_of_probabilities(tmp_path):
    sections = {
        "model": {"options": {"activation": "softmax"}},
        "loss": {"options": {"from_logits": False}},
        "optimizer": {"name": "sgd", "global_clipnorm": 1.0},
        "epochs": 1,
    }
    assert train(recipe(**sections), tmp_path, progress=False)["finished"]


@pytest.mark.parametrize(
    ("mask", "crop", "message"),
    [
        (np.full((40, 44), 77, "uint8"), [32, 32], r"005\.png.*77"),  # not read before training
        (None, [32, 32], r"005\.png has no mask"),
        (np.zeros((20, 44), "uint8"), None, "images of several sizes cannot share a batch: give a crop"),
    ],
)
def test_faults_of_own_data_are_named(tmp_path, mask, crop, message):
    section = tiny.folder(tmp_path, 60) | {"crop": crop}
    (tmp_path / "masks" / "005.png").unlink()
    if mask is not None:
        folders.write_pair(tmp_path, "005", mask)
    content = tiny.content(selection={"every": 0}) | {"data": section}
    with pytest.raises(ValueError, match=message):
        train(Recipe.from_dict(content), tmp_path / "run", progress=False)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"model": {"options": {"activation": "softmax"}}}, "the model ends in probabilities, the loss expects logits"),
        ({"loss": {"options": {"from_logits": False}}}, "the model ends in logits, the loss expects probabilities"),
        ({"model": {"options": {"num_classes": 3}}}, "num_classes = 3, but streets has 8"),
        ({"model": {"options": {"activatoin": "softmax"}}}, "no option 'activatoin': did you mean activation"),
        ({"model": {"options": {"encoder": "vgg16"}}}, "[model] options: encoder is a key of [model] itself"),
        ({"model": {"builder": "tinny"}}, "unknown builder 'tinny': did you mean tiny"),
        ({"data": {"copy_paste": ["cra"]}}, "streets has no class 'cra': did you mean car"),
        ({"loss": {"name": "cross_entropi"}}, "unknown loss 'cross_entropi': did you mean cross_entropy"),
        ({"loss": {"class_weights": [1.0, 2.0]}}, "2 class_weights for the 8 classes of streets"),
        ({"data": {"name": "streats"}}, "streets"),
        ({"data": {"options": {"cuont": 3}}}, "[data] options: streets has no option 'cuont': did you mean count"),
        ({"data": {"augment": "streat"}}, "street"),
        ({"data": {"options": {"size": 64}}}, "[data] options: size must be a list in brackets, got 64"),
        (
            {"model": {"builder": "unet", "options": {"filters": 8}}},
            "options: filters must be a list in brackets, got 8",
        ),
        (
            {"model": {"builder": "unet", "options": {"encoder_depth": "4"}}},
            "options: encoder_depth must be a whole number, got '4'",
        ),
        ({"loss": {"options": {"label_smoothing": "a"}}}, "[loss] options: label_smoothing must be a number, got 'a'"),
    ],
)
def test_contradictions_are_refused_before_training(tmp_path, sections, message):
    with pytest.raises(ValueError) as caught:
        train(recipe(**sections), tmp_path, progress=False)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_loss_that_is_no_number_stops_the_run_and_leaves_no_checkpoint(tmp_path, monkeypatch):
    def broken(*arguments):
        loss = keras.losses.MeanSquaredError()
        loss.call = lambda y_true, y_pred: keras.ops.mean(y_pred) * float("nan")
        return loss

    monkeypatch.setattr(preparation, "loss", broken)
    with pytest.raises(ValueError, match="the loss is nan in epoch 1: lower the learning rate"):
        train(recipe(), tmp_path, progress=False)
    assert not (tmp_path / "checkpoint.safetensors").exists()


class Full(Exception):
    """Like the errors of backends."""


def test_training_that_runs_out_of_memory_says_what_to_lower(tmp_path, monkeypatch):
    def fit(*arguments, **options):
        raise Full("RESOURCE_EXHAUSTED: Out of memory allocating 99 bytes")

    monkeypatch.setattr(keras.Model, "fit", fit)
    with pytest.raises(MemoryError, match=r"lower batch_size = 4 or lower crop = \[32, 32\]"):
        train(recipe(), tmp_path, progress=False)


def test_a_checkpoint_is_written_before_validation_when_a_start_stops_and_after_half_a_minute(tmp_path, monkeypatch):
    written, save = [], run.checkpoint.save
    monkeypatch.setattr(run.checkpoint, "save", lambda *given: written.append(len(given[2]["rows"])) or save(*given))
    five = recipe(epochs=5, selection={"every": 4})
    stopped = train(five, tmp_path / "stopped", progress=False, minutes=0)
    assert (stopped["finished"], stopped["epochs"], written) == (False, 1, [1])
    assert not (tmp_path / "stopped" / "result.json").exists()
    train(five, tmp_path / "stopped", progress=False)
    assert written == [1, 4, 5]
    assert len((tmp_path / "stopped" / "log.csv").read_text().splitlines()) == 6
    monkeypatch.setattr(run, "CHECKPOINT_SECONDS", -1.0)
    written.clear()
    train(five, tmp_path / "slow", progress=False)
    assert written == [1, 2, 3, 4, 5]


def test_steps_are_images_by_batch_size_rounded():
    split = data.load("streets", "train", count=10)
    steps = [splits.steps_per_epoch(recipe(data={"batch_size": size}), split) for size in (3, 4, 8, 100)]
    assert steps == [3, 2, 1, 1]
