"""`kseg serve`, and what `kseg demo` shares with it."""

import contextlib
import ipaddress
import math
import signal
import socket
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from kseg.cli._application import application, plain_errors
from kseg.cli._models import load_model
from kseg.cli._process import prepare
from kseg.cli.predictor_options import Crf, Engine, Int8, Tta, options

CONNECTIONS = 512
"""Number of open connections at which requests get status 503; systems let a process open more files than that."""
UNREAD_SECONDS = 30
"""Seconds after which the system closes the connection of a client that takes nothing of its answer."""


Host = Annotated[
    str, typer.Option(help="The address to listen on; 0.0.0.0 lets other machines use the service, unprotected.")
]
AllowHost = Annotated[
    list[str],
    typer.Option(
        help="A name by which others, such as a proxy, call the service; repeatable. Without one, a service on "
        "loopback is called by its address or localhost, any other one by any name."
    ),
]
Port = Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")]
Megabytes = Annotated[float, typer.Option(min=0.001, max=1e6, help="Largest upload, in MB of 1,000,000 bytes.")]
Megapixels = Annotated[float, typer.Option(min=0.001, max=1e6, help="Largest image.")]


@application.command()
def serve(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            help="A file written by kseg, a run folder, a .keras or .h5 file, an address or a released name; or a file "
            "of kseg export (.onnx, .xml, .tflite), which runs without Keras."
        ),
    ],
    host: Host = "127.0.0.1",
    allow_host: AllowHost = [],  # noqa: B006
    port: Port = 8000,
    max_megabytes: Megabytes = 32,
    max_megapixels: Megapixels = 25,
    queue: Annotated[int, typer.Option(min=0, help="Most requests that wait; others get status 503.")] = 16,
    timeout: Annotated[
        float,
        typer.Option(
            min=0.1,
            max=1e6,
            help="Longest time in seconds of an upload (then status 408), of an upload and the wait for its answer "
            "(503), and of sending the answer.",
        ),
    ] = 60,
    tta: Tta = False,
    crf: Crf = False,
    tile: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Side of the tiles into which larger images are cut; 0: never. By default 1024, and 0 for files that "
            "give labels only.",
        ),
    ] = None,
    engine: Engine = "auto",
    int8: Int8 = None,
) -> None:
    """Serve a model over HTTP: POST /predict, GET /model, GET /health, and a page to try it in the browser."""
    with plain_errors(context.obj):
        prepare(training=False)
        check_packages("serve")
        from kseg import inference, serve

        limits = serve.Limits(round(max_megabytes * 1e6), round(max_megapixels * 1e6), queue, timeout)
        with listening(host, port) as listener:
            loaded = load_model(model)
            predictor = inference.Predictor(loaded, **options(tta, crf, _tile(loaded, tile), engine, int8))
            warm(predictor)
            app = serve.create_app(predictor, limits, hosts=own_hosts(listener, host, allow_host))
            run(app, listener, predictor.model.name, timeout)


def check_packages(command: str) -> None:
    """Raises an ImportError that names the extra if a package of the service is missing."""
    import kseg.serve  # noqa: F401  # says so itself

    try:
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ImportError(f"kseg {command} needs uvicorn: pip install 'kseg[serve]' ({error})") from None


def warm(predictor: Any) -> None:
    """Compiles the network, also for a second size, and shows its errors before requests come."""
    import numpy as np

    shape = predictor.model.inputs[0].shape[1:]
    for usual in (64, 96):
        predictor(np.zeros([side or usual for side in shape], "uint8"))


def own_hosts(listener: socket.socket, host: str, allowed: list[str]) -> set[str] | None:
    """Returns the names under which the service may be called; None for all."""
    from kseg.serve import LOOPBACK

    where = listener.getsockname()[0]
    return {*LOOPBACK, host, where, *allowed} if ipaddress.ip_address(where).is_loopback or allowed else None


def run(
    app: Any, listener: socket.socket, name: str, timeout: float, ready: Callable[[str], object] = lambda address: None
) -> None:
    """Prints the address of a service and answers requests until the process is told to stop.

    Args:
        app: The application.
        listener: The socket on which it takes connections.
        name: What is printed before the address.
        timeout: The time limit of the service in seconds.
        ready: Called with the address at which a browser on this machine finds the service.
    """
    import uvicorn

    server = uvicorn.Server(configured(app, timeout))
    where, port = listener.getsockname()[:2]
    address = ipaddress.ip_address(where)
    print(f"{name}: {_url(address, port)}", flush=True)
    if not address.is_loopback:
        print("warning: other machines can use the service, which has no password", file=sys.stderr)
    loopback = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
    ready(_url(loopback if address.is_unspecified else address, port))
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)  # uvicorn sends it again after it has stopped
    try:
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
    finally:
        signal.signal(signal.SIGTERM, before)
    print("stopped")


def _url(address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> str:
    return f"http://{address if address.version == 4 else f'[{address}]'}:{port}/"


def configured(app: Any, timeout: float) -> Any:
    """Returns the `uvicorn.Config` of an application with a time limit in seconds."""
    import uvicorn

    from kseg.serve.connections import PromptProtocol

    return uvicorn.Config(
        app,
        http=PromptProtocol,
        ws="none",
        log_level="warning",
        access_log=False,
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=math.ceil(2 * timeout) + 5,  # to wait for an answer, and to send it
    )


def _tile(model: Any, tile: int | None) -> int:
    """Returns the side of the tiles, of which a file that gives labels of images of any size has none."""
    from kseg import inference

    if not isinstance(model, inference.Exported) or model.output != "labels" or None not in model.inputs[0].shape[1:3]:
        return 1024 if tile is None else tile
    if tile:
        raise ValueError(
            f"{model.name} gives labels only, of which tiles cannot be joined: leave --tile out, or export it without "
            "--labels"
        )
    return 0


def listening(host: str, port: int) -> socket.socket:
    """Opens the socket on which the service takes connections; a ValueError says why it cannot."""
    try:
        family, kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        made = socket.create_server(address, family=family)
        # Where the protocol is named, asyncio turns off Nagle's algorithm, which delays answers by up to 40 ms.
        listener = socket.socket(family, kind, socket.IPPROTO_TCP, fileno=made.detach())
    except OSError as error:
        raise ValueError(f"cannot listen on {host}, port {port} ({error}): choose another --host or --port") from None
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; connections have the options of the listener
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * UNREAD_SECONDS)
    return listener
