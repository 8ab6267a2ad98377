"""A service of several models, which are loaded on first use, and its example images."""

import io
import re
import threading

import numpy as np
import pytest
from PIL import Image

from kseg.data import streets
from kseg.inference import Predictor
from kseg.serve import Example, Limits, NamedModel, cell_examples, create_app, examples, street_examples
from tests.serve.conftest import ask, encoded, post, refused


@pytest.fixture
def loaded():
    """The names of the models that were loaded, in their order."""
    return []


@pytest.fixture
def app(brightest, picture, loaded):
    """A service of a model that labels by the brightest color, one that takes its bands reversed, and a broken one."""

    def load(name, bands):
        loaded.append(name)
        predictor = Predictor(brightest)
        if not bands:
            raise ValueError("the file of the weights is damaged")
        return Labels(predictor, bands)

    bands = {"forward": [0, 1, 2], "backward": [2, 1, 0], "broken": []}
    models = [NamedModel(name, lambda name=name: load(name, bands[name]), f"about {name}") for name in bands]
    return create_app(models, Limits(queue=0), examples=[Example("Areas", encoded(picture), ("forward",))])


class Labels:
    """A predictor of images whose bands have another order."""

    def __init__(self, predictor, order):
        self.predictor, self.order = predictor, order
        self.model, self.channels, self.bands, self.pixels = (
            getattr(predictor, name) for name in ("model", "channels", "bands", "pixels")
        )

    def __call__(self, image):
        return self.predictor(image[..., self.order])


def test_each_model_is_loaded_once_when_it_is_first_named(app, picture, loaded):
    (names,) = ask(app, ("GET", "/models", {}))
    assert names.json()["models"] == [{"name": name, "loaded": False} for name in ("forward", "backward", "broken")]
    label = picture.argmax(axis=-1)
    for query, expected in (("", label), ("model=backward", 2 - label), ("model=forward", label)):
        np.testing.assert_array_equal(Image.open(io.BytesIO(post(app, encoded(picture), query).content)), expected)
    found = [ask(app, ("GET", f"/model{query}", {}))[0].json() for query in ("", "?model=backward")]
    assert [one["about"] for one in found] == ["about forward", "about backward"]
    assert [one["name"] for one in found] == loaded == ["forward", "backward"]
    assert [one["loaded"] for one in ask(app, ("GET", "/models", {}))[0].json()["models"]] == [True, True, False]


def test_an_unknown_name_is_refused_with_the_known_ones(app, picture, loaded):
    for answer in (post(app, encoded(picture), "model=sideways"), *ask(app, ("GET", "/model?model=sideways", {}))):
        assert refused(answer, 404) == "no model is called 'sideways': there are forward, backward, broken"
    assert not loaded


def test_a_model_that_cannot_be_loaded_is_a_fault_of_the_service_and_others_go_on(app, picture):
    for answer in (post(app, encoded(picture), "model=broken"), *ask(app, ("GET", "/model?model=broken", {}))):
        assert "damaged" not in refused(answer, 500)
    assert post(app, encoded(picture)).status_code == 200


def test_loading_takes_a_place_like_a_request(brightest, picture):
    begun, finish = threading.Event(), threading.Event()

    def load():
        begun.set()
        assert finish.wait(20)
        return Predictor(brightest)

    app = create_app([NamedModel("slow", load)], Limits(queue=0, seconds=0.2))
    assert "within 0.2 s: try again" in refused(ask(app, ("GET", "/model", {}))[0], 503) and begun.is_set()
    assert "before this one: 1" in refused(post(app, encoded(picture)), 503)
    finish.set()
    while ask(app, ("GET", "/health", {}))[0].json()["requests"]:
        pass
    assert [each.status_code for each in ask(app, ("GET", "/model", {}))] == [200]


def test_the_answer_states_how_long_its_parts_took(app, picture):
    times = post(app, encoded(picture), "format=json").headers["server-timing"]
    assert re.fullmatch(r"read;dur=\d+\.\d, predict;dur=\d+\.\d, write;dur=\d+\.\d", times)


def test_names_of_models_must_differ(brightest):
    for models in ([], [NamedModel("one", lambda: Predictor(brightest))] * 2):
        with pytest.raises(ValueError, match="models must have different names"):
            create_app(models)


def test_examples_are_listed_and_sent(app, picture):
    (listed,) = ask(app, ("GET", "/models", {}))
    assert listed.json()["examples"] == [{"name": "Areas", "address": "examples/0", "models": ["forward"]}]
    found, beyond, below, wrong = ask(app, *(("GET", f"/examples/{index}", {}) for index in (0, 1, -1, "x")))
    np.testing.assert_array_equal(Image.open(io.BytesIO(found.content)), picture)
    assert found.headers["content-type"] == "image/png"
    assert "GET /models lists" in refused(beyond, 404) and refused(below, 404) and refused(wrong, 400)


def test_examples_are_drawn_streets_and_cells():
    scenes = [np.array(Image.open(io.BytesIO(one.content))) for one in street_examples(["a", "b"])]
    known = streets("test", size=(360, 480))
    assert all(any(np.array_equal(scene, known[index][0]) for index in range(12)) for scene in scenes)
    assert {one.models for one in cell_examples(["a", "b"])} == {("a", "b")}
    image, label = examples.cells(0, (360, 480))
    np.testing.assert_array_equal(image, np.array(Image.open(io.BytesIO(cell_examples([])[0].content))))
    assert np.mean((image[..., 0] > 50) == (label == 1)) > 0.98 and 0.05 < label.mean() < 0.2
