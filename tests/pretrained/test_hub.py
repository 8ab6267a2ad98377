"""Uploads to the hub, for which a server on this machine stands in."""

import base64
import hashlib
import json
import re
import shutil
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import yaml
from huggingface_hub import constants

from kseg import download, pretrained, zoo
from tests.cli.command import kseg_command, refused

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of huggingface_hub's own code


class Hub:
    """Keeps the files of one repository, with the addresses and answers of the real hub."""

    def __init__(self):
        self.made, self.files, self.objects, self.token, self.refuses = None, {}, {}, None, False
        self.stored = {}  # large files, whose SHA-256 the hub announces
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                content = self.rfile.read(int(self.headers["Content-Length"]))
                hub.token = self.headers["Authorization"]
                self.answer(*((401, {"error": "no"}) if hub.refuses else (200, hub.posted(self.path, content))))

            def do_PUT(self):
                if self.headers["Transfer-Encoding"] == "chunked":
                    sizes = iter(lambda: int(self.rfile.readline(), 16), 0)
                    content = b"".join(self.rfile.read(size + 2)[:-2] for size in sizes)
                    self.rfile.readline()
                else:
                    content = self.rfile.read(int(self.headers["Content-Length"]))
                hub.objects[self.path.rpartition("/")[2]] = content
                self.answer(200, {})

            def do_GET(self):
                name = self.path.partition("/resolve/main/")[2]
                announced = (
                    {"X-Linked-ETag": f'"{hashlib.sha256(hub.stored[name]).hexdigest()}"'} if name in hub.stored else {}
                )
                self.answer(200, hub.files[name], announced) if name in hub.files else self.answer(404, {})

            def answer(self, status, content, headers=()):
                content = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                for name, value in dict(headers).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def posted(self, path, content):
        if path.endswith("/repos/create"):
            self.made = json.loads(content)
            return {"url": f"{self.url}/someone/leaves"}
        if path.endswith("/validate-yaml"):
            return {"errors": [], "warnings": []}
        if "/preupload/" in path:
            large = [(file["path"], file["path"].endswith(".safetensors")) for file in json.loads(content)["files"]]
            modes = {True: "lfs", False: "regular"}
            return {"files": [{"path": name, "uploadMode": modes[is_], "shouldIgnore": False} for name, is_ in large]}
        if path.endswith("/objects/batch"):
            objects = json.loads(content)["objects"]
            links = [{"upload": {"href": f"{self.url}/objects/{each['oid']}"}} for each in objects]
            each = [one | {"actions": actions} for one, actions in zip(objects, links, strict=True)]
            return {"transfer": "basic", "objects": each}
        assert path.endswith("/commit/main")
        for line in map(json.loads, content.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                self.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.files[value["path"]] = self.stored[value["path"]] = self.objects[value["oid"]]
        return {"commitUrl": f"{self.url}/someone/leaves/commit/0", "commitOid": "0", "success": True}

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def hub(monkeypatch):
    running = Hub()
    monkeypatch.setenv("HF_ENDPOINT", running.url)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # the stand-in has Git LFS only
    yield running
    running.close()


@pytest.fixture
def run(file, tmp_path):
    """The folder of a finished run on data in a folder of the user."""
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copy(file, folder / "best.safetensors")
    (folder / "recipe.json").write_text(json.dumps({"data": {"folder": "/home/someone/leaves"}, "epochs": 2}))
    (folder / "result.json").write_text(json.dumps({"scores": {"miou": 0.51239, "pixel_accuracy": 0.9}}))
    return folder


def test_what_is_pushed_is_loaded_by_the_address_of_the_repository(hub, run, model):
    done = kseg_command("weights", "push", run, "hf://someone/leaves", "--license", "CC0-1.0", "--private")
    assert done.exit_code == 0, done.output
    assert 'kseg.zoo.load("hf://someone/leaves")' in done.output and "/commit/0" in done.output
    assert (hub.made.get("private") or hub.made["visibility"] == "private") and hub.token == "Bearer hf_secret"
    assert hub.files.keys() == {"README.md", "model.safetensors", "recipe.json", "metrics.json"}
    assert json.loads(hub.files["recipe.json"])["data"]["folder"] == "leaves"
    loaded = zoo.load("hf://someone/leaves")
    assert loaded.classes == ("soil", "leaf", "spot")
    for ours, theirs in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert pretrained.locate("hf://someone/leaves").read_bytes() == (run / "best.safetensors").read_bytes()


def test_a_file_with_another_hash_than_the_hub_announces_is_not_kept(hub, file):
    pretrained.push(file, "hf://someone/leaves", license="mit")
    hub.files["model.safetensors"] = hub.files["model.safetensors"][:-1] + b"x"
    with pytest.raises(OSError, match="SHA-256 that the hub announces"):
        zoo.load("hf://someone/leaves")
    assert not [path for path in download.home().rglob("*") if path.is_file()]


def test_the_card_has_the_metadata_of_the_hub(hub, run):
    pretrained.push(run, "hf://someone/leaves/", license="CC0-1.0")
    head, text = re.fullmatch(r"---\n(.*?)---\n(.*)", hub.files["README.md"].decode(), flags=re.S).groups()
    metadata = yaml.safe_load(head)
    assert (metadata["license"], metadata["library_name"]) == ("cc0-1.0", "keras")
    (result,) = metadata["model-index"][0]["results"]
    assert result["dataset"]["type"] == "leaves" and result["metrics"][0] == {"type": "mean_iou", "value": 0.5124}
    assert 'kseg.zoo.load("hf://someone/leaves")' in text and "soil, leaf, spot" in text


def test_a_weight_file_alone_is_pushed_without_scores(hub, file):
    pretrained.push(file, "hf://someone/leaves", license="mit")
    assert hub.files.keys() == {"README.md", "model.safetensors"} and b"model-index" not in hub.files["README.md"]


def test_errors_name_their_cure(hub, run, file, monkeypatch, tmp_path):
    end = ("--license", "mit")
    assert "write hf://owner/name" in refused("weights", "push", run, "someone/leaves", *end)
    assert "no weight file" in refused("weights", "push", tmp_path / "none", "hf://someone/leaves", *end)
    hub.refuses = True
    assert "hf auth login" in refused("weights", "push", run, "hf://someone/leaves", *end)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert "pip install 'kseg[hub]'" in refused("weights", "push", run, "hf://someone/leaves", *end)
