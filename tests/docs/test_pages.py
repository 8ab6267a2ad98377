"""What pages of the site say about kseg, about other libraries and about leaderboards is true."""

import ast
import contextlib
import csv
import inspect
import json
import pathlib
import re

import keras
import numpy as np
import pytest

import kseg
from kseg.zoo import _smp_export

DOCS = pathlib.Path(__file__).parents[2] / "docs"


def called(page):
    """Yields the calls in the tables and sentences of a page: the name of the function and the node."""
    for span in re.findall(r"`([^`\n]+)`", (DOCS / page).read_text("utf-8")):
        with contextlib.suppress(SyntaxError):  # commands and names of files
            yield from ((ast.unparse(n.func), n) for n in ast.walk(ast.parse(span)) if isinstance(n, ast.Call))


def test_calls_in_the_tables_fit_the_libraries(transformers, torchvision):
    import segmentation_models_pytorch as smp

    libraries = {"kseg": kseg, "smp": smp, "AutoImageProcessor": transformers.AutoImageProcessor}
    libraries |= {"AutoModelForSemanticSegmentation": transformers.AutoModelForSemanticSegmentation}
    libraries |= {"Predictor": kseg.inference.Predictor, "keras": keras}
    libraries |= {"deeplabv3_resnet50": torchvision.models.segmentation.deeplabv3_resnet50}
    checked = 0
    for page in ("checkpoints.md", "migration.md"):
        for name, call in called(page):
            if name.partition(".")[0] in libraries and not any(
                isinstance(each, ast.Call) for each in ast.walk(call.func)
            ):
                signature = inspect.signature(eval(name, libraries))
                dots = any(isinstance(each, ast.Constant) and each.value is ... for each in call.args)
                bind = signature.bind_partial if dots else signature.bind
                bind(*call.args[: -1 if dots else None], **{each.arg: each.value for each in call.keywords})
                checked += 1
    assert checked > 50


def test_a_second_output_is_trained_as_the_page_says(numpy_initializers):
    (row,) = re.findall(r".*auxiliary=True.*", (DOCS / "migration.md").read_text("utf-8"))
    _, compiling, fitting = re.findall(r"`([^`]+)`", row.split("|")[2])
    image = keras.Input((8, 8, 3))
    outputs = {name: keras.layers.Conv2D(3, 1, name=name)(image) for name in ("logits", "auxiliary")}
    names = {"model": keras.Model(image, outputs), "loss": kseg.losses.CrossEntropy(), "optimizer": "sgd"}
    names |= {"images": np.zeros((2, 8, 8, 3), "uint8"), "masks": np.zeros((2, 8, 8), "uint8")}
    exec(compiling, names)
    exec(fitting, names)


def test_builders_that_the_page_names_are_exported_by_default():
    page = (DOCS / "migration.md").read_text("utf-8")
    (named,) = re.findall(r"export_smp\(model, \"folder\"\)` for a ([^,]+, [^,]+), and", page)
    models = {model.builder: name for name, model in kseg.zoo.smp.MODELS.items()}
    for builder in re.findall(r"`(\w+)`", named):
        defaults = kseg.zoo.BUILDERS[builder].defaults
        arguments = json.loads(json.dumps({**defaults, "num_classes": 3, "encoder": "resnet34"}))
        assert _smp_export._options(models[builder], arguments)["classes"] == 3


def test_names_in_the_tables_exist():
    pages = "checkpoints", "migration", "deploy", "encoders-losses", "predict", "serve", "weights"
    for page in (f"{name}.md" for name in pages):
        for name in re.findall(r"\bkseg\.([a-z_]+(?:\.\w+)+)", (DOCS / page).read_text("utf-8")):
            found = kseg
            for part in name.split("."):
                found = getattr(found, part)
    published = re.findall(r'zoo\.load\("([^"]+/[^"]+)"', (DOCS / "migration.md").read_text("utf-8"))
    assert published and set(published) <= kseg.pretrained.PUBLISHED.keys()


def test_what_the_page_says_about_the_losses_is_what_the_leaderboard_shows():
    with (DOCS.parent / "benchmarks/leaderboards/losses.csv").open() as file:
        rows = {row["name"]: row for row in csv.DictReader(file) if not row["peer"]}
    assert {row["seed"] for row in rows.values()} == {"0"}

    def read(column, *names):
        return [float(rows[name][column]) for name in names or rows]

    assert max(rows, key=lambda name: float(rows[name]["miou"])) == "dice"
    plain, full = "cross_entropy", ("cross_entropy-median", "balanced_cross_entropy")
    for name in ("iou_pole", "iou_bicyclist"):
        assert read(name, plain)[0] < 0.01 < 0.15 < min(read(name, *full))
    for name in ("pixel_accuracy", "iou_road", "iou_building", "iou_tree"):
        assert read(name, plain)[0] > max(read(name, *full))
    assert read("miou", "cross_entropy-root_median")[0] > max(read("miou", plain, *full))
    assert read("miou", "cross_entropy+lovasz_softmax")[0] - 0.05 > read("miou", "lovasz_softmax")[0]


def test_what_the_page_says_about_unpooling_is_what_the_leaderboard_shows():
    with (DOCS.parent / "benchmarks/leaderboards/segnet-unpooling.csv").open() as file:
        scores = {row["name"].removeprefix("basic-32-"): float(row["miou"]) for row in csv.DictReader(file)}
    assert max(scores.pop("max"), scores.pop("bed_of_nails")) < min(scores.values()) and len(scores) == 3


def test_families_in_the_table_of_encoders_exist():
    page = (DOCS / "encoders-losses.md").read_text("utf-8")
    rows = re.findall(r"^\| (`[a-z].*?) \|", page.split("| family |")[1].split("\n\n")[0], flags=re.MULTILINE)
    names = [name for row in rows for name in re.findall(r"`([a-z]+\d+\w*|[a-z]\w*_\w*)", row)]
    known = kseg.encoders.ENCODERS
    assert len(rows) > 10 and all(any(each.startswith(name) for each in known) for name in names), names
    assert {re.match(r"[a-z]+", name)[0] for name in known} == {re.match(r"[a-z]+", name)[0] for name in names}


@pytest.mark.parametrize("name", ["CHANGELOG.md", "CONTRIBUTING.md"])
def test_pages_that_the_site_includes_have_no_links_that_work_in_one_place_only(name):
    links = re.findall(r"\]\(([^)]+)\)", (DOCS.parent / name).read_text("utf-8"))
    assert all(link.startswith(("https://", "#")) for link in links)
    assert f'"../{name}"' in (DOCS / name.lower()).read_text("utf-8")
