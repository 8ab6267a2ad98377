"""The page docs/browser, in Chromium with onnxruntime-web.

`npm install --prefix docs/browser` installs onnxruntime-web. Without it, a stand-in tells light pixels from dark ones,
so that all other parts of the page are still tested.
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


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of the page with a model: a released one on TensorFlow, whose models can be converted."""
    folder = tmp_path_factory.mktemp("browser")
    shutil.copy(PAGE / "index.html", folder)
    installed = (PAGE / RUNTIME).is_file()
    if installed:
        (folder / "node_modules").symlink_to(PAGE / "node_modules", target_is_directory=True)
    else:
        (folder / RUNTIME).parent.mkdir(parents=True)
        (folder / RUNTIME).write_text(STAND_IN)
    if installed and keras.backend.backend() == "tensorflow":
        model = zoo.load("unet-efficientnet_lite0-camvid")
        export.export(model, folder / "model.onnx", format="onnx", output="labels")
    else:
        brightness.write(folder / "model.onnx", labels=True)
    return folder


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


def test_a_photo_is_labeled_and_its_labels_are_drawn_over_it(folder, browser):
    image, _ = data.streets("test", count=1, size=(96, 131))[0]
    predictor = Predictor(folder / "model.onnx")
    size = {"width": 400, "height": 700}
    with served(folder) as address, contextlib.closing(browser.new_page(viewport=size)) as page:
        hosts, messages = set(), []
        page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.goto(address)
        page.wait_for_selector("#file:enabled", timeout=60_000)
        assert page.text_content("#status") == "Choose a photo."
        choose(page, encoded(image), "photo.png: labeled in")
        expected = predictor(image)
        assert (shown(page) == np.array(predictor.model.palette)[expected]).all(-1).mean() > 0.99
        ids, counts = np.unique(expected, return_counts=True)
        legend = page.locator("#legend li").all_text_contents()
        assert [text.split()[0] for text in legend] == [predictor.model.classes[index] for index in ids]
        assert float(legend[0].split()[1]) == pytest.approx(100 * counts[0] / expected.size, abs=1)
        page.locator("#opacity").fill("0.25")
        assert page.evaluate("getComputedStyle(overlay).opacity") == "0.25"
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        text = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no image"}
        choose(page, text, "notes.txt was not labeled: ")
        choose(page, encoded(np.full((20, 1280, 3), 255, "uint8")), "photo.png: labeled in")
        assert shown(page).shape == (10, 640, 3)
    assert hosts == {address.split("/")[2]} and not messages


def test_what_keeps_the_page_from_working_is_said(folder, browser, tmp_path):
    for name in ("index.html", RUNTIME):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "index.html").write_bytes((PAGE / "index.html").read_bytes())
    (tmp_path / RUNTIME).write_text(STAND_IN)
    brightness.write(tmp_path / "model.onnx")
    with served(tmp_path) as address, contextlib.closing(browser.new_page()) as page:
        page.goto(address)
        page.wait_for_function("document.querySelector('#status').textContent.includes('kseg export --labels')")
        assert page.locator("#file").is_disabled()
