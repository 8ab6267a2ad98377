"""The page of the service, in a real browser."""

import base64

import numpy as np
import pytest

from kseg.inference import Predictor
from kseg.serve import Limits, create_app
from tests.serve.conftest import SIZES, encoded, fits, opened, running

DROP = """([name, kind, content]) => {
  const files = new DataTransfer();
  files.items.add(new File([Uint8Array.from(atob(content), letter => letter.charCodeAt(0))], name, { type: kind }));
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true }));
}"""


@pytest.fixture(scope="module")
def address(brightest):
    with running(create_app(Predictor(brightest), Limits(upload_bytes=10**6))) as address:
        yield address


@pytest.fixture(params=SIZES, ids=["wide", "narrow"])
def page(browser, address, request):
    with opened(browser, address, request.param) as page:
        yield page


def choose(page, content, name="photo.png", kind="image/png"):
    page.get_by_label("choose a file").set_input_files({"name": name, "mimeType": kind, "buffer": content})


def test_a_chosen_image_is_shown_with_its_labels_and_their_areas(page, picture, address):
    page.get_by_role("heading", name="kseg: brightest").wait_for()
    assert fits(page) and page.get_by_role("combobox").count() == 0  # one model needs no choice
    choose(page, encoded(picture))
    rows = page.get_by_role("row")
    rows.nth(3).wait_for()
    assert [row.inner_text().split() for row in rows.all()[1:]] == [
        ["background", "36", "75.0", "%"],
        ["green", "6", "12.5", "%"],
        ["blue", "6", "12.5", "%"],
    ]
    color = rows.nth(2).locator(".color").evaluate("part => getComputedStyle(part).backgroundColor")
    assert color == "rgb(0, 200, 0)"
    assert "8 × 6 pixels" in page.get_by_role("status").inner_text()
    photo, mask = page.locator("#photo"), page.locator("#mask")
    assert photo.bounding_box() == mask.bounding_box() and photo.bounding_box()["width"] > 300
    assert mask.evaluate("part => [part.naturalWidth, part.naturalHeight]") == [8, 6]
    slider = page.get_by_role("slider", name="Opacity of the labels")
    slider.focus()
    page.keyboard.press("End")
    assert mask.evaluate("part => getComputedStyle(part).opacity") == "1"
    page.keyboard.press("Home")
    assert mask.evaluate("part => getComputedStyle(part).opacity") == "0"
    assert fits(page) and not page.noticed
    assert all(host.startswith((address, "blob:", "data:")) for host in page.hosts)


def test_a_dropped_file_that_browsers_cannot_show_is_shown_as_the_service_read_it(page, picture):
    content = base64.b64encode(encoded(picture, "TIFF")).decode()
    page.locator("#file:enabled").wait_for()
    page.evaluate(DROP, ["cells.tif", "image/tiff", content])
    page.get_by_role("row").nth(3).wait_for()
    assert page.locator("#photo").evaluate("part => part.decode().then(() => part.naturalWidth)") == 8
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save GeoJSON").click()
    assert saved.value.suggested_filename == "cells_labels.geojson"
    assert b"FeatureCollection" in saved.value.path().read_bytes()


def test_errors_are_shown_and_their_cure_works_on_the_page(page, picture):
    choose(page, b"no image")
    page.get_by_text("not an image in a format").wait_for()
    assert page.get_by_role("alert").inner_text() and page.locator("#result").is_hidden()
    page.route("**/predict*", lambda route: route.fulfill(status=503, body="Service Unavailable"), times=1)
    choose(page, encoded(picture))
    page.get_by_text("answers with status 503: try again later").wait_for()
    choose(page, bytes(10**6 + 1))
    page.get_by_text("more than 1 MB").wait_for()
    choose(page, encoded(picture.astype("int32") * 16, "NumPy"), "deep.npy", "")
    page.get_by_text("have no known range").wait_for()
    page.get_by_text("What the numbers of the file mean").click()
    page.get_by_label("Values that are black and white").fill("0,4095")
    page.keyboard.press("Tab")
    page.get_by_role("row").nth(3).wait_for()
    assert page.get_by_role("alert").inner_text() == "" and fits(page)


def test_the_page_is_used_with_the_keyboard_alone(page):
    page.locator("#file:enabled").wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
    names = page.locator("input").evaluate_all("parts => parts.map(part => part.labels.length)")
    assert names and np.all(names)
