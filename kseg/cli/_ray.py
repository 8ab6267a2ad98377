"""`kseg predict --ray`."""

import contextlib
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from kseg.cli._inputs import Inputs
from kseg.prediction import (
    Failures,
    Item,
    Job,
    Pool,
    Progress,
    Results,
    Run,
    collect,
    connected,
    environment,
    model_files,
    plan,
)  # fmt: skip
from kseg.progress import Reporter

SPREAD = 2**24
"""Number of pixels from which the tiles of an image are spread over the workers."""


def check_images(found: Inputs) -> None:
    """Raises a ValueError if there are images that workers cannot read."""
    if found.videos or "stdin" in found.images:
        raise ValueError("standard input and videos cannot be labeled with --ray: leave --ray out")


def label_on_ray(
    address: str,
    workers: int | None,
    weights: str,
    predictor: Any,
    options: Mapping[str, Any],
    results: Results,
    images: Mapping[str, Any],
    names: Sequence[str],
    failed: Failures,
    doubts: dict[str, list[str]],
    *,
    batch_size: int,
    threads: Mapping[str, str | None],
) -> int:
    """Labels the images that are not done yet on a cluster, and makes the tables of all.

    Args:
        address: The address of the cluster; see `kseg.prediction.connected`.
        workers: The number of workers; None for as many as there is room for.
        weights: The model.
        predictor: A predictor of the model.
        options: Its options.
        results: The results.
        images: Paths and `kseg.inference.StoredImage` by the names that messages use.
        names: The names of their results.
        failed: Takes what fails.
        doubts: Takes what is doubtful.
        batch_size: Largest number of images per batch.
        threads: Variables that limit threads, with the values that the user gave.

    Returns:
        The number of images that were done before.
    """
    import kseg
    from kseg import inference

    keras = sys.modules.get("keras")  # without which exported models run
    backend = keras.backend.backend() if keras else os.environ.get("KERAS_BACKEND", "tensorflow")
    engine = options["engine"]
    if engine == "auto" and not isinstance(predictor.model, inference.Exported):
        options = {**options, "engine": _engine(predictor.model)}
    entry, files = model_files(weights)
    formats, place = results.formats, results.place
    out = str(place) if place.local is None else os.path.abspath(place.local)
    job = Job(
        files, entry, options, tuple(map(type, formats)), formats[0].classes, formats[0].palette, formats[0].details,
        out, os.getcwd(), batch_size, SPREAD, (kseg.__version__, backend), secrets.token_hex(16),
    )  # fmt: skip
    items = [Item.of(name, shown, image) for name, (shown, image) in zip(names, images.items(), strict=True)]
    progress = Progress(place)
    progress.begin(job)
    results.keep()
    done = progress.done()
    left = [item for item in items if item.key not in done]
    on_gpus = not isinstance(predictor.model, inference.Exported) and options["engine"] in ("keras", "auto")
    with Reporter().task("predicting", len(left)) as advance:
        if left:
            with connected(address) as ray:
                nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
                if engine != options["engine"] == "openvino" and any(node.get("GPU") for node in nodes):
                    text = "openvino, chosen by --engine auto, leaves the GPUs of the cluster idle: give --engine keras"
                    print(f"{text} and another -o to use them", file=sys.stderr)
                chosen = plan(nodes, workers, on_gpus=on_gpus)
                pool = Pool(ray, job, chosen, environment(chosen.cpus, backend, threads), kseg.__version__)
                with contextlib.closing(pool):
                    Run(
                        left, pool, progress, predictor, formats, workers=chosen.workers, batch_size=batch_size,
                        advance=advance,
                    ).finish()  # fmt: skip
    collect(results, items, progress, failed, doubts)
    progress.finish(job)
    return len(items) - len(left)


def _engine(model: Any) -> str:
    """Returns the engine that `auto` stands for in this process: workers without OpenVINO would choose another one."""
    from kseg.engines import ENGINES, openvino_graph
    from kseg.engines.keras_runner import choose

    if choose("auto") is ENGINES["keras"]:
        return "keras"
    try:
        openvino_graph(model)
    except Exception:  # of types of its own; see `kseg.engines.keras_engines.AutoRun`
        return "keras"
    return "openvino"
