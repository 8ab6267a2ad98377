import pytest

from tests.download.server import Server


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setenv("KSEG_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("KSEG_DATA", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    running = Server(bytes(range(256)) * 20)  # 5,120 bytes
    yield running
    running.close()
