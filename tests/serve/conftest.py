"""A model whose answer is known, requests to its service, and its page in a browser."""

import asyncio
import contextlib
import io
import threading
import time

import httpx
import keras
import numpy as np
import pytest
import uvicorn
from PIL import Image

from kseg import pretrained

CLASSES, PALETTE = ("background", "green", "blue"), ((10, 20, 30), (0, 200, 0), (0, 0, 250))
SIZES = ((1280, 900), (420, 800))
"""Width and height of the browser's window."""


@pytest.fixture(scope="session")
def brightest():
    """A model that labels each pixel with its brightest color."""
    image = keras.Input((None, None, 3))
    layer = keras.layers.Conv2D(3, 1)
    model = pretrained.SegmentationModel.of(
        keras.Model(image, layer(image), name="brightest"), classes=CLASSES, palette=PALETTE
    )
    layer.set_weights([np.eye(3)[None, None], np.zeros(3)])
    return model


@pytest.fixture(scope="session")
def picture():
    """Areas of the three classes, uint8 `(6, 8, 3)`: red, a green and a blue rectangle."""
    found = np.zeros((6, 8, 3), "uint8")
    found[..., 0] = 100
    found[1:3, 1:4, 1], found[4:, 5:, 2] = 200, 200
    return found


def encoded(picture, kind="PNG", **options):
    """An image file."""
    file = io.BytesIO()
    np.save(file, picture) if kind == "NumPy" else Image.fromarray(picture).save(file, kind, **options)
    return file.getvalue()


def ask(app, *requests):
    """Sends requests `(method, address, options)` at once, and returns the answers."""

    async def run():
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://kseg") as client:
            return await asyncio.gather(*(client.request(*place, **options) for *place, options in requests))

    return asyncio.run(run())


def post(app, content, query="", **options):
    return ask(app, ("POST", f"/predict?{query}", {"content": content, **options}))[0]


def refused(answer, status):
    """Returns the message of an error."""
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"] and "\n" not in answer.text
    return answer.json()["error"]


@contextlib.contextmanager
def running(app):
    """Runs a service in a thread, and gives its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    server.should_exit = True
    thread.join()


@contextlib.contextmanager
def opened(browser, address, size):
    """Opens the page in a window; the page has the messages of its console and the addresses of its requests."""
    page = browser.new_page(viewport={"width": size[0], "height": size[1]})
    page.set_default_timeout(20000)
    page.noticed, page.hosts = [], set()
    page.on("console", lambda message: page.noticed.append(message.text))
    page.on("pageerror", lambda error: page.noticed.append(str(error)))
    page.on("request", lambda request: page.hosts.add(request.url.split("/predict")[0].split("/model")[0] + "/"))
    page.goto(address)
    yield page
    page.close()


def fits(page):
    """Returns whether the page is not wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
