"""TensorFlow's input pipeline and the C allocator."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # parameters of glibc's mallopt
LIMIT = 1 << 30


def keep_freed_memory() -> None:
    """Keeps glibc from returning freed memory to the system, where TensorFlow is loaded.

    `tf.data.Dataset.from_generator`, through which Keras reads a loader on TensorFlow, lowers the trim threshold of
    malloc to 128 kB. Every training step then returns its activations to the system and faults them in again, which
    can take a third of the time of training on a CPU. With other C libraries this function does nothing.
    """
    if "tensorflow" in sys.modules and sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(M_TRIM_THRESHOLD, LIMIT)
            mallopt(M_MMAP_THRESHOLD, LIMIT)
