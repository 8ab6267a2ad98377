"""`kseg serve`."""

import contextlib
import ipaddress
import math
import signal
import socket
import sys
from typing import Annotated

import typer

from kseg.cli._application import application, plain_errors
from kseg.cli._models import load_model
from kseg.cli._process import prepare
from kseg.cli.prediction import Crf, Engine, Int8, Tta, options


@application.command()
def serve(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            help="A file written by kseg, a run folder, a .keras or .h5 file, an address or a released name."
        ),
    ],
    host: Annotated[
        str, typer.Option(help="The address to listen on; 0.0.0.0 lets other machines use the service, unprotected.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = 8000,
    max_megabytes: Annotated[
        float, typer.Option(min=0.001, max=1e6, help="Largest upload, in MB of 1,000,000 bytes.")
    ] = 32,
    max_megapixels: Annotated[float, typer.Option(min=0.001, max=1e6, help="Largest image.")] = 25,
    queue: Annotated[int, typer.Option(min=0, help="Most requests that wait; others get status 503.")] = 16,
    timeout: Annotated[
        float, typer.Option(min=0.1, max=1e6, help="Seconds after which a request gets status 503.")
    ] = 60,
    tta: Tta = False,
    crf: Crf = False,
    tile: Annotated[
        int, typer.Option(min=0, help="Side of the tiles into which larger images are cut; 0: never.")
    ] = 1024,
    engine: Engine = "auto",
    int8: Int8 = None,
) -> None:
    """Serve a model over HTTP: POST /predict, GET /model, GET /health, and a page to try it in the browser."""
    with plain_errors(context.obj):
        prepare(training=False)
        from kseg.serve import Limits, create_app  # isort: skip  # if packages are missing, this says so

        import numpy as np
        import uvicorn

        from kseg import inference

        limits = Limits(round(max_megabytes * 1e6), round(max_megapixels * 1e6), queue, timeout)
        with _listening(host, port) as listener:
            predictor = inference.Predictor(load_model(model), **options(tta, crf, tile, engine, int8))
            app = create_app(predictor, limits)
            shape = predictor.model.inputs[0].shape[1:]
            for usual in (64, 96):  # compiles the network, also for a second size, and shows errors before requests
                predictor(np.zeros([side or usual for side in shape], "uint8"))
            where, at = listener.getsockname()[:2]
            address = ipaddress.ip_address(where)
            print(f"{predictor.model.name}: http://{where if address.version == 4 else f'[{where}]'}:{at}/", flush=True)
            if not address.is_loopback:
                print("warning: other machines can use the service, which has no password", file=sys.stderr)
            most = math.ceil(timeout) + 5  # for a client that does not read its answer
            server = uvicorn.Server(
                uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=most)
            )
            before = signal.signal(signal.SIGTERM, signal.SIG_IGN)  # uvicorn sends it again after it has stopped
            try:
                with contextlib.suppress(KeyboardInterrupt):
                    server.run(sockets=[listener])
            finally:
                signal.signal(signal.SIGTERM, before)
            print("stopped")


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address, family=family)
    except OSError as error:
        raise ValueError(f"cannot listen on {host}, port {port} ({error}): choose another --host or --port") from None
