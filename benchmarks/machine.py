"""What a row was measured on, the commit of the checkout and the device, and how long functions take there."""

import os
import pathlib
import platform
import statistics
import subprocess
import time
from collections.abc import Callable

import keras


def current_commit() -> str:
    """Returns the checkout's commit, followed by `+` if the code differs from it; empty outside git.

    New rows in the leaderboards do not count as changes of the code. The environment variable `KSEG_COMMIT` overrides
    the result, for copies without git.
    """
    if stated := os.environ.get("KSEG_COMMIT"):
        return stated
    git = ["git", "-C", str(pathlib.Path(__file__).parent)]
    asked = ["rev-parse", "--short=12", "HEAD"], ["status", "--porcelain", "--", ":/", ":(exclude)leaderboards"]
    try:
        commit, changes = (
            subprocess.run([*git, *command], capture_output=True, text=True, check=True).stdout.strip()
            for command in asked
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return commit + ("+" if changes else "")


def device() -> str:
    """Returns the name of the device that models run on: the GPU, or what `processor` returns."""
    backend = keras.backend.backend()
    if backend == "torch":
        import torch

        if torch.cuda.is_available():
            return torch.cuda.get_device_name()
    elif backend == "jax":
        import jax

        if jax.devices()[0].platform == "gpu":
            return jax.devices()[0].device_kind
    else:
        import tensorflow as tf

        if gpus := tf.config.list_physical_devices("GPU"):
            return tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
    return processor()


def processor() -> str:
    """Returns the architecture of the processor and the number of its cores, as `"CPU x86_64, 2 cores"`."""
    return f"CPU {platform.machine()}, {os.cpu_count()} cores"


def median_seconds(*ways: Callable[[], object], repeats: int) -> list[float]:
    """Returns the median time of each function; they are called in turn, and once before to warm up."""
    times: list[list[float]] = [[] for _ in ways]
    for _ in range(repeats + 1):
        for way, seconds in zip(ways, times, strict=True):
            start = time.perf_counter()
            way()
            seconds.append(time.perf_counter() - start)
    return [statistics.median(seconds[1:]) for seconds in times]


def processor_model() -> str:
    """Returns the model of the processor and its widest vector instructions, as `"AMD EPYC, AVX-512"`.

    AMX, which multiplies matrices of bfloat16, is named after them.
    """
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = fields.get("flags", "").split()
    widest = "AVX-512" if "avx512f" in flags else "AVX2" if "avx2" in flags else "no AVX2"
    matrices = ", AMX" if "amx_bf16" in flags else ""
    return f"{fields.get('model name', platform.machine())}, {widest}{matrices}"


def usable_cores() -> int:
    """Returns how many cores this process may use, which `taskset` and containers limit on Linux."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor_used() -> str:
    """Returns the model of the processor and how many cores this process may use, as `"AMD EPYC, AVX-512, 1 core"`."""
    cores = usable_cores()
    return f"{processor_model()}, {cores} core{'s' * (cores != 1)}"
