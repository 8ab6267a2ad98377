"""The page docs/browser, in Chromium with onnxruntime-web.

`npm install --prefix docs/browser` installs onnxruntime-web, and so does `python -m tests` if npm is there. Without it,
one test is skipped; in the others, a stand-in tells light pixels from dark ones.
"""

import contextlib
import functools
import http.server
import io
import pathlib
import shutil
import threading

import keras
import numpy as np
import pytest
from PIL import Image

from kseg import data, export, zoo
from kseg.inference import Predictor
from tests.export import brightness

PAGE = pathlib.Path(__file__).parents[2] / "docs/browser"
RUNTIME = "node_modules/onnxruntime-web/dist/ort.wasm.min.mjs"
STAND_IN = """
export class Tensor { constructor(type, data, dims) { Object.assign(this, { type, data, dims }); } }
const isLight = (data, at) => data[3 * at] + data[3 * at + 1] + data[3 * at + 2] > 384;
const run = async ({ image: { data } }) =>
  ({ output: { data: Uint8Array.from({ length: data.length / 3 }, (_, at) => isLight(data, at)) } });
export const InferenceSession = { create: async () => ({ run }) };
"""


@pytest.fixture
def folder(tmp_path):
    """The page with a model that tells light pixels from dark ones, and the stand-in for the runtime."""
    shutil.copy(PAGE / "index.html", tmp_path)
    (tmp_path / RUNTIME).parent.mkdir(parents=True)
    (tmp_path / RUNTIME).write_text(STAND_IN)
    brightness.write(tmp_path / "model.onnx", labels=True)
    return tmp_path


@pytest.fixture
def released(tmp_path):
    """The page with onnxruntime-web and a released model; only TensorFlow's models can be converted."""
    if not (PAGE / RUNTIME).is_file():
        pytest.skip("onnxruntime-web is not installed: npm install --prefix docs/browser")
    shutil.copy(PAGE / "index.html", tmp_path)
    (tmp_path / "node_modules").symlink_to(PAGE / "node_modules", target_is_directory=True)
    if keras.backend.backend() == "tensorflow":
        model = zoo.load("unet-efficientnet_lite0-camvid")
        export.export(model, tmp_path / "model.onnx", format="onnx", output="labels")
    else:
        brightness.write(tmp_path / "model.onnx", labels=True)
    return tmp_path


@contextlib.contextmanager
def served(folder):
    """Serves a folder on a free port of this computer."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder)) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def encoded(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return {"name": "photo.png", "mimeType": "image/png", "buffer": file.getvalue()}


def shown(page):
    """Returns the pixels of the overlay, `(H, W, 3)`."""
    script = """() => { const { width, height } = overlay;
      const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
      copy.drawImage(overlay, 0, 0);
      return [height, width, [...copy.getImageData(0, 0, width, height).data]]; }"""
    height, width, values = page.evaluate(script)
    return np.array(values, "uint8").reshape(height, width, 4)[..., :3]


def choose(page, file, text):
    page.set_input_files("#file", file)
    page.wait_for_function(f"document.querySelector('#status').textContent.includes({text!r})", timeout=60_000)


@contextlib.contextmanager
def opened(folder, browser, **options):
    """Opens the page; in the end, it has asked no other server and written no messages."""
    with served(folder) as address, contextlib.closing(browser.new_page(**options)) as page:
        hosts, messages = set(), []
        page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.goto(address)
        yield page
        assert hosts == {address.split("/")[2]} and not messages


def is_drawn(page, labels, palette):
    """Whether the overlay has the color of its label nearly everywhere."""
    return (shown(page) == np.array(palette)[labels]).all(-1).mean() > 0.99


def test_onnxruntime_web_labels_a_photo_as_kseg_does(released, browser):
    image, _ = data.streets("test", count=1, size=(96, 131))[0]
    predictor = Predictor(released / "model.onnx")
    with opened(released, browser) as page:
        page.wait_for_selector("#file:enabled", timeout=60_000)
        choose(page, encoded(image), "photo.png: labeled in")
        assert is_drawn(page, predictor(image), predictor.model.palette)


def test_a_photo_is_labeled_and_its_labels_are_drawn_over_it(folder, browser):
    image, _ = data.streets("test", count=1, size=(96, 131))[0]
    expected, model = brightness.is_light(image), Predictor(folder / "model.onnx").model
    with opened(folder, browser, viewport={"width": 400, "height": 700}) as page:
        page.wait_for_selector("#file:enabled")
        assert page.text_content("#status") == "Choose a photo."
        choose(page, encoded(image), "photo.png: labeled in")
        assert is_drawn(page, expected.astype(int), model.palette)
        ids, counts = np.unique(expected.astype(int), return_counts=True)
        legend = page.locator("#legend li").all_text_contents()
        assert [text.split()[0] for text in legend] == [model.classes[index] for index in ids]
        assert float(legend[0].split()[1]) == pytest.approx(100 * counts[0] / expected.size, abs=1)
        page.locator("#opacity").fill("0.25")
        assert page.evaluate("getComputedStyle(overlay).opacity") == "0.25"
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        text = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no image"}
        choose(page, text, "notes.txt was not labeled: ")
        choose(page, encoded(np.full((20, 1280, 3), 255, "uint8")), "photo.png: labeled in")
        assert shown(page).shape == (10, 640, 3)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (RUNTIME, "onnxruntime-web is missing: npm install --prefix docs/browser"),
        ("model.onnx", "model.onnx is missing: kseg export MODEL --format onnx --labels"),
        ("model.onnx.json", "model.onnx.json is missing: kseg export MODEL --format onnx --labels"),
        (None, "its output is not labels: kseg export MODEL --format onnx --labels"),
    ],
)
def test_what_keeps_the_page_from_working_is_named(folder, browser, missing, message):
    if missing:
        (folder / missing).unlink()
    else:
        brightness.write(folder / "model.onnx")
    with served(folder) as address, contextlib.closing(browser.new_page()) as page:
        page.goto(address)
        page.wait_for_function(f"document.querySelector('#status').textContent.includes({message!r})")
        assert page.locator("#file").is_disabled()
