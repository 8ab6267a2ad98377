"""The names under which a service on loopback is called.

A page of a foreign site that the user visits can send requests to 127.0.0.1. Its site can also point its own name
there, so that the browser lets it read the answers (DNS rebinding). Both are recognized by the headers of the request.
"""

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from kseg.serve.refusal import in_json
from kseg.serve.uploads import drain

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""Names that mean the machine itself."""


class OwnHosts:
    """ASGI middleware that answers 403 to requests under foreign names and from pages of other services.

    Args:
        app: The application.
        hosts: Names and addresses of the service, without ports.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]):
        self.app, self.hosts = app, {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or answers it."""
        message = self._foreign(Headers(scope=scope)) if scope["type"] == "http" else ""
        if not message:
            await self.app(scope, receive, send)
            return
        await drain(Request(scope, receive))
        await in_json(403, message)(scope, receive, send)

    def _foreign(self, headers: Headers) -> str:
        """Returns what is foreign about a request, or ""."""
        host, origin = headers.get("host", "").lower(), headers.get("origin")
        if (name := _name(host)) not in self.hosts:
            cure = f"call it localhost, or start it with --allow-host {name or 'NAME'}"
            return f"the service is not called {name or 'nothing'}: {cure}"
        if origin is not None and _place(origin) != host:
            return (
                f"pages of {origin:.200} may not use the service: use its own page, or a program; a proxy must pass "
                "the header Host on"
            )
        return ""


def _name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _place(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
