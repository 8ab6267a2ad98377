"""A server of our own on this machine, with the faults of real ones."""

import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server:
    """Serves `content` under every path.

    `ranges` says whether it knows partial answers; `cuts` after how many bytes it hangs up, one for each coming
    request; `stop` after how many it falls silent; `status` what it answers; `announced` the length it claims, -1 none;
    `pause` seconds before every half of the body. `asked` collects `(path, Range)` of the requests.
    """

    def __init__(self, content: bytes = b""):
        self.content, self.ranges, self.cuts, self.stop = content, True, [], None
        self.status, self.announced, self.pause = 200, None, 0.0
        self.asked: list[tuple[str, str | None]] = []
        self.open = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *arguments: None  # clients are killed in these tests
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def answer(self, request):
        asked = request.headers.get("Range")
        self.asked.append((request.path, asked))
        if self.status != 200:
            request.send_error(self.status)
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and self.ranges else 0
        if start >= len(self.content) > 0:
            request.send_error(416)
            return
        body = self.content[start:]
        request.send_response(206 if start else 200)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        if self.announced != -1:
            request.send_header("Content-Length", str(self.announced or len(body)))
        request.end_headers()
        sent = (
            body[: self.cuts.pop(0)] if self.cuts else body[: None if self.stop is None else max(0, self.stop - start)]
        )
        half = len(sent) // 2
        for part in (sent[:half], sent[half:]):
            time.sleep(self.pause)
            request.wfile.write(part)
        if self.stop is not None:
            self.open.wait(10)  # says no more, and does not hang up

    def close(self):
        self.open.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
