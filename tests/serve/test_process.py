"""`kseg serve` as a process of its own, on loopback."""

import concurrent.futures
import re
import signal
import socket
import subprocess
import sys
import time

import httpx
import numpy as np
import pytest

from tests.cli.command import refused
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


def test_a_full_queue_is_refused_and_a_stop_answers_what_was_taken(process):
    running, address = process
    content = encoded(np.random.default_rng(0).integers(0, 256, (700, 800, 3)).astype("uint8"), "NumPy")

    def send(_=None):
        return httpx.post(f"{address}predict", content=content, timeout=60)

    with concurrent.futures.ThreadPoolExecutor(12) as clients:
        answers = list(clients.map(send, range(12)))
        assert {answer.status_code for answer in answers} == {200, 503}
        assert all("retry-after" in answer.headers for answer in answers if answer.status_code == 503)
        assert sum(answer.status_code == 200 for answer in answers) >= 3
        taken = [clients.submit(send) for _ in range(3)]
        while httpx.get(f"{address}health").json()["requests"] < 3:
            time.sleep(0.01)
        running.send_signal(signal.SIGTERM)
        assert [each.result().status_code for each in taken] == [200] * 3
    assert running.wait(120) == 0 and running.stdout.read() == "stopped\n"
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{address}health")


def test_what_cannot_be_served_is_said_before_the_model_is_loaded(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert "another --host or --port" in refused("serve", "x.keras", "--port", port)
    assert "--max-megapixels" in refused("serve", "x.keras", "--max-megapixels", "-1")
    assert "--timeout" in refused("serve", "x.keras", "--timeout", "0")
    assert "no.keras" in refused("serve", tmp_path / "no.keras", "--port", 0)


def test_without_the_packages_the_error_names_the_extra(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("kseg.serve")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert "pip install 'kseg[serve]'" in refused("serve", "x.keras")
