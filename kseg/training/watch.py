"""Ends all processes that train together as soon as one of them has ended; they would otherwise wait for it forever."""

import contextlib
import os
import pathlib
import shutil
import socket
import sys
import threading
import time
from typing import Self

from kseg.training.hosts import Place

PATIENCE = 120
"""Seconds in which all processes have to appear."""
SEEN = 2.0
"""Seconds after which the end of another process has been seen at the latest, if its host is there."""
DONE = "done"


class Watch:
    """A connection of each process to process 0, in a `with` block.

    The operating system closes it when a process ends, and, by keep-alive messages, within 30 s when a host is gone.
    A process that leaves the block says so before, with its error if there is one.

    Attributes:
        scratch: A folder to remove if this process is ended.
    """

    def __init__(self, place: Place):
        self.place, self.left = place, False
        self.name = f"process {place.process} on {socket.gethostname()}"
        self.scratch: pathlib.Path | None = None
        self.sockets: list[socket.socket] = []

    def __enter__(self) -> Self:
        end = time.monotonic() + PATIENCE
        if self.place.process == 0:
            self._accept(end)
        else:
            connection = self._connect(end)
            _send(connection, self.name)
            self._listen(connection, f"process 0 on {self.place.address}")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, *_: object) -> None:
        if error is not None:
            time.sleep(SEEN)  # if it comes from the end of another process, its thread ends this one now
        self.left = True
        for connection in self.sockets:
            _send(connection, DONE if error is None else f"{self.name} has ended: {' '.join(str(error).split())}")
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_WR)

    def _accept(self, end: float) -> None:
        port = self.place.port + 1
        try:
            server = socket.create_server(("", port), backlog=self.place.processes)
        except OSError as error:
            raise ValueError(f"port {port} of this host cannot be used ({error}): choose another port") from None
        with server:
            while len(self.sockets) < self.place.processes - 1:
                server.settimeout(max(0.0, end - time.monotonic()) or 0.01)
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    raise TimeoutError(
                        f"{len(self.sockets) + 1} of {self.place.processes} processes have started after {PATIENCE} s: "
                        "start the same command on every host, each with its own process number"
                    ) from None
                connection.settimeout(5)
                name = _line(connection)
                if name.startswith("process "):  # not a stranger
                    self._listen(connection, name)

    def _connect(self, end: float) -> socket.socket:
        while True:
            try:
                return socket.create_connection((self.place.address, self.place.port + 1), timeout=5)
            except OSError as error:
                if time.monotonic() > end:
                    raise TimeoutError(
                        f"no process 0 at {self.place.address}:{self.place.port + 1} after {PATIENCE} s ({error}): "
                        "start it there, and let its firewall pass this port and the one before"
                    ) from None
                time.sleep(0.2)

    def _listen(self, connection: socket.socket, name: str) -> None:
        self.sockets.append(connection)
        connection.settimeout(None)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, seconds in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4)):
            if hasattr(socket, option):  # macOS and Windows name them otherwise
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), seconds)
        threading.Thread(target=self._wait, args=(connection, name), daemon=True).start()

    def _wait(self, connection: socket.socket, name: str) -> None:
        """Waits for the end of another process, and ends this one unless both have left the block."""
        last = _line(connection)
        if last == DONE or self.left:
            return
        reason = last or f"{name} has ended"
        if self.place.process == 0:
            for other in self.sockets:
                _send(other, reason)
        print(f"error: {reason}, so training stops; the same command on every host resumes it", file=sys.stderr)
        sys.stderr.flush()
        if self.scratch is not None:
            shutil.rmtree(self.scratch, ignore_errors=True)
        os._exit(1)


def _send(connection: socket.socket, text: str) -> None:
    with contextlib.suppress(OSError):  # the other side has ended, which its thread sees
        connection.sendall(f"{text}\n".encode())


def _line(connection: socket.socket) -> str:
    """Reads a line, byte by byte, so that nothing of the next one is lost; empty if the connection ends."""
    found = b""
    with contextlib.suppress(OSError):
        while (byte := connection.recv(1)) not in (b"", b"\n"):
            found += byte
    return found.decode(errors="replace").strip()
