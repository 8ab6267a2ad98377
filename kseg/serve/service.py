"""The service: takes uploads, labels them one after the other, and refuses what is too much."""

import asyncio
import dataclasses
import io
import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import Response

import kseg
from kseg import inference
from kseg.data import read_picture
from kseg.data.wording import reword
from kseg.serve.claims import KINDS, check_claims
from kseg.serve.limits import Limits
from kseg.serve.models import NamedModel
from kseg.serve.options import Options
from kseg.serve.refusal import RefusedError
from kseg.serve.sending import PacedResponse
from kseg.serve.uploads import read_body

Result = TypeVar("Result")


class Service:
    """Labels uploads with one of its models, one at a time, in a thread of its own.

    Uploads hold memory while they are read (`held` of `limits.memory` bytes). A complete one takes a place (`taken` of
    `limits.places`) until its answer is sent, so that slow clients cannot keep others from being answered.

    Args:
        models: The models; the first one answers requests that name none.
        limits: What the service takes.

    Raises:
        ValueError: If there are no models, or two have the same name.
    """

    def __init__(self, models: Sequence[NamedModel], limits: Limits):
        self.models, self.limits = {model.name: model for model in models}, limits
        if not models or len(self.models) < len(models):
            raise ValueError(f"models must have different names, got {[model.name for model in models]}")
        self.uploads, self.held = 0, 0  # changed by the event loop alone
        self.taken, self.lock = 0, threading.Lock()
        self.pool = ThreadPoolExecutor(1, "kseg-serve")
        self.lasted = 1.0  # seconds of one request, a running mean

    def named(self, name: str | None) -> NamedModel:
        """Returns a model by its name, the first one for None; raises `RefusedError`."""
        if name is None:
            return next(iter(self.models.values()))
        if name not in self.models:
            raise RefusedError(404, f"no model is called {name[:100]!r}: there are {', '.join(self.models)}")
        return self.models[name]

    async def description(self, name: str | None) -> dict[str, Any]:
        """Returns the answer of `GET /model`; a model that was not used before is loaded in its turn."""
        model = self.named(name)
        if not model.loaded:
            await self._in_turn(self.limits.seconds, "try again", model.description)
            self._release()
        return {
            **model.description(),
            "uploads": list(dict.fromkeys(KINDS.values())),
            "limits": dataclasses.asdict(self.limits),
            "kseg": kseg.__version__,
        }

    async def answer(self, request: Request, options: Options) -> Response:
        """Reads an upload, waits for its turn, and returns its label map; raises `RefusedError`."""
        started = time.monotonic()
        model = self.named(options.model)
        self._check_places()
        try:
            async with asyncio.timeout(self.limits.seconds):
                content = await self._read(request)
        except TimeoutError:
            raise RefusedError(408, f"the upload took over {self.limits.seconds:g} s: send it faster") from None
        left = self.limits.seconds - (time.monotonic() - started)
        cure = "send a smaller image, or try again"
        body, media, headers = await self._in_turn(left, cure, self._work, model, content, options)
        return PacedResponse(body, media_type=media, headers=headers, seconds=self.limits.seconds, on_end=self._release)

    async def _in_turn(self, left: float, cure: str, work: Callable[..., Result], *arguments: Any) -> Result:
        """Takes a place, which the caller releases, and calls a function in the thread, for `left` s at most."""
        with self.lock:
            self._check_places()
            self.taken += 1
        job = self.pool.submit(work, *arguments)
        del arguments
        try:
            return await asyncio.wait_for(asyncio.wrap_future(job), left)
        except BaseException as error:
            job.add_done_callback(lambda _: self._release())  # work that has begun goes on
            if isinstance(error, TimeoutError):
                raise self._busy(f"no answer within {self.limits.seconds:g} s: {cure}") from None
            raise

    async def _read(self, request: Request) -> bytes:
        own = 0

        def hold(size: int) -> None:
            nonlocal own
            if self.held + size > self.limits.memory:
                raise self._busy("too many uploads are being read: try again later")
            own += size
            self.held += size

        self.uploads += 1
        try:
            return await read_body(request, self.limits.upload_bytes, hold)
        finally:
            self.uploads -= 1
            self.held -= own

    def _check_places(self) -> None:
        if self.taken >= self.limits.places:
            raise self._busy(f"the service is busy, requests before this one: {self.taken}; try again later")

    def _release(self) -> None:
        with self.lock:
            self.taken -= 1

    def _busy(self, message: str) -> RefusedError:
        return RefusedError(503, message, Retry_After=str(math.ceil(self.lasted * max(1, self.taken))))

    def _work(self, model: NamedModel, content: bytes, options: Options) -> tuple[bytes, str, dict[str, str]]:
        """Labels an upload; called in the thread of the pool. Returns the body, its media type, and headers."""
        predictor, answers = model.predictor, model.answers  # loaded here, where an error is no mistake of the client
        started = time.monotonic()
        doubts: list[str] = []
        try:
            pixels = options.pixels(predictor.pixels)
            most = self.limits.pixels * max(16, 8 * predictor.bands)
            check_claims(content, most_pixels=self.limits.pixels, most_bytes=most)
            image = read_picture(io.BytesIO(content), pixels, on_warning=lambda _, doubt: doubts.append(_worded(doubt)))
            read = time.monotonic()
            label = predictor(image)
            predicted = time.monotonic()
            body, media = answers.encode(image, label, options.format, picture=options.picture, doubts=doubts)
        except RefusedError:
            raise
        except Exception as error:  # backends have error types of their own
            if inference.is_out_of_memory(error):
                raise RefusedError(413, "there is not enough memory for this image: send a smaller one") from None
            if isinstance(error, ValueError):
                raise RefusedError(422, _worded(str(error))) from None
            raise
        finally:
            self.lasted = 0.8 * self.lasted + 0.2 * (time.monotonic() - started)
        parts = {"read": read - started, "predict": predicted - read, "write": time.monotonic() - predicted}
        headers = {"Server-Timing": ", ".join(f"{name};dur={1000 * spent:.1f}" for name, spent in parts.items())}
        text = "; ".join(doubts).encode("ascii", "replace").decode()
        return body, media, headers | ({"Kseg-Warning": text} if doubts else {})


def _worded(text: str) -> str:
    return reword(text, "query")
