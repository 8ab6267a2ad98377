"""Call a function in a new process, which has its own memory and can be killed without harm to the caller."""

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


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls a function of a module, with arguments that can be pickled, in a new process and returns its result.

    The process does not outlive the caller: it is killed on Ctrl-C, and it ends by itself if the caller is killed. If
    the function raises an exception, whose traceback the process prints, or the process is killed, this raises a
    ChildError.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_call, args=(sender, function, arguments))
    child.start()
    sender.close()
    try:
        error, result = receiver.recv()
    except EOFError:
        child.join()
        raise ChildError(f"its process ended with exit code {child.exitcode} ({_reason(child.exitcode)})") from None
    finally:
        child.kill()
        child.join()
    if error is not None:
        raise ChildError(error)
    return result


def _call(sender: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    answer: tuple[str | None, Any]
    try:
        answer = None, function(*arguments)
    except Exception as error:
        traceback.print_exc(limit=-3)
        answer = f"{type(error).__name__}: {error}", None
    sys.stdout.flush()
    sender.send(answer)


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
