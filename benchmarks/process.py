"""Call functions in a new process, which has its own memory and can be killed without harm to the caller."""

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any


class ChildError(RuntimeError):
    """The function raised an exception, or its process was killed."""


class Worker:
    """A process that calls functions, one after the other, until the end of its `with` block.

    The process does not outlive the caller: it is killed on Ctrl-C, and it ends by itself if the caller is killed.

    Args:
        **environment: Environment variables that differ from those of this process.
    """

    def __init__(self, **environment: str):
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.child = context.Process(target=_serve, args=(other,))
        before = {name: os.environ.pop(name, None) for name in environment}
        os.environ.update(environment)
        try:
            self.child.start()
        finally:
            for name, value in before.items():
                del os.environ[name]
                if value is not None:
                    os.environ[name] = value
        other.close()

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Calls a function in the process and waits for it.

        Args:
            function: A function of a module, so that the process can import it.
            *arguments: Its arguments; they are pickled.

        Returns:
            What the function returned.

        Raises:
            ChildError: If the function raised an exception, whose traceback the process has printed, or if the process
                was killed.
        """
        try:
            self.connection.send((function, arguments))
            error, result = self.connection.recv()
        except (EOFError, ConnectionError):
            self.child.join()
            code = self.child.exitcode
            raise ChildError(f"its process ended with exit code {code} ({_reason(code)})") from None
        if error is not None:
            raise ChildError(error)
        return result

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.child.kill()
        self.child.join()
        self.connection.close()


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls a function in a new process, as `Worker` does."""
    with Worker() as worker:
        return worker(function, *arguments)


def _serve(connection: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        answer: tuple[str | None, Any]
        try:
            function, arguments = connection.recv()
            answer = None, function(*arguments)
        except Exception as error:
            traceback.print_exc(limit=-3)
            answer = f"{type(error).__name__}: {error}", None
        sys.stdout.flush()
        connection.send(answer)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _reason(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return "see above"
    name = signal.Signals(-exit_code).name
    return f"{name}, as when memory runs out" if name == "SIGKILL" else name
