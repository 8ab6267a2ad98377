"""A stand-in for the Hugging Face hub, on this machine."""

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hub:
    """Keeps the files of one repository, with the addresses and answers of the real hub."""

    def __init__(self, repository="someone/leaves"):
        self.repository = repository
        self.made, self.files, self.objects, self.token, self.refuses = None, {}, {}, None, 0
        self.commits, self.private = 0, True
        self.stored = {}  # large files, whose SHA-256 the hub announces
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                content = self.rfile.read(int(self.headers["Content-Length"]))
                hub.token = self.headers["Authorization"]
                self.answer(*((hub.refuses, {"error": "no"}) if hub.refuses else (200, hub.posted(self.path, content))))

            def do_PUT(self):
                if self.headers["Transfer-Encoding"] == "chunked":
                    sizes = iter(lambda: int(self.rfile.readline(), 16), 0)
                    content = b"".join(self.rfile.read(size + 2)[:-2] for size in sizes)
                    self.rfile.readline()
                else:
                    content = self.rfile.read(int(self.headers["Content-Length"]))
                hub.objects[self.path.rpartition("/")[2]] = content
                self.answer(200, {})

            def do_HEAD(self):
                self.do_GET()

            def do_GET(self):
                if self.path == f"/api/models/{hub.repository}":
                    self.answer(hub.refuses or 200, {"id": hub.repository, "private": hub.private, "tags": []})
                    return
                repository, _, rest = self.path.partition("/resolve/")
                revision, _, name = rest.partition("/")
                if repository != f"/{hub.repository}":
                    self.answer(404, b"", {"X-Error-Code": "RepoNotFound"})
                elif revision not in ("main", hub.commit):
                    self.answer(404, b"", {"X-Error-Code": "RevisionNotFound"})
                elif name not in hub.files:
                    self.answer(404, b"", {"X-Error-Code": "EntryNotFound"})
                else:
                    announced = hashlib.sha256(hub.stored.get(name, hub.files[name])).hexdigest()
                    self.answer(200, hub.files[name], {"ETag": f'"{announced}"', "X-Repo-Commit": hub.commit})

            def answer(self, status, content, headers=()):
                content = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                for name, value in dict(headers).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    @property
    def commit(self):
        return f"{self.commits:040x}"

    def posted(self, path, content):
        if path.endswith("/repos/create"):
            self.made = json.loads(content)
            return {"url": f"{self.url}/{self.repository}"}
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
        self.commits += 1
        for line in map(json.loads, content.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                self.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.files[value["path"]] = self.stored[value["path"]] = self.objects[value["oid"]]
        return {
            "commitUrl": f"{self.url}/{self.repository}/commit/{self.commit}",
            "commitOid": self.commit,
            "success": True,
        }

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
