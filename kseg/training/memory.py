"""How much memory a run takes at most."""

import sys
from typing import Any

import keras


class PeakMemory:
    """The most memory in use since this object was made: the GPU's where the backend has one, else the process's.

    The process's is told to the first such object alone: later ones would count what a model before has left behind.

    Example:
        >>> (PeakMemory().bytes() or 10**8) > 10**7
        True
    """

    made = False

    def __init__(self) -> None:
        self.gpu = _gpu()
        self.first = not PeakMemory.made
        PeakMemory.made = True
        self.before = 0
        backend = keras.backend.backend()
        if self.gpu is None:
            return
        if backend == "torch":
            self.gpu.reset_peak_memory_stats()
        elif backend == "tensorflow":
            self.gpu.reset_memory_stats("GPU:0")
        else:
            self.before = self.bytes() or 0  # JAX cannot forget

    def bytes(self) -> int | None:
        """Returns the peak in bytes, or None where it cannot be told from what was before."""
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
    """What tells of the first GPU's memory, or None."""
    backend = keras.backend.backend()
    if backend == "torch":
        import torch

        return torch.cuda if torch.cuda.is_available() else None
    if backend == "tensorflow":
        import tensorflow

        return tensorflow.config.experimental if tensorflow.config.list_physical_devices("GPU") else None
    import jax

    return jax.devices()[0] if jax.devices()[0].platform == "gpu" else None


def process_peak() -> int | None:
    """Returns the most memory in bytes that this process has had, or None where the system does not tell (Windows).

    Example:
        >>> (process_peak() or 10**8) > 10**7
        True
    """
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
