"""Uploads: read up to a bounded size, and no slower than a bounded speed."""

import asyncio
import contextlib
import time
from collections.abc import Callable

from starlette.requests import ClientDisconnect, Request

from kseg.serve import limits
from kseg.serve.refusal import RefusedError

DRAIN_SECONDS = 2
"""How long the rest of a refused upload is read."""


async def read_body(request: Request, most: int, hold: Callable[[int], None]) -> bytes:
    """Reads the body of a request.

    Args:
        request: The request.
        most: Largest number of bytes.
        hold: Called with the number of bytes of each part before it is kept; it may raise `RefusedError`.

    Returns:
        The body.

    Raises:
        RefusedError: If the body is larger, empty, a form, broken off, or slower than `PIECE` bytes in `PATIENCE`
            seconds.
    """
    cure = "send the file as the body of the request (curl --data-binary @photo.jpg)"
    if request.headers.get("content-type", "").startswith("multipart/"):
        raise RefusedError(415, f"the upload is a form: {cure}")
    too_large = RefusedError(
        413,
        f"the upload has over {most:,} bytes: shrink the image, or start the service with a larger --max-megabytes",
    )
    length = request.headers.get("content-length", "0")
    if length.isdigit() and int(length) > most:
        raise too_large
    content, now = bytearray(), asyncio.get_running_loop().time
    counted = 0
    try:
        async with asyncio.timeout(limits.PATIENCE) as pace:
            async for chunk in request.stream():
                if len(content) + len(chunk) > most:
                    raise too_large
                hold(len(chunk))
                content += chunk
                if len(content) - counted >= limits.PIECE:
                    counted = len(content)
                    pace.reschedule(now() + limits.PATIENCE)
    except TimeoutError:
        message = f"the upload is slower than {limits.PIECE:,} bytes in {limits.PATIENCE:g} s: send it faster"
        raise RefusedError(408, message) from None
    except ClientDisconnect:
        raise RefusedError(400, "the upload broke off") from None
    if not content:
        raise RefusedError(400, f"no image: {cure}")
    return bytes(content)


async def drain(request: Request) -> None:
    """Reads the rest of a refused upload and drops it, without which many clients would not see the answer."""
    end = time.monotonic() + DRAIN_SECONDS
    with contextlib.suppress(TimeoutError, ClientDisconnect, RuntimeError):
        async with asyncio.timeout(DRAIN_SECONDS):
            async for _ in request.stream():
                await asyncio.sleep(0)  # a fast client would not let other requests, nor the timeout, have a turn
                if time.monotonic() > end:
                    return
