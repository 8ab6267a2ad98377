"""Faults of servers, networks and disks: the result is the right file or an error of one line, never a wrong file."""

import errno
import hashlib
import io
import os
import pathlib
import re
import subprocess
import sys
import time

import pytest

from kseg import download
from kseg.download import transfer
from tests.download.server import Server

ROOT = pathlib.Path(__file__).parents[2]


def sha256(server):
    return hashlib.sha256(server.content).hexdigest()


def fetch(server, *more, known=None, size=None):
    urls = [f"{one.url}/net.bin" for one in (server, *more)]
    return download.fetch(urls, sha256=sha256((server, *more)[-1]) if known is None else known, size=size)


def refused(*servers, match, **options):
    """The error; nothing may be left behind."""
    with pytest.raises(OSError, match=match) as caught:
        fetch(*servers, **options)
    assert "\n" not in str(caught.value)
    assert [path.name for path in download.home().rglob("*") if path.is_file()] == []
    return caught.value


@pytest.mark.parametrize("digits", [64, 8, 0])
def test_a_file_is_downloaded_once_and_checked_by_the_digits_of_its_sum(server, digits):
    for _ in range(2):
        file = fetch(server, known=sha256(server)[:digits].upper())
        assert file == download.home() / "weights" / "net.bin" and file.read_bytes() == server.content
    assert server.asked == ["/net.bin"]


def test_a_damaged_file_is_downloaded_again(server):
    fetch(server).write_bytes(b"weigh")
    assert fetch(server).read_bytes() == server.content and len(server.asked) == 2


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"status": 404}, "the server answered 404 Client Error: Not Found"),
        ({"status": 503}, "the server answered 503"),
        ({"content": b"wrong"}, r"the file is not the one expected: 5 bytes with SHA-256 \w+ instead of 5120 bytes"),
        ({"content": bytes(5120)}, r"the file is not the one expected: 5120 bytes with SHA-256 \w+ instead of"),
        ({"content": bytes(5120), "announced": -1}, "the file is not the one expected"),
        ({"cut": 700}, r"the download failed \(.*700 bytes read, 4420 more expected.*; nothing was kept, try again"),
        ({"cut": 700, "announced": -1}, "the file is not the one expected: 700 bytes"),
        ({"announced": "abc"}, "the download failed"),
        ({"silent": 1000}, r"the download failed \(.*timed out"),
    ],
)
def test_a_fault_of_each_server_is_named_in_one_line_and_the_next_server_is_tried(server, monkeypatch, fault, message):
    monkeypatch.setattr(transfer, "TIMEOUT", 0.3)
    known = sha256(server)
    mirror = Server(server.content)
    try:
        for name, value in fault.items():
            setattr(server, name, value)
        error = refused(server, server, match=message, known=known, size=5120)
        assert isinstance(error, download.TransferError) and str(error).count(server.url) == 2
        assert fetch(server, mirror, size=5120).read_bytes() == mirror.content
    finally:
        mirror.close()


def test_a_slow_server_is_waited_for(server, monkeypatch):
    monkeypatch.setattr(transfer, "TIMEOUT", 0.5)
    server.pause = 0.3
    assert fetch(server).read_bytes() == server.content


def test_without_a_sum_a_broken_download_is_refused(server):
    server.cut = 700
    refused(server, match="700 bytes read", known="")


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:9/a", "weights/net.bin", "htp://127.0.0.1/net.bin", "http://[/net.bin", "file:///no/such/file"],
)
def test_an_address_that_leads_nowhere_is_one_line(server, address):
    with pytest.raises(download.TransferError, match=rf"^{re.escape(address)}: the (download failed|file cannot be)"):
        download.fetch(address, sha256="00")


def test_a_folder_on_this_machine_is_a_server_too(server, tmp_path):
    (tmp_path / "100% net.bin").write_bytes(server.content)
    file = download.fetch((tmp_path / "100% net.bin").as_uri(), sha256=sha256(server), size=5120, name="net.bin")
    assert file.read_bytes() == server.content and file.parent.parent == download.home()


def test_the_progress_bar_shows_megabytes(server, monkeypatch):
    drawn = []

    class Reporter:
        def task(self, name, total):
            drawn.append((name, total))
            return self

        def __enter__(self):
            return drawn.append

        def __exit__(self, *error):
            pass

    monkeypatch.setattr(transfer, "Reporter", Reporter)
    server.content = bytes(2_500_000)
    fetch(server)
    assert drawn[0] == ("downloading net.bin, MB", 3)
    assert sum(drawn[1:]) == pytest.approx(2.5, abs=0.3)


def test_a_cache_that_cannot_be_written_is_named(server, tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("KSEG_HOME", str(tmp_path / "file"))
    error = refused(server, match=r"cannot write to .*file/weights \(.*set KSEG_HOME to another folder")
    assert error.errno in (errno.ENOTDIR, errno.EEXIST) and server.asked == []


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, r"the disk is full: .*weights has no room; nothing was kept, free some or set KSEG_HOME"),
        (errno.EROFS, r"cannot write to .*weights \(Read-only file system\); nothing was kept, set KSEG_HOME"),
    ],
)
def test_a_disk_that_fails_on_the_way_is_one_line_and_keeps_nothing(server, monkeypatch, number, message):
    class Small(io.FileIO):
        """A file that fails after 3,000 bytes."""

        def write(self, data):
            if self.tell() + len(data) > 3000:
                super().write(data[: 3000 - self.tell()])
                raise OSError(number, os.strerror(number))
            return super().write(data)

    whole = pathlib.Path.open
    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, "open", lambda path, mode: (Small if path.suffix == ".part" else whole)(path, mode))
        error = refused(server, match=message)
    assert error.errno == number and server.asked
    assert fetch(server).read_bytes() == server.content


# Only this package: importing all of kseg takes the time that a backend needs to start.
CHILD = """
import sys, types
kseg = types.ModuleType("kseg")
kseg.__path__ = [sys.argv[1] + "/kseg"]
sys.modules["kseg"] = kseg
from kseg import download
print(download.fetch(sys.argv[2], sha256=sys.argv[3]))
"""


def child(server):
    command = [sys.executable, "-c", CHILD, str(ROOT), f"{server.url}/net.bin", sha256(server)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_of_two_processes_one_downloads(server):
    server.pause = 0.5
    first = child(server)
    wait(lambda: server.asked)
    second = child(server)
    (out, _), (same, waiting) = (process.communicate(timeout=30) for process in (first, second))
    path = download.home() / "weights" / "net.bin"
    assert out.strip() == same.strip() == str(path) and path.read_bytes() == server.content
    assert "waiting for another process that writes net.bin" in waiting
    assert len(server.asked) == 1 and [file.name for file in path.parent.iterdir()] == ["net.bin"]


def test_a_killed_process_leaves_no_lock_and_nothing_that_is_used(server):
    server.silent = 1000
    killed = child(server)
    wait(lambda: server.asked and list((download.home() / "weights").glob(".*.part")))
    killed.kill()
    killed.communicate(timeout=30)
    server.silent = None
    assert fetch(server).read_bytes() == server.content
    assert [path.name for path in (download.home() / "weights").iterdir()] == ["net.bin"]
