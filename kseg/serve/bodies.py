"""The bodies of requests: files of a bounded size, plain or in a form."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

DRAIN_SECONDS = 2
"""How long the rest of a refused upload is read."""


class RefusedError(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, message: str, **headers: str):
        super().__init__(message)
        self.status, self.headers = status, {name.replace("_", "-"): value for name, value in headers.items()}


async def read_body(request: Request, most: int) -> bytes:
    """Reads the body of a request, or the one file of a form.

    Args:
        request: The request.
        most: Largest number of bytes of the body.

    Returns:
        The file.

    Raises:
        RefusedError: If the body is larger, empty, or broken off.
    """
    content = bytearray()
    too_large = RefusedError(
        413,
        f"the upload has over {most:,} bytes: shrink the image, or start the service with a larger --max-megabytes",
    )
    length = request.headers.get("content-length", "0")
    if length.isdigit() and int(length) > most:
        raise too_large
    try:
        async for chunk in request.stream():
            content += chunk
            if len(content) > most:
                raise too_large
    except ClientDisconnect:
        raise RefusedError(400, "the upload broke off") from None
    body = bytes(content)
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        body = await _file(request, body)
    if not body:
        raise RefusedError(400, "no image: send the file as the body (curl --data-binary @photo.jpg), or in a form")
    return body


async def _file(request: Request, body: bytes) -> bytes:
    async def parts() -> AsyncIterator[bytes]:
        yield body

    try:
        form = await MultiPartParser(request.headers, parts(), max_files=1, max_fields=0).parse()  # type: ignore[arg-type]
    except (MultiPartException, KeyError, ValueError) as error:
        message = getattr(error, "message", "") or "it cannot be read"
        raise RefusedError(400, f"a form must have one file and nothing else: {message}") from None
    try:
        files = [part for _, part in form.multi_items() if not isinstance(part, str)]
        return await files[0].read() if files else b""
    finally:
        await form.close()


async def drain(request: Request) -> None:
    """Reads the rest of a refused upload and drops it, without which many clients would not see the answer."""
    end = time.monotonic() + DRAIN_SECONDS
    with contextlib.suppress(TimeoutError, ClientDisconnect, RuntimeError):
        async with asyncio.timeout(DRAIN_SECONDS):
            async for _ in request.stream():
                await asyncio.sleep(0)  # a fast client would not let other requests, nor the timeout, have a turn
                if time.monotonic() > end:
                    return
