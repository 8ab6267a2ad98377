"""What a run sets and measures for the whole process: seeds, precision, determinism, memory."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from kseg.training.recipe import Recipe


@contextlib.contextmanager
def settings(recipe: Recipe) -> Iterator[None]:
    """Applies the seed, precision and determinism of a recipe in the block; TensorFlow stays deterministic."""
    policy = keras.config.dtype_policy()
    keras.utils.set_random_seed(recipe.seed)
    keras.config.set_dtype_policy(recipe.precision)
    backend = keras.backend.backend()
    if recipe.deterministic and backend == "tensorflow":
        import tensorflow

        tensorflow.config.experimental.enable_op_determinism()
    elif recipe.deterministic and backend == "torch":
        import torch

        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # PyTorch requires it for matrix products on a GPU
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)
        if recipe.deterministic and backend == "torch":
            torch.use_deterministic_algorithms(False)


def seed_epoch(seed: int, epoch: int, process: int = 0) -> None:
    """Makes dropout on PyTorch depend on the seed, the epoch (from 0) and the process (from 0) alone.

    There, dropout draws from the generator of the backend, whose state no checkpoint holds, not from the layer's seed.
    """
    if keras.backend.backend() == "torch":
        import torch

        torch.manual_seed(int(np.random.SeedSequence([seed, epoch, *[process] * (process > 0)]).generate_state(1)[0]))


class PeakMemory:
    """Measures the peak memory use since it was created: of the GPU if the backend has one, else of the process.

    The peak of a process cannot be reset, so only the first object of a process reports it.
    """

    created = False

    def __init__(self) -> None:
        self.gpu = _gpu()
        self.first = not PeakMemory.created
        PeakMemory.created = True
        self.before = 0
        backend = keras.backend.backend()
        if self.gpu is None:
            return
        if backend == "torch":
            self.gpu.reset_peak_memory_stats()
        elif backend == "tensorflow":
            self.gpu.reset_memory_stats("GPU:0")
        else:
            self.before = self.bytes() or 0  # JAX cannot reset its peak

    def bytes(self) -> int | None:
        """Returns the peak in bytes, or None if an earlier peak hides it."""
        backend = keras.backend.backend()
        if self.gpu is None:
            return process_peak() if self.first else None
        if backend == "torch":
            return self.gpu.max_memory_allocated()
        if backend == "tensorflow":
            return self.gpu.get_memory_info("GPU:0")["peak"]
        peak = (self.gpu.memory_stats() or {}).get("peak_bytes_in_use", 0)
        return peak if peak > self.before else None


def _gpu() -> Any:
    """Returns the object with the memory statistics of the first GPU, or None without one."""
    backend = keras.backend.backend()
    if backend == "torch":
        import torch

        return torch.cuda if torch.cuda.is_available() else None
    if backend == "tensorflow":
        import tensorflow

        return tensorflow.config.experimental if tensorflow.config.list_physical_devices("GPU") else None
    import jax

    return jax.local_devices()[0] if jax.local_devices()[0].platform == "gpu" else None


def process_peak(*, children: bool = False) -> int | None:
    """Returns the peak memory use of this process, or of the largest finished child, in bytes; None on Windows."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_CHILDREN if children else resource.RUSAGE_SELF).ru_maxrss * unit
