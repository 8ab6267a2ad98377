"""A server on this machine, with the faults of real ones."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server:
    """Serves `content` under every path.

    Attributes:
        cut: Number of bytes after which it closes the connection, None for all.
        silent: Number of bytes after which it sends nothing more, None for all.
        status: Status of every answer.
        announced: Length that it announces; -1 announces none, None the true one.
        pause: Seconds before each half of the body.
        asked: Paths of the requests.
        headers: Headers of the last request.
    """

    def __init__(self, content: bytes = b""):
        self.content, self.status, self.announced, self.pause = content, 200, None, 0.0
        self.cut = self.silent = None
        self.asked: list[str] = []
        self.closing = threading.Event()
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
        self.asked.append(request.path)
        self.headers = request.headers
        if self.status != 200:
            request.send_error(self.status)
            return
        request.send_response(200)
        if self.announced != -1:
            request.send_header("Content-Length", str(self.announced or len(self.content)))
        request.end_headers()
        sent = self.content[: self.cut if self.silent is None else self.silent]
        half = len(sent) // 2
        for part in (sent[:half], sent[half:]):
            time.sleep(self.pause)
            request.wfile.write(part)
        if self.silent is not None:
            self.closing.wait(10)

    def close(self):
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
