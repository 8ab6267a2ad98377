"""The page of leaderboards, in a real browser."""

import pandas as pd
import pytest

from benchmarks import leaderboard
from benchmarks.page import page
from tests.browser import Browser

MODELS = {"unet": (0.605, 8.1e9), "fcn<8>": (0.52, 1.2e9), "segnet": (0.5, 61e9), "unet-2015": (0.47, None)}


def _board():
    shared = {"encoder": "efficientnet_lite0", "encoder_weights": "imagenet", "pixel_accuracy": 0.88, "epochs": 20}
    shared |= {"parameters": 5_245_659, "seconds": 1700.2, "inference_ms": 115.2, "size": "360x480", "seed": 0}
    shared |= {"device": "CPU x86_64, 2 cores", "backend": "tensorflow", "budget": "cpu", "iou_sky": 0.9}
    rows = [
        shared | {"name": name, "recipe": name, "miou": miou, "multiply_adds": cost, "iou_car": 1 - miou}
        for name, (miou, cost) in MODELS.items()
    ]
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def browser():
    with Browser() as browser:
        yield browser


@pytest.fixture
def opened(browser, tmp_path):
    (tmp_path / "index.html").write_text(page({"camvid": _board()}), "utf-8")
    browser.show(tmp_path / "index.html")
    return browser


NAMES = "[...document.querySelectorAll('#camvid table')[0].tBodies[0].rows].map(row => row.cells[0].textContent)"
HEAD = "[...document.querySelectorAll('#camvid table')[0].tHead.rows[0].cells].find(head => head.textContent === '{}')"


def test_a_click_on_a_heading_sorts_and_another_turns_it_round(opened):
    assert opened.evaluate(NAMES) == ["unet", "fcn<8>", "segnet", "unet-2015"]  # by mIoU
    button = HEAD.format("multiply-adds, G") + ".firstElementChild"
    for expected in (["segnet", "unet", "fcn<8>", "unet-2015"], ["fcn<8>", "unet", "segnet", "unet-2015"]):
        opened.click(button)
        assert opened.evaluate(NAMES) == expected  # what is unknown stays at the end
    assert opened.evaluate(HEAD.format("multiply-adds, G") + ".getAttribute('aria-sort')") == "ascending"
    opened.click(HEAD.format("name") + ".firstElementChild")
    assert opened.evaluate(NAMES) == ["fcn<8>", "segnet", "unet", "unet-2015"]
    assert opened.evaluate("document.querySelectorAll('#camvid table')[0].querySelectorAll('[aria-sort]').length") == 1


def test_what_saw_more_than_imagenet_has_a_table_of_its_own():
    shown = page({"camvid": _board().assign(pretraining=["ImageNet", "none", "ImageNet+BSDS500", "none"])})
    ranking, rest = shown.split("<h3>Published")[0].split("<h3>Outside the ranking")
    assert (ranking.count("<tr><td"), rest.count("<tr><td")) == (3, 1)
    assert "ImageNet+BSDS500" in rest and "ImageNet+BSDS500" not in ranking


def test_the_plot_has_a_labelled_point_for_each_row_with_data(opened):
    for kind in ("wide", "narrow"):
        assert opened.evaluate(f"document.querySelectorAll('svg.{kind} circle').length") == 3
        labels = opened.evaluate(f"[...document.querySelectorAll('svg.{kind} .label')].map(label => label.textContent)")
        assert labels == ["unet", "fcn<8>", "segnet"]
    middles = opened.evaluate(
        "[...document.querySelectorAll('svg.wide circle')].map(c => [c.cx, c.cy].map(v => v.baseVal.value))"
    )
    unet, fcn, segnet = middles
    assert fcn[0] < unet[0] < segnet[0]  # dearer to the right
    assert unet[1] < fcn[1] < segnet[1]  # better further up


def test_the_page_asks_for_nothing_and_complains_of_nothing(opened):
    asked = [event["request"]["url"].split(":")[0] for event in opened.told("Network.requestWillBeSent")]
    assert set(asked) <= {"file", "data"} and asked.count("file") == 1
    assert opened.told("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded") == []


@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_phone_by_day_and_by_night(opened, tmp_path, dark):
    opened.show(tmp_path / "index.html", width=360, height=740, dark=dark)
    assert opened.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    shown = [
        kind
        for kind in ("wide", "narrow")
        if opened.evaluate(f"getComputedStyle(document.querySelector('svg.{kind}')).display") != "none"
    ]
    assert shown == ["narrow"]
    ground = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (not dark)


def test_labels_do_not_cover_one_another(opened):
    boxes = opened.evaluate(
        "[...document.querySelectorAll('svg.wide .label')].map(label => label.getBBox())"
        ".map(box => [box.x, box.y, box.x + box.width, box.y + box.height])"
    )
    for place, one in enumerate(boxes):
        for other in boxes[place + 1 :]:
            assert min(one[2], other[2]) <= max(one[0], other[0]) or min(one[3], other[3]) <= max(one[1], other[1])


def test_the_page_in_the_repository_is_of_the_leaderboards():
    boards = {path.stem: leaderboard.read(path) for path in sorted(leaderboard.LEADERBOARDS.glob("*.csv"))}
    assert (leaderboard.LEADERBOARDS / "index.html").read_text("utf-8") == page(boards)
