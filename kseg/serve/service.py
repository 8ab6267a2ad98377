"""The service: `POST /predict`, `GET /model`, `GET /health`, and a page to try them."""

import asyncio
import base64
import contextlib
import dataclasses
import io
import json
import math
import pathlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.exceptions import HTTPException

import kseg
from kseg import inference, visualize
from kseg.data import Pixels, read_picture
from kseg.data.wording import reword
from kseg.serve.uploads import KINDS, RefusedError, check_claims, drain, read_body

PAGE = pathlib.Path(__file__).with_name("page.html")
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; connect-src 'self'"
)
"""Content security policy of the page, which loads nothing from elsewhere."""
FORMATS: dict[str, tuple[type[inference.Format], str]] = {
    "png": (inference.FORMATS["png"], "image/png"),
    "overlay": (inference.Overlays, "image/jpeg"),
    "geojson": (inference.FORMATS["geojson"], "application/geo+json"),
    "coco": (inference.FORMATS["coco"], "application/json"),
}
MOST_RUNS = 2**18
"""Most changes of the label along rows or columns in a label map that becomes GeoJSON or COCO."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """What the service takes.

    Attributes:
        upload_bytes: Largest size of an upload.
        pixels: Largest height times width of an image.
        queue: Most requests that wait for the one that is worked on.
        seconds: Longest time from the first byte of a request to its answer.
    """

    upload_bytes: int = 32_000_000
    pixels: int = 25_000_000
    queue: int = 16
    seconds: float = 60.0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if not getattr(self, field.name) > (-1 if field.name == "queue" else 0):  # also not a number
                raise ValueError(f"{field.name} must be positive, got {getattr(self, field.name)}")


class Options(BaseModel):
    """The query of `POST /predict`."""

    model_config = ConfigDict(extra="forbid")

    format: Literal["png", "overlay", "geojson", "coco", "json"] = Field(
        "png",
        description="png: class ids with the palette; overlay: a JPEG picture; geojson and coco: objects in pixels; "
        "json: the areas of the classes and the PNG mask as a data URL.",
    )
    range: str | None = Field(None, description="The image values that are black and white: 0,4095, or percentile.")
    bands: str | None = Field(None, description="The bands to use, counted from 1: 4,3,2.")
    page: int | None = Field(None, ge=1, description="The page of a file with several, counted from 1.")
    picture: bool = Field(False, description="Whether json contains the image too, as a data URL.")

    @model_validator(mode="after")
    def _check_format(self) -> "Options":
        if self.picture and self.format != "json":
            raise ValueError("picture is for format=json")
        return self

    def pixels(self, trained: Pixels) -> Pixels:
        """Returns what the numbers of the upload mean: what the model was trained on, unless stated."""
        stated: dict[str, Any] = {} if self.page is None else {"page": self.page}
        if self.range is not None:
            stated["range"] = "percentile" if self.range == "percentile" else _numbers("range", self.range, float)
        if self.bands is not None:
            stated["bands"] = _numbers("bands", self.bands, int)
        found = dataclasses.replace(trained, **stated)
        if found.channels != trained.channels:
            raise ValueError(f"the model takes {trained.channels} bands, got bands={self.bands}")
        return found


class Service:
    """Labels uploads with a predictor, one at a time, in a thread of its own.

    Args:
        predictor: The predictor. Its `warn` is replaced, as each answer names what is doubtful about its image.
        limits: What the service takes.
    """

    def __init__(self, predictor: inference.Predictor, limits: Limits):
        self.predictor, self.limits = predictor, limits
        predictor.warn = lambda name, doubt: None
        model, count = predictor.model, max(2, predictor.channels)
        self.name: str = model.name
        self.classes = list(getattr(model, "classes", ())) or [f"class {index}" for index in range(count)]
        self.palette = [tuple(color) for color in getattr(model, "palette", ()) or visualize.default_palette(count)]
        self.background = inference.background(self.classes, binary=predictor.channels == 1)
        self.taken, self.lock = 0, threading.Lock()
        self.pool = ThreadPoolExecutor(1, "kseg-serve")
        self.lasted = 1.0  # seconds of one request, a running mean

    def description(self) -> dict[str, Any]:
        """Returns the answer of `GET /model`."""
        rows = enumerate(zip(self.classes, self.palette, strict=True))
        return {
            "name": self.name,
            "classes": [
                {"id": index, "class": name, "color": "#" + bytes(color).hex(), "background": index in self.background}
                for index, (name, color) in rows
            ],
            "bands": self.predictor.bands,
            "pixels": self.predictor.pixels.to_json(),
            "uploads": list(dict.fromkeys(KINDS.values())),
            "formats": [*FORMATS, "json"],
            "limits": dataclasses.asdict(self.limits),
            "kseg": kseg.__version__,
        }

    async def answer(self, request: Request, options: Options) -> Response:
        """Reads an upload, waits for its turn, and returns its label map; raises `RefusedError`."""
        started = time.monotonic()
        with self.lock:
            if self.taken > self.limits.queue:
                raise self._busy(f"{self.taken} requests are being answered: try again later")
            self.taken += 1
        job = None
        try:
            async with asyncio.timeout(self.limits.seconds):
                content = await read_body(request, self.limits.upload_bytes)
            job = self.pool.submit(self._work, content, options)
            job.add_done_callback(lambda _: self._release())
            del content
            left = self.limits.seconds - (time.monotonic() - started)
            return await asyncio.wait_for(asyncio.wrap_future(job), left)
        except TimeoutError:
            if job is None:
                raise RefusedError(408, f"the upload took over {self.limits.seconds:g} s: send it faster") from None
            message = f"no answer within {self.limits.seconds:g} s: send a smaller image, or try again"
            raise self._busy(message) from None
        finally:
            if job is None:
                self._release()

    def _release(self) -> None:
        with self.lock:
            self.taken -= 1

    def _busy(self, message: str) -> RefusedError:
        return RefusedError(503, message, Retry_After=str(math.ceil(self.lasted * max(1, self.taken))))

    def _work(self, content: bytes, options: Options) -> Response:
        """Labels an upload; called in the thread of the pool."""
        started = time.monotonic()
        doubts: list[str] = []
        try:
            pixels = options.pixels(self.predictor.pixels)
            most = self.limits.pixels * max(16, 8 * self.predictor.bands)
            check_claims(content, most_pixels=self.limits.pixels, most_bytes=most)
            image = read_picture(io.BytesIO(content), pixels, on_warning=lambda _, doubt: doubts.append(_worded(doubt)))
            label = self.predictor(image)
            body, kind = self._encoded(image, label, options, doubts)
        except MemoryError:
            raise RefusedError(413, "there is not enough memory for this image: send a smaller one") from None
        except ValueError as error:
            raise RefusedError(422, _worded(str(error))) from None
        finally:
            self.lasted = 0.8 * self.lasted + 0.2 * (time.monotonic() - started)
        text = "; ".join(doubts).encode("ascii", "replace").decode()
        return Response(body, media_type=kind, headers={"Kseg-Warning": text} if doubts else None)

    def _encoded(self, image: np.ndarray, label: np.ndarray, options: Options, doubts: list[str]) -> tuple[bytes, str]:
        """Returns the answer and its media type."""
        if options.format == "json":
            summary = self._summary(image, label, options.picture) | {"warnings": doubts}
            return json.dumps(summary).encode(), "application/json"
        if options.format in ("geojson", "coco"):
            runs = max(np.count_nonzero(label[1:] != label[:-1]), np.count_nonzero(label[:, 1:] != label[:, :-1]))
            if runs > MOST_RUNS:
                raise ValueError(
                    f"the label map changes {runs:,} times along its rows or columns, more than {MOST_RUNS:,}: "
                    "take format=png, or send a smaller image"
                )
        kind, media = FORMATS[options.format]
        form = kind(self.classes, self.palette, inference.Details(self.background))
        return form.head() + form.encode("image", image, label) + form.tail(), media

    def _summary(self, image: np.ndarray, label: np.ndarray, picture: bool) -> dict[str, Any]:
        counts = np.bincount(label.reshape(-1), minlength=len(self.classes)).tolist()
        areas = [
            {"id": index, "class": name, "pixels": counts[index], "share": round(counts[index] / label.size, 6)}
            for index, name in enumerate(self.classes)
        ]
        if label.dtype == np.uint8:
            mask = FORMATS["png"][0](self.classes, self.palette).encode("image", image, label)
        else:  # browsers show 16-bit gray, not its colors
            mask = _png(visualize.colorize(label, self.palette))
        found: dict[str, Any] = {"height": label.shape[0], "width": label.shape[1], "areas": areas, "mask": _url(mask)}
        return found | ({"picture": _url(_png(visualize.rgb(image)))} if picture else {})


def create_app(predictor: inference.Predictor, limits: Limits = Limits()) -> FastAPI:
    """Makes the service of a predictor, an application for uvicorn or any other ASGI server.

    Requests are answered one after the other, since a model uses all cores of a processor, or its whole accelerator.

    Args:
        predictor: The predictor; do not use it elsewhere while the service runs.
        limits: What the service takes.

    Returns:
        The application.

    Raises:
        ImportError: If FastAPI is not installed.
    """
    service = Service(predictor, limits)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        service.pool.shutdown(wait=False, cancel_futures=True)

    app = FastAPI(
        title=f"kseg: {service.name}", version=kseg.__version__, docs_url=None, redoc_url=None, lifespan=lifespan
    )
    upload = {"schema": {"type": "string", "format": "binary"}}
    body = {"requestBody": {"required": True, "content": {"image/*": upload}}}

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(PAGE.read_text("utf-8"), headers={"Content-Security-Policy": POLICY})

    @app.get("/model")
    async def model() -> dict[str, Any]:
        """Describe the model, its classes and the limits of the service."""
        return service.description()

    @app.get("/health")
    async def health() -> dict[str, Any]:
        """Say that the service runs, and how many requests it is answering."""
        return {"status": "ok", "requests": service.taken, "most": limits.queue + 1}

    @app.post("/predict", openapi_extra=body, response_class=Response)
    async def predict(request: Request, options: Annotated[Options, Query()]) -> Response:
        """Label one image; the body is the file."""
        return await service.answer(request, options)

    _answer_errors(app)
    return app


def _answer_errors(app: FastAPI) -> None:
    """Answers every error with one line of JSON."""

    @app.exception_handler(RefusedError)
    async def refused(request: Request, error: RefusedError) -> Response:
        await drain(request)
        return _error(error.status, str(error), error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        await drain(request)
        found = error.errors()[0]
        name = ".".join(map(str, found["loc"][1:]))
        if found["type"] == "extra_forbidden":
            return _error(400, f"unknown option {name!r}: there are {', '.join(Options.model_fields)}")
        if not name:
            return _error(400, found["msg"].removeprefix("Value error, "))
        return _error(400, f"{name}={found['input']!s:.40}: {found['msg']}")

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        places = "POST /predict, GET /model, GET /health, GET /"
        return _error(error.status_code, f"{error.detail}: there are {places}", error.headers)

    @app.exception_handler(Exception)
    async def fault(request: Request, error: Exception) -> Response:
        return _error(500, "a fault of the service, whose log has the details")


def _error(status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": " ".join(message.split())}, status, headers=dict(headers or {}))


def _worded(text: str) -> str:
    return reword(text, "query")


def _png(picture: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "PNG", compress_level=1)
    return content.getvalue()


def _url(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def _numbers(name: str, text: str, kind: Callable[[str], Any]) -> tuple[Any, ...]:
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError:
        example = "0,4095, or percentile" if name == "range" else "4,3,2"
        raise ValueError(f"{name} takes numbers such as {example}, got {text[:40]!r}") from None
