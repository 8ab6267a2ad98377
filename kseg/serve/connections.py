"""Connections on which no request comes are closed; needs uvicorn."""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

from kseg.serve import limits


class PromptProtocol(H11Protocol):
    """HTTP/1.1 for clients that send the head of each request whole within `PATIENCE` seconds.

    The time begins when the connection is made, or when the answer before is complete. uvicorn itself closes only
    connections that send nothing after an answer.
    """

    _alarm: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Starts the time of the first request."""
        super().connection_made(transport)
        self._wait_for_head()

    def on_response_complete(self) -> None:
        """Starts the time of the next request."""
        super().on_response_complete()
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the time."""
        super().connection_lost(exc)
        if self._alarm:
            self._alarm.cancel()

    def _wait_for_head(self) -> None:
        if self._alarm:
            self._alarm.cancel()
        self._alarm = self.loop.call_later(limits.PATIENCE, self._close_without_request)

    def _close_without_request(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
