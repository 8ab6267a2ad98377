"""What a row was made on, the device and the commit of the checkout; and what later starts on it need not do again."""

import os
import pathlib
import platform
import subprocess

import keras

from kseg.training.memory import process_peak


def current_commit() -> str:
    """Returns the checkout's commit, with a `+` where the code differs from it; empty outside git.

    New rows in the leaderboards are no change of the code. `KSEG_COMMIT` tells it to copies without git.
    """
    if told := os.environ.get("KSEG_COMMIT"):
        return told
    git = ["git", "-C", str(pathlib.Path(__file__).parent)]
    try:
        commit = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--", ":/", ":(exclude)leaderboards"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return commit.stdout.strip() + ("+" if changed.stdout.strip() else "")


def device(backend: str | None = None) -> str:
    """Names what models run on: the GPU, or `CPU`, the processor and the number of its cores.

    Args:
        backend: `"tensorflow"`, `"jax"` or `"torch"`; None for Keras's.

    Returns:
        The name.
    """
    backend = backend or keras.backend.backend()
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


def keep_compiled(folder: pathlib.Path) -> None:
    """Lets later processes take what JAX compiles in this one; `JAX_COMPILATION_CACHE_DIR` goes before.

    Args:
        folder: Where to keep it.
    """
    if keras.backend.backend() == "jax":
        import jax

        if jax.config.jax_compilation_cache_dir is None:
            jax.config.update("jax_compilation_cache_dir", str(folder))
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)  # a start compiles many small things


def processor() -> str:
    """Names the processor and the number of its cores."""
    return f"CPU {platform.machine()}, {os.cpu_count()} cores"


def memory_raised(since: int | None) -> int | None:
    """Tells by how much this process's greatest memory has grown.

    Args:
        since: What `process_peak` returned before.

    Returns:
        Megabytes of 2**20, or None where the system does not tell.
    """
    peak = process_peak()
    return None if peak is None or since is None else round((peak - since) / 2**20)
