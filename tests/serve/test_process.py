"""`kseg serve` as a process of its own, on loopback."""

import asyncio
import contextlib
import http.client
import re
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest
import uvicorn

from kseg.cli import serving
from kseg.serve import limits
from tests.cli.command import refused
from tests.export import brightness
from tests.serve.conftest import encoded


@pytest.fixture
def process(brightest, tmp_path):
    """The process, whose queue has room for two requests, and its address."""
    brightest.save(tmp_path / "brightest.keras")
    command = [sys.executable, "-m", "kseg.cli", "serve", str(tmp_path / "brightest.keras"), "--port", "0"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*command, "--queue", "2", "--engine", "keras"], **pipes) as running:
        try:
            line = running.stdout.readline()
            found = re.fullmatch(r"brightest: (http://127\.0\.0\.1:\d+/)\n", line)
            assert found, line + running.stderr.read()
            yield running, found[1]
        finally:
            running.kill()


def test_other_names_are_refused_and_a_stop_answers_what_was_taken(process, picture):
    running, address = process
    content = encoded(picture)
    place = address.removeprefix("http://").rstrip("/")
    taken = [http.client.HTTPConnection(place, timeout=60) for _ in range(3)]
    for each in taken:  # each sends a part of an image
        each.putrequest("POST", "/predict")
        each.putheader("Content-Length", str(len(content)))
        each.endheaders(content[:20])
    while httpx.get(f"{address}health").json()["uploads"] < 3:
        time.sleep(0.01)
    assert httpx.get(f"{address}health", headers={"host": "evil.example"}).status_code == 403
    assert httpx.post(f"{address}predict", content=content).status_code == 200
    running.send_signal(signal.SIGTERM)
    while True:
        try:
            httpx.get(f"{address}health")
        except httpx.TransportError:
            break
    for each in taken:
        each.send(content[20:])
        answer = each.getresponse()
        assert answer.status == 200 and answer.read().startswith(b"\x89PNG")
        each.close()
    assert running.wait(60) == 0 and running.stdout.read() == "stopped\n"


def test_what_cannot_be_served_is_said_before_the_model_is_loaded(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert "another --host or --port" in refused("serve", "x.keras", "--port", port)
    assert "no.keras" in refused("serve", tmp_path / "no.keras", "--port", 0)
    assert "download it" in refused("serve", "https://a.example/model.onnx", "--port", 0)


def test_options_that_need_probabilities_are_refused_for_files_that_give_labels(tmp_path):
    path = brightness.write(tmp_path / "model.onnx", labels=True)
    for option in (["--crf"], ["--tta"], ["--tile", "512"]):
        assert "without --labels" in refused("serve", path, "--port", 0, *option)


def test_without_the_packages_the_error_names_the_extra(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("kseg.serve")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert "pip install 'kseg[serve]'" in refused("serve", "x.keras")


def test_connections_without_a_whole_request_are_closed_and_slow_answers_are_not(monkeypatch):
    monkeypatch.setattr(limits, "PATIENCE", 0.3)
    request = b"GET / HTTP/1.1\r\nHost: x\r\n"

    async def app(scope, receive, send):
        await asyncio.sleep(0.5)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async def answers(listener, sent):
        reader, writer = await asyncio.open_connection(*listener.getsockname())

        async def write():
            for part in sent:
                writer.write(part)
                await asyncio.sleep(0.05)

        writing, answer = asyncio.create_task(write()), b""
        try:
            async with asyncio.timeout(4):
                while part := await reader.read(1024):
                    answer += part
        except ConnectionResetError:  # bytes were under way to a closed connection
            pass
        finally:
            writing.cancel()
            writer.close()
        return answer

    async def run(listener):
        config = serving.configured(app, 1)
        config.lifespan = "off"
        server = uvicorn.Server(config)
        server.capture_signals = contextlib.nullcontext
        task = asyncio.create_task(server.serve([listener]))
        slowly = [bytes([byte]) for byte in request[:20]]
        found = await asyncio.gather(
            answers(listener, []),
            answers(listener, slowly),
            answers(listener, [request + b"\r\n"]),
            answers(listener, [request + b"\r\n", *[b""] * 11, *slowly]),
        )
        server.should_exit = True
        await task
        return found

    with serving.listening("127.0.0.1", 0) as listener:
        found = asyncio.run(run(listener))
    assert found[:2] == [b"", b""]
    assert [answer.count(b" 200 OK") for answer in found[2:]] == [1, 1]


def test_answers_are_sent_at_once():
    """Nagle's algorithm would hold the end of an answer back until the client has confirmed its beginning."""

    async def is_undelayed(listener):
        found = asyncio.get_running_loop().create_future()

        def connected(_, writer):
            connection = writer.get_extra_info("socket")
            found.set_result(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        async with await asyncio.start_server(connected, sock=listener):
            _, writer = await asyncio.open_connection(*listener.getsockname())
            writer.close()
            return bool(await found)

    with serving.listening("127.0.0.1", 0) as listener:
        assert asyncio.run(is_undelayed(listener))
