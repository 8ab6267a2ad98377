"""`kseg demo`."""

import functools
import threading
from typing import Annotated, Any

import typer

from kseg.cli._application import application, plain_errors
from kseg.cli._models import load_model
from kseg.cli._process import prepare
from kseg.cli.predictor_options import Engine
from kseg.cli.serving import (
    AllowHost,
    Host,
    Megabytes,
    Megapixels,
    Port,
    check_packages,
    listening,
    own_hosts,
    run,
    warm,
)  # fmt: skip


@application.command()
def demo(
    context: typer.Context,
    host: Host = "127.0.0.1",
    allow_host: AllowHost = [],  # noqa: B006
    port: Port = 8000,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open the page in the browser.")] = False,
    max_megabytes: Megabytes = 32,
    max_megapixels: Megapixels = 25,
    engine: Engine = "keras",  # others convert each network, which takes longer than a few predictions
) -> None:
    """Try the released models on a page in the browser, on drawn examples or your own images."""
    with plain_errors(context.obj):
        prepare(training=False)
        check_packages("demo")
        from kseg import serve

        limits = serve.Limits(round(max_megabytes * 1e6), round(max_megapixels * 1e6))
        releases = _found()
        models = [
            serve.NamedModel(release.name, functools.partial(_predictor, release.name, engine), _facts(release))
            for release in releases
        ]
        drawn = {"camvid": serve.street_examples, "nuclei": serve.cell_examples}
        examples = []
        for dataset, draw in drawn.items():
            if suited := [release.name for release in releases if release.dataset == dataset]:
                examples += draw(suited)
        with listening(host, port) as listener:
            app = serve.create_app(models, limits, hosts=own_hosts(listener, host, allow_host), examples=examples)
            run(app, listener, "kseg demo", limits.seconds, (lambda address: None) if no_browser else _open)


def _found() -> list[Any]:
    """Returns the released models that are on this machine, the best one of each data set first."""
    from kseg import pretrained

    found = [release for release in pretrained.RELEASES.values() if pretrained.find(release)]
    if not found:
        raise FileNotFoundError(
            "no released weights are on this machine: install kseg-weights (pip install ./zoo in a checkout of kseg), "
            "or download some from a server (kseg weights get NAME)"
        )
    return sorted(found, key=lambda release: (release.dataset, -release.miou))


def _facts(release: Any) -> str:
    return f"data set {release.dataset}, mIoU {100 * release.miou:.1f} on its test split, license {release.license}"


def _predictor(name: str, engine: str) -> Any:
    from kseg import inference

    predictor = inference.Predictor(load_model(name), engine=engine, tile=1024)
    warm(predictor)
    return predictor


def _open(address: str) -> None:
    import webbrowser

    threading.Thread(target=webbrowser.open, args=[address], daemon=True).start()  # waits for some browsers
