"""Whatever servers, networks and disks do: the right file, or an error of one line, and never a wrong file."""

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
from kseg.download import lock, transfer
from tests.download.server import Server

ROOT = pathlib.Path(__file__).parents[2]


def sha256(server):
    return hashlib.sha256(server.content).hexdigest()


def fetch(server, *more, size=None):
    urls = [f"{one.url}/net.bin" for one in (server, *more)]
    return download.fetch(urls, sha256=sha256((server, *more)[-1]), size=size)


def refused(server, *more, match, size=None):
    with pytest.raises(OSError, match=match) as caught:
        fetch(server, *more, size=size)
    assert "\n" not in str(caught.value)
    assert not (download.home() / "weights" / "net.bin").exists()
    return caught.value


def left(*suffixes):
    """What lies in the cache beside finished files."""
    return sorted(path.suffix for path in (download.home() / "weights").iterdir() if path.name.startswith("."))


def ranges(server):
    return [asked for _, asked in server.asked]


def test_a_cut_connection_is_taken_up_where_it_broke_off(server):
    server.cuts = [1000, 1000]
    assert fetch(server).read_bytes() == server.content
    assert ranges(server) == [None, "bytes=1000-", "bytes=2000-"]
    assert left() == []


def test_the_next_call_goes_on_where_the_last_broke_off(server):
    server.cuts = [1000, 0]
    refused(server, match="broke off after 1000 of 5120 bytes; what came is kept for the next try")
    assert left() == [".part"]
    assert fetch(server).read_bytes() == server.content
    assert ranges(server)[-1] == "bytes=1000-"
    assert left() == []


def test_a_server_without_ranges_starts_again(server):
    server.ranges, server.cuts = False, [1000]
    assert fetch(server).read_bytes() == server.content
    assert ranges(server) == [None, "bytes=1000-"]


def test_halves_that_do_not_belong_together_are_fetched_again(server):
    server.cuts = [1000, 0]
    refused(server, match="broke off")
    (part,) = (download.home() / "weights").glob(".*.part")
    part.write_bytes(bytes(1000))
    assert fetch(server).read_bytes() == server.content
    assert ranges(server)[-2:] == ["bytes=1000-", None]


def test_without_a_sum_nothing_is_taken_up(server, monkeypatch):
    """Nobody would notice a file that changes on the server between two attempts."""

    def change(request):
        answer(request)
        server.content = later

    answer, later = server.answer, server.content[::-1]
    monkeypatch.setattr(server, "answer", change)
    server.cuts = [1000]
    assert download.fetch(f"{server.url}/net.bin", sha256="").read_bytes() == later
    assert ranges(server) == [None, None]
    assert left() == []


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("length", [5120, 6000])
def test_a_part_as_long_as_the_file_or_longer_does_no_harm(server, length, known):
    server.cuts = [1000, 0]
    refused(server, match="broke off")
    (part,) = (download.home() / "weights").glob(".*.part")
    part.write_bytes(bytes(length))
    assert fetch(server, size=5120 if known else None).read_bytes() == server.content


def test_wrong_bytes_are_not_kept(server):
    right = sha256(server)
    server.content = server.content[:-1] + b"X"
    with pytest.raises(download.TransferError, match=r"the file is not the one expected: SHA-256 \w+ instead of"):
        download.fetch(f"{server.url}/net.bin", sha256=right)
    assert list((download.home() / "weights").iterdir()) == []


@pytest.mark.parametrize(
    ("announced", "message"),
    [
        (None, "the server has a file of 5120 bytes instead of 5000"),
        (-1, "the server sent more than 5000 bytes"),
        (5000, "the file is not the one expected"),
    ],
)
def test_a_file_of_another_length_is_not_kept(server, announced, message):
    server.announced = announced
    refused(server, match=message, size=5000)
    assert left() == []


def test_a_short_file_without_a_length_is_noticed(server):
    server.announced = -1
    refused(server, match="broke off after 5120 of 6000 bytes", size=6000)


@pytest.fixture
def mirror(server):
    running = Server(server.content)
    yield running
    running.close()


@pytest.mark.parametrize(
    "fault",
    [{"status": 404}, {"status": 503}, {"content": b"wrong"}, {"cuts": [700, 0]}, {"announced": "abc"}],
)
def test_another_server_takes_over(server, mirror, fault):
    for name, value in fault.items():
        setattr(server, name, value)
    assert fetch(server, mirror).read_bytes() == mirror.content
    assert ranges(mirror) == ["bytes=700-" if "cuts" in fault else None]


def test_when_no_server_has_it_each_is_named(server, mirror):
    server.status = mirror.status = 404
    error = refused(server, mirror, match="the server answered 404")
    assert server.url in str(error) and mirror.url in str(error)
    assert left() == []


def test_a_server_that_falls_silent_is_given_up(server, monkeypatch):
    monkeypatch.setattr(transfer, "TIMEOUT", 0.2)
    server.stop = 1000
    refused(server, match=r"the download failed \(.*timed out\); what came is kept")


def test_a_slow_server_is_waited_for(server, monkeypatch):
    monkeypatch.setattr(transfer, "TIMEOUT", 0.5)
    server.pause = 0.3
    assert fetch(server).read_bytes() == server.content


def test_a_server_that_is_not_there_is_one_line(server, monkeypatch):
    with pytest.raises(download.TransferError, match=r"^http://127.0.0.1:9/a: the download failed \(.*refused"):
        download.fetch("http://127.0.0.1:9/a", sha256="00")


@pytest.mark.parametrize("address", ["weights/net.bin", "htp://127.0.0.1/net.bin", "http://[/net.bin"])
def test_what_is_no_address_is_one_line(server, address):
    with pytest.raises(download.TransferError, match=rf"^{re.escape(address)}: the download failed"):
        download.fetch(address, sha256="00")


def test_a_folder_on_this_machine_serves_too(server, tmp_path):
    (tmp_path / "net.bin").write_bytes(server.content)
    file = download.fetch((tmp_path / "net.bin").as_uri(), sha256=sha256(server), size=5120)
    assert file.read_bytes() == server.content and file.parent.parent == download.home()


def test_a_cache_that_cannot_be_written_is_named(server, tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("KSEG_HOME", str(tmp_path / "file"))
    error = refused(server, match=r"cannot write to .*file/weights \(.*set KSEG_HOME to another folder")
    assert error.errno in (errno.ENOTDIR, errno.EEXIST) and server.asked == []


def test_a_full_disk_keeps_no_part(server, monkeypatch):
    server.cuts = [1000, 0]
    refused(server, match="broke off")

    def full(path, *mode):
        if path.suffix == ".part":
            raise OSError(errno.ENOSPC, "No space left on device")
        return opened(path, *mode)

    opened = pathlib.Path.open

    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, "open", full)
        error = refused(server, match=r"the disk is full: .*weights has no room; nothing was kept")
    assert error.errno == errno.ENOSPC
    assert left() == []
    assert fetch(server).read_bytes() == server.content


class Small(io.FileIO):
    """A file on a disk that has room for 3,000 bytes."""

    def write(self, data):
        room = 3000 - self.tell()
        super().write(data[:room])
        if len(data) > room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return len(data)


def test_a_disk_that_fills_up_on_the_way_keeps_nothing(server, monkeypatch):
    written = []

    def opened(path, *mode):
        if path.suffix == ".part":
            written.append(path)
            return Small(path, *mode)
        return whole(path, *mode)

    whole = pathlib.Path.open
    server.pause = 0.1  # two pieces of 2,560 bytes
    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, "open", opened)
        error = refused(server, match=r"the disk is full: .*weights has no room; nothing was kept, free some or set")
    assert error.errno == errno.ENOSPC and written
    assert left() == []
    assert fetch(server).read_bytes() == server.content


@pytest.mark.parametrize("call", ["mkdir", "open"])
def test_a_read_only_file_system_is_one_line(server, monkeypatch, call):
    """The folder is missing, or it is there."""

    def read_only(path, *arguments, **options):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), os.fspath(path))

    if call == "open":
        (download.home() / "weights").mkdir(parents=True)
    monkeypatch.setattr(pathlib.Path, call, read_only)
    error = refused(
        server, match=r"cannot write to .*weights \(Read-only file system\); nothing was kept, set KSEG_HOME"
    )
    assert error.errno == errno.EROFS and server.asked == []


# The package alone: importing all of kseg takes a backend's time to start.
CHILD = """
import sys, types
kseg = types.ModuleType("kseg")
kseg.__path__ = [sys.argv[1] + "/kseg"]
sys.modules["kseg"] = kseg
from kseg import download
print(download.fetch(sys.argv[2], sha256=sys.argv[3]))
"""


def child(server, known=True):
    command = [sys.executable, "-c", CHILD, str(ROOT), f"{server.url}/net.bin", sha256(server) if known else ""]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ))


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
    outputs = [process.communicate(timeout=30) for process in (first, second)]
    assert {out.strip() for out, _ in outputs} == {str(download.home() / "weights" / "net.bin")}
    assert (download.home() / "weights" / "net.bin").read_bytes() == server.content
    assert len(server.asked) == 1
    assert left() == []


@pytest.mark.parametrize("known", [True, False])
def test_a_process_that_was_killed_locks_nobody_out(server, known):
    """Without a sum its part is of no use: the file may be another by now."""
    server.stop = 1000
    killed = child(server, known)
    wait(lambda: any(part.stat().st_size == server.stop for part in (download.home() / "weights").glob(".*.part")))
    killed.kill()
    killed.communicate(timeout=30)
    assert left() == [".lock", ".part"]
    server.stop = None
    if known:
        assert fetch(server).read_bytes() == server.content
    else:
        server.content = server.content[::-1]
        assert download.fetch(f"{server.url}/net.bin", sha256="").read_bytes() == server.content
    assert ranges(server) == [None, "bytes=1000-" if known else None]
    assert left() == []


def test_a_process_that_takes_too_long_is_not_waited_for(server, monkeypatch, capsys):
    monkeypatch.setattr(lock, "PAUSE", 0.01)
    path = download.home() / "weights" / "net.bin"
    path.parent.mkdir(parents=True)
    with lock.locked(path) as alone, lock.locked(path, patience=0.03) as also:
        assert (alone, also) == (True, False)
    assert "waiting for another process that writes net.bin" in capsys.readouterr().err


def test_a_lock_passes_on(server):
    path = download.home() / "weights" / "net.bin"
    path.parent.mkdir(parents=True)
    for _ in range(2):
        with lock.locked(path) as alone:
            assert alone
    assert left() == []


def test_a_file_system_without_locks_does(server, monkeypatch):
    def unsupported(file):
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(lock, "_claim", unsupported)
    server.cuts = [1000]
    assert fetch(server).read_bytes() == server.content
    assert set(left()) <= {".lock"}
