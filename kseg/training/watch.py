"""Ends all processes that train together as soon as one of them has ended; else they would wait for it in vain."""

import os
import socket
import sys
import threading
import time
from typing import Self

from kseg.training.hosts import Place

PATIENCE = 120
"""Seconds in which all processes have to appear."""
DONE = b"done\n"


class Watch:
    """A connection of each process to process 0, in a `with` block.

    The operating system closes it when a process ends, and, by keep-alive messages, within 30 s when a host is gone.
    A process that leaves the block without an error says so before.
    """

    def __init__(self, place: Place):
        self.place, self.finished = place, False
        self.sockets: list[socket.socket] = []

    def __enter__(self) -> Self:
        own = f"process {self.place.process} on {socket.gethostname()}"
        if self.place.process == 0:
            self.server = socket.create_server(("", self.place.port + 1), backlog=self.place.processes)
            self.server.settimeout(PATIENCE)
            while len(self.sockets) < self.place.processes - 1:
                try:
                    connection, _ = self.server.accept()
                except TimeoutError:
                    raise TimeoutError(
                        f"{len(self.sockets) + 1} of {self.place.processes} processes have started after {PATIENCE} s: "
                        "start the same command on every host, each with its own process number"
                    ) from None
                self.sockets.append(connection)
                self._listen(connection, "")
        else:
            connection = self._connect()
            connection.sendall(f"{own}\n".encode())
            self.sockets.append(connection)
            self._listen(connection, f"process 0 on {self.place.address}")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.finished = kind is None
        for connection in self.sockets:
            try:
                if self.finished:
                    connection.sendall(DONE)
                connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # the other side has ended, which its thread has seen
        if self.place.process == 0:
            self.server.close()

    def _connect(self) -> socket.socket:
        end = time.monotonic() + PATIENCE
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
        connection.settimeout(None)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, seconds in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4)):
            if hasattr(socket, option):  # macOS and Windows name them otherwise
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), seconds)
        threading.Thread(target=self._wait, args=(connection, name), daemon=True).start()

    def _wait(self, connection: socket.socket, name: str) -> None:
        """Reads the name of the other side, then waits for its end."""
        lines = connection.makefile("rb")
        try:
            name = name or lines.readline().decode().strip()
            last = lines.readline()
        except OSError:
            last = b""
        if last == DONE or self.finished:
            return
        reason = last.decode().strip() or f"{name} has ended"
        if self.place.process == 0:
            for other in self.sockets:
                try:
                    other.sendall(f"{reason}\n".encode())
                except OSError:
                    continue
        print(f"error: {reason}, so training stops; the same command on every host resumes it", file=sys.stderr)
        sys.stderr.flush()
        os._exit(1)
