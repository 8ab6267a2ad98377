"""The page of a service of several models in a real browser, and `kseg demo`."""

import re
import signal
import subprocess
import sys
import time
import webbrowser

import httpx
import keras
import numpy as np
import pytest
import uvicorn

from kseg import pretrained
from kseg.cli import demonstration
from kseg.inference import Predictor
from kseg.serve import Example, NamedModel, create_app
from tests.cli.command import kseg_command, refused
from tests.serve.conftest import SIZES, encoded, fits, opened, running

SLEPT = 200
"""Milliseconds that the slower model takes at least."""
AREAS = {
    "brightest": {"background": "36", "green": "6", "blue": "6"},
    "light": {"dark": "44", "light": "4"},
}
"""The areas of the classes in the example of each model."""


class Slow(Predictor):
    def __call__(self, source):
        time.sleep(SLEPT / 1000)
        return super().__call__(source)


def light():
    """A model that labels each pixel dark or light, by its red value."""
    image = keras.Input((None, None, 3))
    layer = keras.layers.Conv2D(2, 1)
    model = keras.Model(image, layer(image), name="light")
    layer.set_weights([np.array([[0, 1], [0, 0], [0, 0]])[None, None], np.array([100, 0])])
    return pretrained.SegmentationModel.of(model, classes=("dark", "light"), palette=((0, 0, 0), (250, 250, 0)))


@pytest.fixture
def demo(brightest, picture):
    """The address of a service of two models with an example each, and the names of those that were loaded."""
    loaded = []

    def load(name):
        loaded.append(name)
        return Predictor(brightest) if name == "brightest" else Slow(light())

    corner = np.zeros((6, 8, 3), "uint8")
    corner[:2, :2] = 200
    models = [NamedModel(name, lambda name=name: load(name), f"data of {name}") for name in AREAS]
    drawn = [Example("Areas 1", encoded(picture), ("brightest",)), Example("Corner 1", encoded(corner), ("light",))]
    with running(create_app(models, examples=drawn)) as address:
        yield address, loaded


def prediction(page, file):
    """Waits until the page has labeled a file, and returns the milliseconds of the prediction and of the request."""
    status = page.get_by_role("status").filter(has_text=re.compile(rf"^{file}: 8 × 6 pixels.*request"))
    status.wait_for()
    return map(int, re.search(r"prediction (\d+) ms, whole request (\d+) ms$", status.inner_text()).groups())


def areas(page):
    return {row.inner_text().split()[0]: row.inner_text().split()[1] for row in page.get_by_role("row").all()[1:]}


def focus(page, locator, key="Tab"):
    """Moves the focus with a key until an element has it."""
    for _ in range(20):
        if locator.evaluate("part => part === document.activeElement"):
            return
        page.keyboard.press(key)
    raise AssertionError(f"{key} does not reach {locator}")


@pytest.mark.parametrize("size", SIZES, ids=["wide", "narrow"])
def test_examples_and_models_are_chosen_with_the_keyboard(browser, demo, size):
    address, loaded = demo
    with opened(browser, address, size) as page:
        prediction(page, "areas-1.png")  # the first example, at once
        assert areas(page) == AREAS["brightest"] and loaded == ["brightest"] and fits(page)
        choice = page.get_by_role("combobox", name="Model")
        assert choice.get_by_role("option").all_inner_texts() == list(AREAS)
        first, second = (page.get_by_role("button", name=name) for name in ("Areas 1", "Corner 1"))

        focus(page, choice)
        focus(page, second)
        page.keyboard.press("Enter")  # which needs the other model
        predicted, whole = prediction(page, "corner-1.png")
        assert SLEPT <= predicted <= whole
        assert choice.input_value() == "light" and page.title() == "kseg: light"
        assert areas(page) == AREAS["light"] and page.get_by_text("2 classes; data of light").is_visible()
        assert [one.get_attribute("aria-pressed") for one in (first, second)] == ["false", "true"]

        focus(page, choice, "Shift+Tab")
        page.keyboard.press("ArrowUp")  # which needs the other example
        prediction(page, "areas-1.png")
        assert areas(page) == AREAS["brightest"] and choice.input_value() == "brightest"
        assert loaded == ["brightest", "light"]

        slider, mask = page.get_by_role("slider", name="Opacity of the labels"), page.locator("#mask")
        focus(page, slider)
        for key, opacity in (("End", "1"), ("ArrowLeft", "0.99"), ("Home", "0")):
            page.keyboard.press(key)
            assert mask.evaluate("part => getComputedStyle(part).opacity") == opacity
        assert fits(page) and not page.noticed
        assert all(host.startswith((address, "blob:", "data:")) for host in page.hosts)


def test_an_own_image_stays_when_the_model_changes_and_every_control_has_a_name(browser, demo, picture):
    with opened(browser, demo[0], SIZES[1]) as page:
        prediction(page, "areas-1.png")
        page.get_by_text("What the numbers of the file mean").click()
        shown = page.locator("body").aria_snapshot()
        controls = re.findall(r"- (button|combobox|option|slider|textbox|img|table)\b(.*)", shown)
        assert {"button", "combobox", "option", "slider", "textbox", "img", "table"} == {role for role, _ in controls}
        assert all(rest.startswith(' "') for _, rest in controls), shown
        content = {"name": "own.png", "mimeType": "image/png", "buffer": encoded(picture)}
        page.get_by_label("choose a file").set_input_files(content)
        prediction(page, "own.png")
        page.get_by_role("combobox", name="Model").select_option("light")
        page.get_by_role("row", name="dark").wait_for()
        prediction(page, "own.png")
        assert areas(page) == {"dark": "48"}
        assert page.get_by_role("button", pressed=True).count() == 0


def test_a_model_that_fails_is_named_and_another_one_can_be_chosen(browser, demo):
    with opened(browser, demo[0], SIZES[0]) as page:
        prediction(page, "areas-1.png")
        answer = '{"error": "no answer within 60 s: try again"}'
        page.route("**/model?model=light", lambda route: route.fulfill(status=503, body=answer), times=1)
        choice = page.get_by_role("combobox", name="Model")
        choice.select_option("light")
        page.get_by_text("no answer within 60 s: try again").wait_for()
        choice.select_option("brightest")
        prediction(page, "areas-1.png")
        assert page.get_by_role("alert").inner_text() == ""


def test_the_command_serves_what_is_on_this_machine_and_opens_the_browser(tmp_path, monkeypatch):
    script = tmp_path / "browser"
    script.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/part\nmv {tmp_path}/part {tmp_path}/address\n')
    script.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{script} %s")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-m", "kseg.cli", "demo", "--port", "0"], **pipes) as process:
        try:
            line = process.stdout.readline()
            found = re.fullmatch(r"kseg demo: (http://127\.0\.0\.1:\d+/)\n", line)
            assert found, line + process.stderr.read()
            listed = httpx.get(f"{found[1]}models").json()
            here = {one.name for one in pretrained.RELEASES.values() if pretrained.find(one)}
            assert {one["name"] for one in listed["models"]} == here
            assert not any(one["loaded"] for one in listed["models"])
            assert {name for one in listed["examples"] for name in one["models"]} <= here
            assert httpx.get(f"{found[1]}health", headers={"host": "evil.example"}).status_code == 403
            while not (tmp_path / "address").exists():
                time.sleep(0.01)
            assert (tmp_path / "address").read_text().strip() == found[1]
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0 and process.stdout.read() == "stopped\n"
        finally:
            process.kill()


def test_the_browser_is_opened_at_an_address_of_this_machine_or_not_at_all(monkeypatch):
    begun = []
    monkeypatch.setattr(webbrowser, "open", begun.append)
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: begun or time.sleep(0.1))
    done = kseg_command("demo", "--port", 0, "--no-browser")
    assert done.exit_code == 0 and not begun, done.output
    done = kseg_command("demo", "--port", 0, "--host", "0.0.0.0")
    assert "http://0.0.0.0:" in done.stdout and "other machines can use the service" in done.stderr
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", *begun)


def test_a_named_model_is_loaded_as_a_predictor_that_labels_images(tmp_path, brightest, picture):
    brightest.save(tmp_path / "brightest.keras")
    predictor = demonstration._predictor(str(tmp_path / "brightest.keras"), "keras")
    np.testing.assert_array_equal(predictor(picture), picture.argmax(axis=-1))


def test_what_the_command_needs_is_named_in_one_line(monkeypatch):
    monkeypatch.setattr(pretrained, "find", lambda release: None)
    assert "pip install ./zoo" in refused("demo", "--port", 0)
    for name in [name for name in sys.modules if name.startswith("kseg.serve")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert "pip install 'kseg[serve]'" in refused("demo")
