"""The notebooks of the site run, and their stored outputs belong to their code.

The cells run in this process, one after another in one namespace: a kernel for each notebook would import the backend
again. Jupyter's own syntax (`%`, `!`) is therefore not allowed in them. `python -m docs.notebooks` uses a kernel.
"""

import ast
import json
import re

import numpy as np
import pytest
from PIL import Image

import kseg
from docs.notebooks.__main__ import CHECKOUT, FOLDER, NAMES, code_hash
from tests.docs.shares import share


def notebook(name):
    return json.loads((FOLDER / f"{name}.ipynb").read_text("utf-8"))


def run(code, place, names):
    """Runs a cell; returns the value of its last line if that is an expression."""
    tree = ast.parse(code, place)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, place, "exec"), names)
    return None if last is None else eval(compile(ast.Expression(last.value), place, "eval"), names)


def check_first_model(names):
    assert names["scores"]["miou"] > 0.3  # eight classes
    assert names["same"]


def check_own_data(names):
    (result,) = (json.loads(path.read_text()) for path in names["pathlib"].Path("runs/leaves").glob("result.json"))
    assert result["scores"]["miou"] > 0.6  # two classes
    assert names["agreement"] > 0.99
    assert np.isin(names["label"], (0, 1)).all()


def check_fine_tuning(names):
    assert names["model"].output.shape[-1] == 8 and names["trained"].output.shape[-1] == 11
    assert names["scores"]["miou"] > kseg.metrics.scores(names["matrix"])["miou"]


def check_reading_metrics(names):
    labels, predictions = (np.stack(names[name]) for name in ("labels", "predictions"))
    right = float((labels == predictions)[labels != 255].mean())
    assert names["scores"]["pixel_accuracy"] == pytest.approx(right)
    assert names["table"].loc["road", "recall"] == pytest.approx((predictions[labels == 3] == 3).mean())
    assert np.nanmax(names["f1"]) > 0.3 and names["calibration"]["ece"] > 0.05
    cells = notebook("reading_metrics")["cells"]
    (stored,) = (text for cell in cells for text in texts(cell) if text.startswith("{'miou'"))
    assert ast.literal_eval(stored)["pixel_accuracy"] == pytest.approx(right, abs=0.005)


@pytest.mark.parametrize("name", share(NAMES))
def test_a_notebook_runs(name, tmp_path, monkeypatch, numpy_initializers):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for cell in notebook(name)["cells"]:
        if cell["cell_type"] == "code":
            value = run("".join(cell["source"]), f"{name}, {cell['id']}", names)
            kinds = {kind for output in cell["outputs"] for kind in output.get("data", ())}
            assert ("text/plain" in kinds) >= (value is not None), cell["id"]
            assert any(kind.startswith("image/") for kind in kinds) == isinstance(value, Image.Image), cell["id"]
    globals()[f"check_{name}"](names)


@pytest.mark.parametrize("name", NAMES)
def test_stored_outputs_belong_to_the_code(name):
    content, path = notebook(name), FOLDER / f"{name}.ipynb"
    cure = f"run python -m docs.notebooks {name}"
    assert content["metadata"]["kseg"]["code"] == code_hash(content), cure
    outputs = [output for cell in content["cells"] for output in cell.get("outputs", ())]
    assert outputs and not [output for output in outputs if output["output_type"] == "error"], cure
    assert len(content["cells"]) < 25 and path.stat().st_size < 300_000
    assert not re.search(rf"{CHECKOUT}/|[\s\"'](/home|/Users|/root|/tmp)/", path.read_text("utf-8")), cure


def test_the_page_lists_the_notebooks():
    page = (FOLDER.parent / "notebooks.md").read_text("utf-8")
    assert set(re.findall(r"\(notebooks/(\w+)\.ipynb\)", page)) == set(NAMES)


def texts(cell):
    for output in cell.get("outputs", ()):
        yield "".join(output.get("text", output.get("data", {}).get("text/plain", ())))
