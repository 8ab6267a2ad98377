"""Requests that are not answered with a label map, but with one line of JSON."""

from collections.abc import Mapping

from fastapi.responses import JSONResponse


class RefusedError(Exception):
    """A request that is answered with an error.

    Args:
        status: The HTTP status.
        message: What is wrong, and what to do.
        headers: Headers of the answer, with `_` for `-`.
    """

    def __init__(self, status: int, message: str, **headers: str):
        super().__init__(message)
        self.status, self.headers = status, {name.replace("_", "-"): value for name, value in headers.items()}


def in_json(status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Returns the answer with an error, `{"error": message}`."""
    return JSONResponse({"error": " ".join(message.split())}, status, headers=dict(headers or {}))
