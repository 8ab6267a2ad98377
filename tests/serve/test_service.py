"""The answers of the service, in this process."""

import asyncio
import base64
import io
import json
import threading
import tracemalloc

import httpx
import numpy as np
import pytest
import tifffile
from PIL import Image

from benchmarks.experiments import _hostile
from kseg.data import Pixels
from kseg.inference import Predictor
from kseg.serve import LOOPBACK, Limits, answers, create_app, limits
from kseg.serve.claims import check_claims
from tests.export import brightness
from tests.serve.conftest import CLASSES, PALETTE, ask, encoded, post, refused


@pytest.fixture(scope="module")
def app(brightest):
    return create_app(Predictor(brightest), Limits(upload_bytes=10**6, pixels=10**4))


@pytest.fixture
def label(picture):
    return picture.argmax(axis=-1).astype("uint8")


@pytest.mark.parametrize("kind", ["PNG", "WebP", "BMP", "PPM", "TIFF", "NumPy"])
def test_the_mask_of_every_lossless_format_has_the_labels_and_the_palette(app, picture, label, kind):
    content = encoded(picture, kind, **({"lossless": True} if kind == "WebP" else {}))
    answer = post(app, content)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    mask = Image.open(io.BytesIO(answer.content))
    np.testing.assert_array_equal(mask, label)
    assert mask.getpalette()[:9] == [value for color in PALETTE for value in color]


def test_a_form_is_refused_with_the_cure(app, picture):
    (answer,) = ask(app, ("POST", "/predict", {"files": {"file": ("photo.png", encoded(picture))}}))
    assert "--data-binary @photo.jpg" in refused(answer, 415)


def test_areas_and_the_mask_as_json(app, picture, label):
    found = post(app, encoded(picture), "format=json&picture=true").json()
    assert [(area["class"], area["pixels"]) for area in found["areas"]] == list(
        zip(CLASSES, np.bincount(label.ravel()).tolist(), strict=True)
    )
    assert found["areas"][1]["share"] == 0.125 and (found["height"], found["width"]) == (6, 8)
    for name, expected in {"mask": label, "picture": picture}.items():
        head, _, content = found[name].partition(",")
        assert head == "data:image/png;base64"
        np.testing.assert_array_equal(Image.open(io.BytesIO(base64.b64decode(content))), expected)


def test_geojson_coco_and_overlay(app, picture):
    found = post(app, encoded(picture), "format=geojson").json()
    assert [one["properties"]["class"] for one in found["features"]] == ["green", "blue"]
    (ring,) = found["features"][0]["geometry"]["coordinates"]
    assert sorted(map(tuple, ring[:-1])) == [(1, 1), (1, 3), (4, 1), (4, 3)]
    found = post(app, encoded(picture), "format=coco").json()
    assert [(one["category_id"], one["area"], one["image_id"]) for one in found["annotations"]] == [
        (1, 6, 1),
        (2, 6, 1),
    ]
    assert [one["name"] for one in found["categories"]] == ["green", "blue"] and found["images"][0]["width"] == 8
    answer = post(app, encoded(picture), "format=overlay")
    assert answer.headers["content-type"] == "image/jpeg" and Image.open(io.BytesIO(answer.content)).width >= 8


def test_the_query_says_what_the_numbers_of_a_file_mean(app, picture, label):
    deep = encoded((picture.astype("uint16") * 16), "NumPy")
    assert np.array_equal(Image.open(io.BytesIO(post(app, deep, "range=0,4095").content)), label)
    assert "range=0,4095" in post(app, deep).headers["kseg-warning"]
    swapped = Image.open(io.BytesIO(post(app, encoded(picture), "bands=3,2,1").content))
    np.testing.assert_array_equal(swapped, 2 - label)
    file = io.BytesIO()
    tifffile.imwrite(file, np.stack([picture, picture[::-1]]), photometric="rgb")
    assert "page=1" in refused(post(app, file.getvalue()), 422)
    second = Image.open(io.BytesIO(post(app, file.getvalue(), "page=2").content))
    np.testing.assert_array_equal(second, label[::-1])


@pytest.mark.parametrize(
    "query, message",
    [
        ("format=exe", "'png'"),
        ("formt=png", "unknown option 'formt': there are format,"),
        ("picture=true", "picture is for format=json"),
        ("page=0", "page=0"),
    ],
)
def test_a_wrong_query_is_refused(app, picture, query, message):
    assert message in refused(post(app, encoded(picture), query), 400)


@pytest.mark.parametrize("query, message", [("range=1", "range"), ("bands=a", "4,3,2"), ("bands=1,2", "takes 3 bands")])
def test_a_wrong_meaning_of_numbers_is_refused(app, picture, query, message):
    assert message in refused(post(app, encoded(picture), query), 422)


def test_uploads_that_are_too_large_are_refused_before_they_are_decoded(app, picture):
    async def endless():
        while True:
            yield bytes(10**5)

    for content in (bytes(10**6 + 1), endless()):
        assert "--max-megabytes" in refused(post(app, content), 413)
    assert "--max-megapixels" in refused(post(app, encoded(np.zeros((101, 100), "uint8"))), 413)
    assert "send the file as the body" in refused(post(app, b""), 400)
    assert "PNG, JPEG" in refused(post(app, b"hello"), 415)


def test_other_addresses_and_methods_are_refused_in_one_line(app):
    answers = ask(app, ("GET", "/predict", {}), ("GET", "/../etc/passwd", {}), ("POST", "/model", {}))
    for answer, status in zip(answers, (405, 404, 405), strict=True):
        assert "POST /predict" in refused(answer, status)


def test_the_model_the_state_and_the_page_are_shown(app):
    model, health, page = ask(app, *(("GET", place, {}) for place in ("/model", "/health", "/")))
    assert model.json()["classes"][0] == {"id": 0, "class": "background", "color": "#0a141e", "background": True}
    assert model.json()["limits"]["pixels"] == 10**4 and "geojson" in model.json()["formats"]
    assert health.json() == {"status": "ok", "requests": 0, "most": 17, "uploads": 0}
    assert "<!doctype html>" in page.text and "default-src 'none'" in page.headers["content-security-policy"]


def test_a_label_map_of_too_many_changes_becomes_no_polygons(app, picture, monkeypatch):
    monkeypatch.setattr(answers, "MOST_RUNS", 5)
    for name in ("geojson", "coco"):
        assert "take format=png" in refused(post(app, encoded(picture), f"format={name}"), 422)


class Slow:
    """A predictor that answers when it is told to."""

    channels, bands, pixels = 3, 3, Pixels()

    def __init__(self, model, fails=None):
        self.model, self.fails = model, fails
        self.started, self.finish = threading.Event(), threading.Event()

    def __call__(self, image):
        self.started.set()
        assert self.finish.wait(20)
        if self.fails:
            raise self.fails
        return np.zeros(image.shape[:2], "uint8")


def test_requests_beyond_the_queue_are_refused_and_those_that_were_taken_answered(brightest, picture):
    predictor = Slow(brightest)
    app = create_app(predictor, Limits(queue=2))

    async def run():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://kseg") as client:

            def send():
                return asyncio.create_task(client.post("/predict", content=encoded(picture)))

            taken = [send() for _ in range(3)]
            await asyncio.to_thread(predictor.started.wait, 20)
            while (await client.get("/health")).json()["requests"] < 3:
                await asyncio.sleep(0.01)
            beyond = await send()
            predictor.finish.set()
            return beyond, await asyncio.gather(*taken), await send()

    beyond, taken, after = asyncio.run(run())
    assert "try again" in refused(beyond, 503) and int(beyond.headers["retry-after"]) >= 1
    assert [answer.status_code for answer in [*taken, after]] == [200] * 4


def test_after_the_time_limit_the_request_is_refused_and_still_counts_until_its_work_ends(brightest, picture):
    predictor = Slow(brightest)
    app = create_app(predictor, Limits(queue=0, seconds=0.2))
    answer = post(app, encoded(picture))
    assert "within 0.2 s" in refused(answer, 503) and "retry-after" in answer.headers
    assert "before this one: 1" in refused(post(app, encoded(picture)), 503)
    predictor.finish.set()

    async def slowly():
        yield b"a"
        await asyncio.sleep(1)

    while ask(app, ("GET", "/health", {}))[0].json()["requests"]:
        pass
    assert "upload took over 0.2 s" in refused(post(app, slowly()), 408)


def test_a_fault_of_the_model_is_an_error_500_without_details_and_the_service_goes_on(brightest, picture):
    predictor = Slow(brightest, RuntimeError("secret"))
    predictor.finish.set()
    app = create_app(predictor)
    assert "secret" not in refused(post(app, encoded(picture)), 500)
    for error in (MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 9 GiB"), ValueError("bad alloc")):
        predictor.fails = error
        assert "not enough memory for this image: send a smaller one" in refused(post(app, encoded(picture)), 413)
    predictor.fails = None
    assert post(app, encoded(picture)).status_code == 200


def test_hostile_uploads_are_refused_and_right_answers_follow(app, picture, label):
    names, contents = zip(*_hostile.hostile(len(_hostile.KINDS)), strict=True)
    answers = ask(app, *(("POST", "/predict?format=png", {"content": content}) for content in contents[:10]))
    for start in range(10, len(contents), 10):
        answers += ask(app, *(("POST", "/predict", {"content": content}) for content in contents[start : start + 10]))
    for name, answer in zip(names, answers, strict=True):
        allowed = {400, 413, 415, 422} | ({200} if name.startswith(("damaged", "truncated", "PNG of any")) else set())
        assert answer.status_code in allowed, (name, answer.text)
        assert answer.status_code == 200 or list(json.loads(answer.text)) == ["error"]
    np.testing.assert_array_equal(Image.open(io.BytesIO(post(app, encoded(picture)).content)), label)


@pytest.mark.parametrize(
    "content, message",
    [
        (_hostile.KINDS["OME of claimed times"](None), "planes"),
        (_hostile.KINDS["OME of claimed planes"](None), "planes"),
        (_hostile.KINDS["OME of huge dimensions"](None), "planes"),
        (_hostile.KINDS["OME of claimed labels"](None), "planes"),
        (_hostile._shared(pages=20, count=1_000_000), "strips"),
        (_hostile._shared(pages=20, count=100_000), "strips"),
        (_hostile._shared(pages=50, count=1_000_000, tag=34675), "tags hold more"),
    ],
)
def test_long_tables_of_tiff_files_are_refused_before_they_are_made(content, message):
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=message):
            check_claims(content, most_pixels=10**6, most_bytes=10**9)
        assert tracemalloc.get_traced_memory()[1] < len(content) * 3 + 2**22
    finally:
        tracemalloc.stop()


def test_a_binary_pnm_file_with_comments_is_read(app, picture, label):
    content = b"P6 # made\n# by hand\n 8 # columns\n6\r255\n" + picture.tobytes()
    np.testing.assert_array_equal(Image.open(io.BytesIO(post(app, content).content)), label)


def test_uploads_that_stall_take_no_places_and_are_refused(brightest, picture, monkeypatch):
    monkeypatch.setattr(limits, "PATIENCE", 1)
    app = create_app(Predictor(brightest), Limits(queue=0, upload_bytes=2000))
    content, going = encoded(picture), asyncio.Event()

    async def stalled(size):
        yield bytes(size)
        await going.wait()

    async def run():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://kseg") as client:

            def send(body):
                return asyncio.create_task(client.post("/predict", content=body))

            slow = [send(stalled(size)) for size in (1, 1, 1, 1850)]  # of 2000 bytes for all uploads together
            while (await client.get("/health")).json()["uploads"] < 4:
                await asyncio.sleep(0.01)
            answered, beyond = await send(content), await send(bytes(200))
            slow = await asyncio.gather(*slow)
            return answered, beyond, slow, await send(content)

    answered, beyond, slow, after = asyncio.run(run())
    assert answered.status_code == 200
    assert "too many uploads" in refused(beyond, 503) and "retry-after" in beyond.headers
    assert all("131,072 bytes in 1 s" in refused(answer, 408) for answer in slow)
    assert after.status_code == 200


def test_an_answer_that_is_not_read_keeps_its_place_for_a_bounded_time(brightest, picture, monkeypatch):
    monkeypatch.setattr(limits, "PATIENCE", 0.3)
    app = create_app(Predictor(brightest), Limits(queue=0))
    scope = {"type": "http", "method": "POST", "path": "/predict", "query_string": b"", "headers": []}
    sent = []

    async def receive():
        return {"type": "http.request", "body": encoded(picture)}

    async def send(message):  # as uvicorn, which waits if the client does not read
        sent.append(message)
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    async def run():
        unread = asyncio.create_task(app(scope, receive, send))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://kseg") as client:
            while len(sent) < 2:
                await asyncio.sleep(0.01)
            meanwhile = await client.post("/predict", content=encoded(picture))
            await unread
            return meanwhile, await client.post("/predict", content=encoded(picture))

    meanwhile, after = asyncio.run(run())
    refused(meanwhile, 503)
    assert after.status_code == 200 and sent[-1]["more_body"]  # the rest was given up


@pytest.mark.parametrize(
    "headers, message",
    [
        ({"host": "127.0.0.1:8000"}, ""),
        ({"host": "[::1]:8000", "origin": "http://[::1]:8000"}, ""),
        ({"host": "LOCALHOST", "origin": "http://localhost"}, ""),
        ({"host": "cells.example:80", "origin": "https://cells.example:80"}, ""),
        ({"host": "evil.example"}, "start it with --allow-host evil.example"),
        ({"host": "127.0.0.1.evil.example"}, "--allow-host"),
        ({"host": "[::1"}, "--allow-host NAME"),
        ({"host": "localhost:8000", "origin": "http://localhost:3000"}, "pages of http://localhost:3000"),
        ({"host": "localhost:8000", "origin": "https://evil.example"}, "pages of https://evil.example"),
        ({"host": "localhost:8000", "origin": "null"}, "pages of null"),
    ],
)
def test_on_loopback_foreign_names_and_pages_of_others_are_refused(brightest, picture, headers, message):
    app = create_app(Predictor(brightest), hosts=[*LOOPBACK, "cells.example"])
    answers = ask(
        app,
        ("POST", "/predict", {"content": encoded(picture), "headers": headers}),
        ("GET", "/model", {"headers": headers}),
    )
    for answer in answers:
        assert answer.status_code == 200 if not message else message in refused(answer, 403)


def test_an_exported_file_is_served(tmp_path, picture):
    app = create_app(Predictor(brightness.write(tmp_path / "model.onnx", labels=True), tile=0))
    mask = Image.open(io.BytesIO(post(app, encoded(picture * 2)).content))
    np.testing.assert_array_equal(mask, brightness.is_light(picture * 2))


@pytest.mark.parametrize(
    "field, message", [("upload_bytes", "positive"), ("pixels", ""), ("queue", "0 or more"), ("seconds", "")]
)
def test_limits_must_be_positive(field, message):
    with pytest.raises(ValueError, match=f"{field} must be {message}"):
        Limits(**{field: -1})
