"""Answers that are sent piece by piece, in bounded time."""

import asyncio
from collections.abc import Callable

from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from kseg.serve import limits


class PacedResponse(Response):
    """A response to a client that must take `PIECE` bytes in `PATIENCE` seconds; otherwise the connection is closed.

    Without pieces, the server would keep the whole answer for a client that does not read it, for any time.

    Args:
        content: The body.
        media_type: Its media type.
        headers: Further headers.
        seconds: Longest time in which the whole is sent.
        on_end: Called when the answer was sent or given up.
    """

    def __init__(
        self,
        content: bytes,
        *,
        media_type: str,
        headers: dict[str, str] | None = None,
        seconds: float,
        on_end: Callable[[], None],
    ):
        super().__init__(content, media_type=media_type, headers=headers)
        self.seconds, self.on_end = seconds, on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the answer."""
        now = asyncio.get_running_loop().time
        try:
            async with asyncio.timeout(self.seconds), asyncio.timeout(limits.PATIENCE) as pace:
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                for start in range(0, len(self.body), limits.PIECE):
                    part = self.body[start : start + limits.PIECE]
                    await send({"type": "http.response.body", "body": part, "more_body": True})
                    pace.reschedule(now() + limits.PATIENCE)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            return  # unfinished: the server closes the connection
        finally:
            self.on_end()
