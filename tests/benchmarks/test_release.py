"""`python -m benchmarks release` and `publish`: from a run to what a server serves, and back over HTTP."""

import dataclasses
import functools
import http.server
import json
import shutil
import threading

import pytest
from PIL import Image
from typer.testing import CliRunner

from benchmarks import publish, release, sources
from benchmarks.commands import app
from benchmarks.release import card, check, measure, write
from kseg import data, download, pretrained, training, zoo
from kseg.data import Subset
from kseg.pretrained import release as table
from kseg.pretrained import source
from tests.training import tiny

NAME = "tiny-small-streets"
STRICT = next(name for name, entry in pretrained.RELEASES.items() if entry.license == "CC-BY-NC-4.0")


@pytest.fixture(scope="module", autouse=True)
def builder():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(zoo.BUILDERS, "tiny", tiny.tiny)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    training.train(training.Recipe.from_dict(tiny.content(epochs=1)), folder, progress=False)
    return folder


def command(run, to, *options):
    arguments = ["release", str(run), "--to", str(to), "--table", str(to / "table.json"), *options]
    return CliRunner().invoke(app, arguments)


@pytest.fixture(scope="module")
def released(run, tmp_path_factory):
    to = tmp_path_factory.mktemp("zoo")
    done = command(run, to)
    assert done.exit_code == 0, done.output
    assert done.output.split()[-1] == str(to / NAME)
    return to / NAME


def test_a_run_becomes_a_folder_and_an_entry(released, run):
    assert {path.name for path in released.iterdir()} == {
        "card.md", "metrics.json", "model.safetensors", "predictions.png", "recipe.toml",
    }  # fmt: skip
    entry = table.read(released.parent / "table.json")[NAME]
    assert (entry.builder, entry.dataset, entry.license) == ("tiny", "streets", "Apache-2.0")
    assert entry.sha256 == download.file_sha256(released / "model.safetensors")
    assert f"({NAME}/card.md)" in (released.parent / "README.md").read_text()
    with Image.open(released / "predictions.png") as picture:
        assert picture.width > 3 * 240


def test_both_precisions_are_measured(released, run):
    metrics = json.loads((released / "metrics.json").read_text())
    test = training.dataset(training.Recipe.from_dict(tiny.content()), "test", None)
    for scores, file in (("float32", run / "best.safetensors"), ("scores", released / "model.safetensors")):
        assert metrics[scores]["confusion_matrix"] == training.evaluate(file, test)["confusion_matrix"]
    assert (released / "model.safetensors").stat().st_size < (run / "best.safetensors").stat().st_size
    assert metrics["dtype"] == "float16" and "float16" in (released / "card.md").read_text()
    assert metrics["subset"]["images"] == 1


def test_stored_weights_are_released_as_they_are(released, run, tmp_path, monkeypatch):
    """If the float32 weights are gone, a leaderboard has the scores before storage."""
    shutil.copytree(released, tmp_path / "zoo" / NAME)
    again = {"to": tmp_path / "zoo", "releases": tmp_path / "table.json"}
    with pytest.raises(ValueError, match="no leaderboard has a row of recipe"):
        release.make_release(tmp_path / "zoo" / NAME, **again)
    header = pretrained.describe(released / "model.safetensors")
    ious = ",".join(f"iou_{name}" for name in header["classes"])
    scores = json.loads((released / "metrics.json").read_text())["float32"]
    values = [header["recipe"], round(header["scores"]["miou"], 4), scores["miou"], scores["pixel_accuracy"], 0.1, 0.2]
    row = ",".join(map(str, ["old", *values, *["0.25"] * len(header["classes"])]))
    names = "name,recipe,val_miou,miou,pixel_accuracy,mean_accuracy,frequency_weighted_iou"
    (tmp_path / "board.csv").write_text(f"{names},{ious}\n{row}\n")
    monkeypatch.setattr("benchmarks.leaderboard.LEADERBOARDS", tmp_path)
    release.make_release(tmp_path / "zoo" / NAME, **again)
    metrics = json.loads((tmp_path / "zoo" / NAME / "metrics.json").read_text())
    measured = metrics["float32"]["measured"]
    assert measured.startswith("row `old` of benchmarks/leaderboards/board.csv") and "not at hand" in measured
    assert metrics["float32"]["iou"]["car"] == 0.25
    same = [(folder / NAME / "model.safetensors").read_bytes() for folder in (released.parent, tmp_path / "zoo")]
    assert same[0] == same[1]
    shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("best.*"))
    shutil.copy(released / "model.safetensors", tmp_path / "run")
    assert release.make_release(tmp_path / "run", **again) == tmp_path / "zoo" / NAME
    with pytest.raises(ValueError, match=r"is float16: --dtype float32 needs the best.safetensors of the run$"):
        release.make_release(tmp_path / "zoo" / NAME, dtype=release.Dtype.float32, **again)
    monkeypatch.setattr(measure, "LOSS", -2.0)
    with pytest.raises(ValueError, match=r"release the best.safetensors of the run with --dtype float32$"):
        release.make_release(tmp_path / "zoo" / NAME, **again)


def test_half_precision_that_costs_too_much_is_refused(run, tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "LOSS", -1.0)
    done = command(run, tmp_path)
    assert "more than -1.0: add --dtype float32" in str(done.exception)
    assert list(tmp_path.iterdir()) == []


def test_an_unfinished_run_is_refused(run, tmp_path):
    assert "holds neither a finished run" in str(command(tmp_path, tmp_path).exception)
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "result.json").unlink()
    assert "is not finished" in str(command(tmp_path / "run", tmp_path).exception)


@pytest.fixture
def quick(released, monkeypatch):
    """The scores are those of the first release: measuring them again takes most of the time."""
    scores = json.loads((released / "metrics.json").read_text())["scores"]
    monkeypatch.setattr(measure, "_scores", lambda *arguments: dict(scores))


@pytest.fixture
def retrained(run, tmp_path):
    """The same run, by another recipe."""

    def change(**sections):
        folder = shutil.copytree(run, tmp_path / "retrained", dirs_exist_ok=True)
        recipe = training.Recipe.from_dict(tiny.content(epochs=1, **sections))
        (folder / "recipe.json").write_text(recipe.model_dump_json())
        header = pretrained.describe(run / "best.safetensors") | {"recipe": recipe.hash()}
        pretrained.save(zoo.load(run / "best.safetensors"), folder / "best.safetensors", **header)
        return folder

    return change


@pytest.mark.usefixtures("quick")
def test_another_recipe_does_not_replace_released_weights(run, retrained, tmp_path):
    assert command(run, tmp_path / "zoo").exit_code == 0
    other = retrained(seed=5)
    before = {path: path.read_bytes() for path in (tmp_path / "zoo").rglob("*") if path.is_file()}
    message = str(command(other, tmp_path / "zoo").exception)
    assert f"{NAME} is released already" in message and "or --replace" in message and "\n" not in message
    assert before == {path: path.read_bytes() for path in (tmp_path / "zoo").rglob("*") if path.is_file()}
    assert "not 'best'" in str(command(other, tmp_path / "zoo", "--name", "best").exception)
    assert command(other, tmp_path / "zoo", "--name", f"{NAME}-seed5").exit_code == 0
    assert f"release runs/{NAME}-seed5 --name {NAME}-seed5" in (tmp_path / "zoo" / f"{NAME}-seed5/card.md").read_text()
    entries = table.read(tmp_path / "zoo" / "table.json")
    assert entries.keys() == {NAME, f"{NAME}-seed5"}
    assert command(other, tmp_path / "zoo", "--replace").exit_code == 0
    replaced = table.read(tmp_path / "zoo" / "table.json")[NAME]
    assert replaced.recipe == entries[f"{NAME}-seed5"].recipe != entries[NAME].recipe


@pytest.mark.parametrize(
    ("model", "cure"),
    [
        ({"start": "runs/fcn16/best.safetensors"}, f"released weights are {STRICT}"),
        ({"start": "https://example.org/model.safetensors"}, f"released weights are {STRICT}"),
        ({"encoder_weights": "own.safetensors"}, "known weights are none, imagenet, imagenet+bsds500"),
    ],
)
def test_a_recipe_with_initial_weights_of_ones_own_is_refused(retrained, tmp_path, model, cure):
    message = str(command(retrained(model=model), tmp_path / "zoo").exception)
    assert (
        "begins with weights that others may not have" in message
        and repr(*model.values()) in message
        and cure in message
    )
    assert not (tmp_path / "zoo").exists()


@pytest.mark.parametrize("model", [{"start": STRICT}, {"encoder_weights": "imagenet+bsds500"}])
def test_a_recipe_with_public_initial_weights_is_accepted(model):
    assert check._unknown_weights(training.Recipe.from_dict(tiny.content(model=model))) is None


@pytest.mark.usefixtures("quick")
def test_weights_inherit_the_stricter_license(retrained, tmp_path):
    assert command(retrained(model={"start": STRICT}), tmp_path / "zoo").exit_code == 0
    assert table.read(tmp_path / "zoo" / "table.json")[NAME].license == "CC-BY-NC-4.0"
    page = (tmp_path / "zoo" / NAME / "card.md").read_text()
    assert (
        "streets is Apache-2.0, but training began with weights under CC-BY-NC-4.0: these inherit that license." in page
    )
    assert f"Training began with the released weights `{STRICT}`." in page and "have its license" not in page


def test_the_stricter_license_is_inherited():
    assert sources.inherited_license("camvid", None) == sources.inherited_license("camvid", STRICT) == "CC-BY-NC-4.0"
    milder = [sources.inherited_license(name, None) for name in ("nuclei", "streets")]
    assert milder == list(sources.LICENSES[:2])
    assert {each.license for each in sources.SOURCES.values()} == set(sources.LICENSES)


@pytest.mark.parametrize(
    ("builder", "text"), [("segnet", "The encoder began with its imagenet weights."), ("unet_2015", "")]
)
def test_a_card_names_imagenet_if_the_encoder_began_with_it(builder, text):
    entry = dataclasses.replace(pretrained.RELEASES[STRICT], builder=builder, arguments={"num_classes": 11})
    recipe = training.Recipe.from_dict(tiny.content(model={"builder": builder, "encoder_weights": "imagenet"}))
    assert card._start(entry, recipe.model_dump(mode="json")["model"]) == text


@pytest.mark.parametrize(
    ("ious", "sentence"),
    [
        ({"background": 0.9, "nucleus": 0.8}, "The weakest class is nucleus (80.00)."),
        ({"sky": 0.9, "pole": 0.2, "car": None, "sign": 0.3}, "The weakest classes are pole (20.00) and sign (30.00)."),
    ],
)
def test_a_card_names_the_weakest_classes_and_void_pixels(released, ious, sentence):
    metrics = json.loads((released / "metrics.json").read_text())
    metrics["scores"]["iou"] = ious
    recipe = training.Recipe.from_dict(tiny.content()).model_dump(mode="json")
    for dataset, void in (("nuclei", False), ("streets", True), ("camvid", True)):
        entry = dataclasses.replace(table.read(released.parent / "table.json")[NAME], dataset=dataset)
        text = release.model_card(entry, metrics, recipe, "predictions.png")
        assert sentence in text.splitlines() and ("is void" in text) == void


def test_a_card_names_the_smallest_and_the_largest_size():
    images = data.load("streets", "test", count=3, size=(32, 48))
    assert measure._sizes(images) == "32x48"
    images.size = [(60, 33), (64, 48), (32, 56)].__getitem__
    assert measure._sizes(images) == "32x56 to 64x48"


def test_an_unknown_precision_is_refused_before_anything_is_scored(run, tmp_path):
    done = command(run, tmp_path, "--dtype", "bfloat16")
    assert done.exit_code == 2 and "float16" in done.output and "float32" in done.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("quick")
def test_a_release_that_fails_writes_nothing(run, tmp_path, monkeypatch):
    def broken(*arguments):
        raise RuntimeError("no picture")

    monkeypatch.setattr(write, "_picture", broken)
    assert command(run, tmp_path / "zoo").exit_code == 1
    assert not (tmp_path / "zoo").exists()


@pytest.mark.parametrize(
    ("before", "digits", "text"),
    [
        (0.50004, 4, "changes the mIoU (of 0 to 1) by less than 0.0001, the leaderboard's precision."),
        (0.49996, 4, "changes the mIoU (of 0 to 1) by less than 0.0001, the leaderboard's precision."),
        (0.5003, 4, "changes the mIoU (of 0 to 1) by -0.0003, to the leaderboard's precision of 0.0001."),
        (0.500012, None, "changes the mIoU (of 0 to 1) by -0.000012."),
        (0.499988, None, "changes the mIoU (of 0 to 1) by +0.000012."),
    ],
)
def test_the_cost_of_storage_has_the_digits_of_the_score_before(before, digits, text):
    original = {"miou": before} | ({"digits": digits} if digits else {})
    cost = measure._cost(original, {"miou": 0.5})
    assert card._cost({"dtype": "float16", "float32": original, "cost": cost}) == f"Storage as float16 {text}"


@pytest.mark.usefixtures("quick")
def test_large_weights_go_to_the_cache_and_none_stay_behind(run, tmp_path, monkeypatch):
    monkeypatch.setenv("KSEG_HOME", str(tmp_path / "home"))
    assert command(run, tmp_path / "zoo").exit_code == 0
    assert (tmp_path / "zoo" / NAME / "model.safetensors").is_file()
    monkeypatch.setattr(write, "SMALL", 10)
    assert command(run, tmp_path / "zoo").exit_code == 0
    assert not (tmp_path / "zoo" / NAME / "model.safetensors").exists()
    entry = table.read(tmp_path / "zoo" / "table.json")[NAME]
    assert pretrained.find(entry) == tmp_path / "home" / "weights" / NAME / "model.safetensors"


def test_a_recipe_survives_as_toml(tmp_path):
    recipe = training.Recipe.from_dict(
        {
            "epochs": 3,
            "data": {"folder": 'a "b"', "classes": ["ä", "b", "c"], "ignore": [3, [1, 2, 3]], "scale": [0.5, 1e-7 + 1]},
            "model": {"builder": "unet", "options": {"filters": [8, 4], "x": {"a b": True}}},
            "loss": {"class_weights": [1.0, 2.5e-05, 3.0]},
        }
    )
    (tmp_path / "recipe.toml").write_text(write.recipe_toml(recipe), "utf-8")
    assert training.Recipe.from_toml(tmp_path / "recipe.toml") == recipe


def test_a_subset_has_every_nth_image():
    whole = data.load("streets", "test", count=7, size=(32, 32))
    subset = Subset(whole, 3)
    assert len(subset) == 3
    for index in range(3):
        assert (subset[index][0] == whole[3 * index][0]).all()


def test_published_weights_can_be_downloaded_by_name(released, tmp_path, monkeypatch):
    releases = table.read(released.parent / "table.json")
    monkeypatch.setattr(source, "CHECKOUT", released.parent)
    paths = publish.write_served(tmp_path / "served", releases=releases, zoo=released.parent)
    assert all(path.is_file() for path in paths)
    page = (tmp_path / "served" / NAME / "README.md").read_text()
    head = page.split("---\n")[1]
    for line in (
        "license: apache-2.0",
        "library_name: keras",
        "tags:\n- semantic-segmentation",
        "datasets:\n- streets",
    ):
        assert line in head
    own, hint = (released / "card.md").read_text(), card.ADDRESS
    assert page.endswith(own.replace("model = kseg", f"{hint}model = kseg")) and "KSEG_WEIGHTS_URL" in hint in page
    assert (tmp_path / "served" / "README.md").read_text().startswith("---\nlicense: apache-2.0\n")

    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "served")
    handler.func.log_message = lambda *arguments: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
        try:
            monkeypatch.setattr(source, "CHECKOUT", tmp_path / "nowhere")
            monkeypatch.setenv("KSEG_HOME", str(tmp_path / "home"))
            monkeypatch.setenv("KSEG_WEIGHTS_URL", f"http://127.0.0.1:{server.server_port}")
            monkeypatch.setenv("no_proxy", "127.0.0.1")
            for name, entry in releases.items():
                monkeypatch.setitem(pretrained.RELEASES, name, entry)
                assert pretrained.fetch(entry) == tmp_path / "home" / "weights" / name / entry.file
            assert zoo.load(NAME).classes == releases[NAME].classes
        finally:
            server.shutdown()


def test_the_table_of_this_checkout_can_be_published(tmp_path):
    kept = {name: entry for name, entry in pretrained.RELEASES.items() if entry.bytes <= release.SMALL}
    assert len(publish.write_served(tmp_path, releases=kept)) == 5 * len(kept) + 1
    for name, entry in kept.items():
        assert download.file_sha256(tmp_path / name / entry.file) == entry.sha256


def test_weights_that_are_not_here_cannot_be_published(released, tmp_path, monkeypatch):
    monkeypatch.setenv("KSEG_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="tiny-small-streets is not on this machine with SHA-256"):
        publish.write_served(
            tmp_path / "served", releases=table.read(released.parent / "table.json"), zoo=released.parent
        )
    assert not (tmp_path / "served").exists()
