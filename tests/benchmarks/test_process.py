"""Functions called in a new process: results, failures, and the end of both processes."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from benchmarks.process import ChildError, Worker, apart

ROOT = pathlib.Path(__file__).parents[2]


def wait():
    print("waiting", flush=True)
    time.sleep(600)


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def test_the_result_comes_from_another_process():
    assert apart(os.getpid) != os.getpid()


def test_an_exception_and_a_kill_are_errors_of_one_line(capfd):
    with pytest.raises(ChildError, match=r"^ValueError: invalid literal for int.*'x'$"):
        apart(int, "x")
    assert "Traceback" in capfd.readouterr().err
    with pytest.raises(ChildError, match=r"^its process ended with exit code -9 \(SIGKILL"):
        apart(kill)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_the_child_ends_with_its_parent(number):
    """Both hold the pipe of the output: it is closed when both have ended."""
    code = (  # a shell starts background jobs with SIGINT ignored, which Python inherits
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from benchmarks.process import apart; from tests.benchmarks.test_process import wait; apart(wait)"
    )
    command = [sys.executable, "-c", code]
    parent = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert parent.stdout.readline() == b"waiting\n"
    parent.send_signal(number)
    parent.communicate(timeout=30)
    assert parent.returncode != 0


def test_a_worker_has_its_own_environment_and_outlives_errors():
    with Worker(KSEG_TEST="1") as worker:
        assert worker(os.getenv, "KSEG_TEST") == "1" and "KSEG_TEST" not in os.environ
        with pytest.raises(ChildError, match="invalid literal"):
            worker(int, "x")
        assert worker(os.getpid) == worker(os.getpid) != os.getpid()
