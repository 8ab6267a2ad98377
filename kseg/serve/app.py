"""The application: `POST /predict`, `GET /models`, `GET /model`, `GET /health`, and a page to try them."""

import contextlib
import pathlib
from collections.abc import AsyncIterator, Collection, Sequence
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, Response
from starlette.exceptions import HTTPException

import kseg
from kseg import inference
from kseg.serve.examples import Example
from kseg.serve.hosts import OwnHosts
from kseg.serve.limits import Limits
from kseg.serve.models import NamedModel
from kseg.serve.options import Options
from kseg.serve.refusal import RefusedError, in_json
from kseg.serve.service import Service
from kseg.serve.uploads import drain

PAGE = pathlib.Path(__file__).with_name("page.html")
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; connect-src 'self'"
)
"""Content security policy of the page, which loads nothing from elsewhere."""


def create_app(
    models: inference.Predictor | Sequence[NamedModel],
    limits: Limits = Limits(),
    *,
    hosts: Collection[str] | None = None,
    examples: Sequence[Example] = (),
) -> FastAPI:
    """Makes the service of a model or several, an application for uvicorn or any other ASGI server.

    Requests are answered one after the other, since a model uses all cores of a processor, or its whole accelerator.

    Args:
        models: A predictor, which you must not use elsewhere while the service runs; or several named models, of which
            the first one answers requests that name none.
        limits: What the service takes.
        hosts: The names and addresses under which the service may be called, without ports, such as
            `kseg.serve.LOOPBACK`; others, and pages of other services, get status 403. None allows all: for services
            that other machines use.
        examples: Images that the page offers.

    Returns:
        The application.

    Raises:
        ValueError: If there are no models, or two have the same name.
    """
    if not isinstance(models, Sequence):
        predictor = models
        models = [NamedModel(predictor.model.name, lambda: predictor)]
        models[0].answers  # noqa: B018  # loaded, so that `GET /model` never waits
    service = Service(models, limits)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        service.pool.shutdown(wait=False, cancel_futures=True)

    title = f"kseg: {', '.join(service.models)}"
    app = FastAPI(title=title, version=kseg.__version__, docs_url=None, redoc_url=None, lifespan=lifespan)
    if hosts is not None:
        app.add_middleware(OwnHosts, hosts=hosts)
    upload = {"schema": {"type": "string", "format": "binary"}}
    body = {"requestBody": {"required": True, "content": {"image/*": upload}}}

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(PAGE.read_text("utf-8"), headers={"Content-Security-Policy": POLICY})

    @app.get("/models")
    async def list_models() -> dict[str, Any]:
        """List the names of the models, whether each is loaded, and the example images."""
        return {
            "models": [{"name": model.name, "loaded": model.loaded} for model in service.models.values()],
            "examples": [
                {"name": example.name, "address": f"examples/{index}", "models": example.models}
                for index, example in enumerate(examples)
            ],
        }

    @app.get("/model")
    async def model(model: str | None = None) -> dict[str, Any]:
        """Describe a model, by default the first one, its classes and the limits of the service."""
        return await service.description(model)

    @app.get("/examples/{index}", response_class=Response)
    async def example(index: int) -> Response:
        """Send an example image, by its position in `GET /models`."""
        if not 0 <= index < len(examples):
            raise RefusedError(404, f"there is no example {index}: GET /models lists the examples")
        return Response(examples[index].content, media_type="image/png")

    @app.get("/health")
    async def health() -> dict[str, Any]:
        """Say that the service runs, how many requests it is answering, and how many uploads it is reading."""
        return {"status": "ok", "requests": service.taken, "most": limits.places, "uploads": service.uploads}

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
        return in_json(error.status, str(error), error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        await drain(request)
        found = error.errors()[0]
        name = ".".join(map(str, found["loc"][1:]))
        if found["type"] == "extra_forbidden":
            return in_json(400, f"unknown option {name!r}: there are {', '.join(Options.model_fields)}")
        if not name:
            return in_json(400, found["msg"].removeprefix("Value error, "))
        return in_json(400, f"{name}={found['input']!s:.40}: {found['msg']}")

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        places = "POST /predict, GET /models, GET /model, GET /health, GET /"
        return in_json(error.status_code, f"{error.detail}: there are {places}", error.headers)

    @app.exception_handler(Exception)
    async def fault(request: Request, error: Exception) -> Response:
        return in_json(500, "a fault of the service, whose log has the details")
