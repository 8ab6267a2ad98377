"""The service: takes uploads, labels them one after the other, and refuses what is too much."""

import asyncio
import dataclasses
import io
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi import Request
from fastapi.responses import Response

import kseg
from kseg import inference, visualize
from kseg.classes import default_names
from kseg.data import read_picture
from kseg.data.wording import reword
from kseg.serve.answers import ANSWERS, Answers
from kseg.serve.claims import KINDS, check_claims
from kseg.serve.limits import Limits
from kseg.serve.options import Options
from kseg.serve.refusal import RefusedError
from kseg.serve.sending import PacedResponse
from kseg.serve.uploads import read_body


class Service:
    """Labels uploads with a predictor, one at a time, in a thread of its own.

    Uploads hold memory while they are read (`held` of `limits.memory` bytes). A complete one takes a place (`taken` of
    `limits.places`) until its answer is sent, so that slow clients cannot keep others from being answered.

    Args:
        predictor: The predictor. Its `warn` is replaced, as each answer names what is doubtful about its image.
        limits: What the service takes.
    """

    def __init__(self, predictor: inference.Predictor, limits: Limits):
        self.predictor, self.limits = predictor, limits
        predictor.warn = lambda name, doubt: None
        model, count = predictor.model, max(2, predictor.channels)
        self.name: str = model.name
        classes = list(getattr(model, "classes", ()) or default_names(count))
        palette = [tuple(color) for color in getattr(model, "palette", ()) or visualize.default_palette(count)]
        background = inference.background(classes, binary=predictor.channels == 1)
        self.answers = Answers(classes, palette, background)
        self.uploads, self.held = 0, 0  # changed by the event loop alone
        self.taken, self.lock = 0, threading.Lock()
        self.pool = ThreadPoolExecutor(1, "kseg-serve")
        self.lasted = 1.0  # seconds of one request, a running mean

    def description(self) -> dict[str, Any]:
        """Returns the answer of `GET /model`."""
        answers = self.answers
        colors = ["#" + bytes(color).hex() for color in answers.palette]
        return {
            "name": self.name,
            "classes": [
                {"id": index, "class": name, "color": color, "background": index in answers.background}
                for index, (name, color) in enumerate(zip(answers.classes, colors, strict=True))
            ],
            "bands": self.predictor.bands,
            "pixels": self.predictor.pixels.to_json(),
            "uploads": list(dict.fromkeys(KINDS.values())),
            "formats": [*ANSWERS, "json"],
            "limits": dataclasses.asdict(self.limits),
            "kseg": kseg.__version__,
        }

    async def answer(self, request: Request, options: Options) -> Response:
        """Reads an upload, waits for its turn, and returns its label map; raises `RefusedError`."""
        started = time.monotonic()
        self._check_places()
        try:
            async with asyncio.timeout(self.limits.seconds):
                content = await self._read(request)
        except TimeoutError:
            raise RefusedError(408, f"the upload took over {self.limits.seconds:g} s: send it faster") from None
        with self.lock:
            self._check_places()
            self.taken += 1
        job = self.pool.submit(self._work, content, options)
        del content
        try:
            left = self.limits.seconds - (time.monotonic() - started)
            body, media, headers = await asyncio.wait_for(asyncio.wrap_future(job), left)
        except BaseException as error:
            job.add_done_callback(lambda _: self._release())  # work that has begun goes on
            if isinstance(error, TimeoutError):
                message = f"no answer within {self.limits.seconds:g} s: send a smaller image, or try again"
                raise self._busy(message) from None
            raise
        return PacedResponse(body, media_type=media, headers=headers, seconds=self.limits.seconds, on_end=self._release)

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

    def _work(self, content: bytes, options: Options) -> tuple[bytes, str, dict[str, str]]:
        """Labels an upload; called in the thread of the pool. Returns the body, its media type, and headers."""
        started = time.monotonic()
        doubts: list[str] = []
        try:
            pixels = options.pixels(self.predictor.pixels)
            most = self.limits.pixels * max(16, 8 * self.predictor.bands)
            check_claims(content, most_pixels=self.limits.pixels, most_bytes=most)
            image = read_picture(io.BytesIO(content), pixels, on_warning=lambda _, doubt: doubts.append(_worded(doubt)))
            label = self.predictor(image)
            body, media = self.answers.encode(image, label, options.format, picture=options.picture, doubts=doubts)
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
        text = "; ".join(doubts).encode("ascii", "replace").decode()
        return body, media, {"Kseg-Warning": text} if doubts else {}


def _worded(text: str) -> str:
    return reword(text, "query")
