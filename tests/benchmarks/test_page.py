"""The page of leaderboards, in a real browser."""

import itertools
import re

import pytest

from benchmarks import leaderboard
from benchmarks.page import document
from tests.benchmarks.test_leaderboard import board_of

MODELS = {"unet": (0.605, 8.1e9), "fcn<8>": (0.52, 1.2e9), "segnet": (0.5, 61e9), "unet-2015": (0.47, None)}


def _board():
    shared = {"pretraining": "ImageNet", "budget": "cpu", "iou_sky": 0.9}
    models = [
        shared | {"name": name, "miou": miou, "multiply_adds": cost, "iou_car": 1 - miou}
        for name, (miou, cost) in MODELS.items()
    ]
    return board_of(*models)


@pytest.fixture
def opened(browser, tmp_path):
    """A function that opens the page, with the requests and messages since then in `noticed`."""
    (tmp_path / "index.html").write_text(document({"camvid": _board()}), "utf-8")
    pages = []

    def open_page(width=1200, height=900, scheme="light"):
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        page.noticed = []
        page.on("request", lambda request: page.noticed.append(request.url.split(":")[0]))
        page.on("console", lambda message: page.noticed.append(message.text))
        page.on("pageerror", lambda error: page.noticed.append(str(error)))
        page.goto((tmp_path / "index.html").as_uri())
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()


def test_a_click_on_a_heading_sorts_and_another_reverses(opened):
    page = opened()
    table = page.locator("#camvid table").first
    names = table.locator("tbody tr td:first-child")
    assert names.all_text_contents() == ["unet", "fcn<8>", "segnet", "unet-2015"]  # by mIoU
    head = table.get_by_role("columnheader", name="multiply-adds, G")
    for expected in (["segnet", "unet", "fcn<8>", "unet-2015"], ["fcn<8>", "unet", "segnet", "unet-2015"]):
        head.get_by_role("button").click()
        assert names.all_text_contents() == expected  # unknown values stay at the end
    assert head.get_attribute("aria-sort") == "ascending"
    table.get_by_role("columnheader", name="name", exact=True).get_by_role("button").click()
    assert names.all_text_contents() == ["fcn<8>", "segnet", "unet", "unet-2015"]
    assert table.locator("[aria-sort]").count() == 1
    assert page.noticed == ["file"]  # the page itself: nothing else is requested, and no message is printed


def test_models_pretrained_on_more_than_imagenet_have_a_table_of_their_own():
    shown = document({"camvid": _board().assign(pretraining=["ImageNet", "none", "ImageNet+BSDS500", "none"])})
    ranking, rest = shown.split("<h3>Published")[0].split("<h3>Outside the ranking")
    assert (ranking.count("<tr><td"), rest.count("<tr><td")) == (3, 1)
    assert "ImageNet+BSDS500" in rest and "ImageNet+BSDS500" not in ranking


def _boxes(page, part):
    """The bounding boxes of the drawn points or names, in the order of mIoU."""
    return [each.bounding_box() for each in page.locator(f"svg.wide g[id^='camvid-wide-{part}-']").all()]


def test_the_plot_has_a_named_point_for_each_row_with_data(opened):
    page = opened()
    for kind in ("wide", "narrow"):
        assert page.locator(f"svg.{kind} g[id^='camvid-{kind}-name-'] text").all_text_contents() == [
            "unet",
            "fcn<8>",
            "segnet",
        ]
    assert len(page.locator("svg.wide").evaluate("part => part.outerHTML")) < 7000
    unet, fcn, segnet = _boxes(page, "point")
    assert fcn["x"] < unet["x"] < segnet["x"]  # more expensive models are further right
    assert unet["y"] < fcn["y"] < segnet["y"]  # better models are further up
    texts = page.locator("svg.wide g[id^='camvid-wide-name-'] text").all()
    boxes = [each.bounding_box() for each in texts]
    assert all(one["y"] + one["height"] <= other["y"] for one, other in itertools.pairwise(boxes))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone_in_light_and_dark_mode(opened, scheme):
    page = opened(360, 740, scheme)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert [kind for kind in ("wide", "narrow") if page.locator(f"svg.{kind}").is_visible()] == ["narrow"]
    ground, name = page.evaluate(
        "['body', 'svg.narrow g[id^=camvid-narrow-name] text']"
        ".map(part => getComputedStyle(document.querySelector(part)))"
        ".map((style, place) => place ? style.fill : style.backgroundColor)"
    )
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light") and name != ground


def test_the_page_in_the_repository_is_that_of_the_leaderboards():
    """But for the drawings, in which versions of matplotlib differ."""
    written = leaderboard.PAGE.read_text("utf-8"), document(leaderboard.all_boards())
    kept, made = (re.sub("<svg.*?</svg>", "", text, flags=re.S) for text in written)
    assert kept == made
