"""Time `kseg serve` on loopback beside the same model called directly, and send it hostile uploads."""

import collections
import concurrent.futures
import contextlib
import io
import itertools
import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import keras
import numpy as np
import pandas as pd
import typer
from PIL import Image

from benchmarks import machine
from benchmarks.experiments import _hostile
from benchmarks.process import apart
from kseg import data, inference, zoo

CLIENTS = (1, 8, 32)
SENDERS = 8
"""Clients that send hostile uploads."""
LARGE = (1100, 1300)
"""Height and width of an image of several tiles."""
SETTLING = 2
"""Rounds of hostile uploads before the one in which the growth of memory is measured."""
STALLED = 600
"""Connections that send the beginning of a request only: more than the service answers requests beside."""
MOST_STALLED_SECONDS = 15
"""Longest time for which such connections block the service, which closes them after 10 seconds."""
MOST_GROWTH = 8.0
"""Most MB of 2**20 bytes that memory grows by during 1,000 uploads, which have 13 kB each on average.

The allocator takes memory from the system in steps of up to 4 MB. Memory that held every upload would grow by 13 MB.
"""


@contextlib.contextmanager
def serving(weights: str, engine: str) -> Iterator[tuple[int, str]]:
    """Runs the service in a process of its own; gives the process's number and the address."""
    command = [sys.executable, "-m", "kseg.cli", "serve", weights, "--port", "0", "--engine", engine, "--queue", "64"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if "http://" not in line:
                raise RuntimeError(f"the service did not start: {' '.join(command)}")
            yield process.pid, line.split()[-1]
        finally:
            process.terminate()
            process.communicate()  # what it prints when it stops


def timed(call: Callable[[], object], count: int) -> list[float]:
    """Returns the seconds of each of `count` calls, one after the other."""
    seconds = []
    for _ in range(count):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return seconds


def call_directly(weights: str, engine: str, image: np.ndarray, count: int) -> list[float]:
    """Returns the seconds of each call of a predictor in this process, after two others."""
    predictor = inference.Predictor(zoo.load(weights), engine=engine, tile=1024)
    return timed(lambda: predictor(image), count + 2)[2:]


def request_by(clients: int, address: str, content: bytes, count: int) -> tuple[list[float], float]:
    """Sends `count` requests by several clients at once; returns the seconds of each, and of all together."""
    import httpx  # of the test extra

    def client(share: int) -> list[float]:
        with httpx.Client(timeout=300) as session:
            return timed(lambda: session.post(f"{address}predict", content=content).raise_for_status(), share)

    shares = [count // clients + (index < count % clients) for index in range(clients)]
    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        start = time.perf_counter()
        seconds = list(itertools.chain(*pool.map(client, shares)))
        return seconds, time.perf_counter() - start


def attack(pid: int, address: str, content: bytes, count: int) -> dict[str, Any]:
    """Sends hostile uploads, and returns the statuses of the answers and the growth of the service's memory.

    The growth is that during the last round, after a large image and `SETTLING` rounds of other uploads: libraries
    keep memory when they first see a kind of file, and the allocator and engines keep what the largest images needed.

    Args:
        pid: The number of the service's process.
        address: The address of the service.
        content: An image.
        count: The number of uploads in each round; all differ.

    Returns:
        The cells of a row of `measure`.

    Raises:
        RuntimeError: If an upload gets a status of 500 and more other than 503, or no answer, if the memory grows by
            more than `MOST_GROWTH`, if stalled connections block the service, or if it answers the image differently
            afterwards.
    """
    import httpx

    def send(upload: tuple[str, bytes]) -> int:
        name, body = upload
        try:
            status = httpx.post(f"{address}predict", content=body, timeout=300).status_code
        except httpx.HTTPError as error:
            raise RuntimeError(f"the upload {name!r} got no answer ({error})") from None
        if status >= 500 and status != 503:
            raise RuntimeError(f"the upload {name!r} got status {status}")
        return status

    def answer(image: bytes) -> bytes:
        return httpx.post(f"{address}predict", content=image, timeout=300).raise_for_status().content

    answer(_hostile.photo(np.random.default_rng(0), "JPEG", LARGE))
    expected = answer(content)
    uploads = list(_hostile.hostile(count * (SETTLING + 1)))
    with concurrent.futures.ThreadPoolExecutor(SENDERS) as pool:
        statuses = list(pool.map(send, uploads[: count * SETTLING]))
        before = _resident(pid)
        start = time.perf_counter()
        statuses += pool.map(send, uploads[count * SETTLING :])
        seconds = time.perf_counter() - start
    after = _resident(pid)
    stall(address)
    if answer(content) != expected:
        raise RuntimeError("after the hostile uploads, the service answers an image differently")
    growth = None if before is None or after is None else round((after - before) / 2**20, 1)
    most = MOST_GROWTH * max(1, count / 1000)
    if growth is not None and growth > most:
        raise RuntimeError(f"during {count:,} hostile uploads, memory grew by {growth:g} MB, more than {most:g} MB")
    counts = sorted(collections.Counter(statuses).items())
    return {
        "requests": len(statuses),
        "per_second": round(count / seconds, 2),
        "statuses": " ".join(f"{status}:{number}" for status, number in counts),
        "memory_mb": growth,
    }


def stall(address: str) -> None:
    """Opens connections that send the beginning of a request only; a RuntimeError says if they block the service."""
    import httpx

    place = urllib.parse.urlsplit(address)
    with contextlib.ExitStack() as stack:
        for _ in range(STALLED):
            connection = stack.enter_context(socket.create_connection((place.hostname, place.port)))
            connection.sendall(b"GET /health HT")
        end = time.monotonic() + MOST_STALLED_SECONDS
        while httpx.get(f"{address}health", timeout=MOST_STALLED_SECONDS).status_code != 200:
            if time.monotonic() > end:
                raise RuntimeError(f"{STALLED} connections without a request block the service")
            time.sleep(1)


def measure(
    *,
    weights: Annotated[str, typer.Option(help="A released name or a file.")] = "unet-efficientnet_lite0-camvid",
    engine: Annotated[str, typer.Option(help="keras, openvino, onnxruntime or auto.")] = "auto",
    size: Annotated[tuple[int, int], typer.Option(help="Height and width of the image.")] = (360, 480),
    requests: Annotated[int, typer.Option(min=32, help="Requests for each number of clients.")] = 256,
    hostile: Annotated[int, typer.Option(min=1, help="Hostile uploads in each of three rounds.")] = 1000,
) -> pd.DataFrame:
    """Time requests to `kseg serve` by 1, 8 and 32 clients beside direct calls, and send hostile uploads."""
    image, _ = data.streets("test", count=1, size=size)[0]
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=90)
    seconds = apart(call_directly, weights, engine, image, requests)
    rows = [_row("called directly", seconds, sum(seconds))]
    with serving(weights, engine) as (pid, address):
        request_by(1, address, file.getvalue(), 2)
        for clients in CLIENTS:
            name = f"{clients} client{'s' * (clients > 1)}"
            rows.append(_row(name, *request_by(clients, address, file.getvalue(), requests)))
        rows.append({"what": "hostile uploads", **attack(pid, address, file.getvalue(), hostile)})
    table = pd.DataFrame(rows)
    share = (table["per_second"] / table["per_second"][0]).round(3)
    table.insert(3, "share", share.where(table["what"] != "hostile uploads"))
    place = {"size": f"{size[0]}x{size[1]}", "weights": pathlib.PurePath(weights).name, "engine": engine}
    return table.assign(**place, backend=keras.backend.backend(), device=machine.device())


def _row(what: str, seconds: list[float], whole: float) -> dict[str, Any]:
    middle, late = np.percentile(seconds, (50, 99))
    return {
        "what": what,
        "requests": len(seconds),
        "per_second": round(len(seconds) / whole, 2),
        "p50_ms": round(1000 * middle, 1),
        "p99_ms": round(1000 * late, 1),
    }


def _resident(pid: int) -> int | None:
    """Returns the bytes of memory that a process holds; None where the system does not say so."""
    try:
        text = pathlib.Path(f"/proc/{pid}/statm").read_text()
    except OSError:
        return None
    return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE")


def shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Formats the rows of `measure` for the page."""

    def text(column: str, form: str) -> list[str]:
        return ["" if pd.isna(value) else form.format(value) for value in rows[column]]

    return pd.DataFrame(
        {
            "what": rows["what"],
            "requests": text("requests", "{:,}"),
            "per second": text("per_second", "{:.1f}"),
            "of direct calls": [f"{100 * value:.0f} %" if pd.notna(value) else "" for value in rows["share"]],
            "p50": text("p50_ms", "{:.0f} ms"),
            "p99": text("p99_ms", "{:.0f} ms"),
            "statuses": text("statuses", "{}"),
            "memory grows": text("memory_mb", "{:.1f} MB"),
            "image": rows["size"],
            "engine": rows["engine"],
            "backend": rows["backend"],
            "device": rows["device"],
        }
    )
