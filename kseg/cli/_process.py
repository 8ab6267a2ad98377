"""Settings of a command's process that the backend reads only once, when it is imported.

`import kseg` does not change them: a script chooses its own. `benchmarks/__main__.py` runs this file by its path, since
`import kseg` imports the backend there.
"""

import math
import os
import pathlib
import platform

THREADS = ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS", "PJRT_NPROC")  # of TensorFlow, PyTorch, JAX


def prepare(*, training: bool) -> None:
    """Sets environment variables that make the backend faster on a CPU; those that the user has set are kept.

    Args:
        training: Whether the command trains; otherwise it only predicts.
    """
    for name, value in {**_onednn(training), **_threads()}.items():
        os.environ.setdefault(name, value)


def _onednn(training: bool, processor: pathlib.Path = pathlib.Path("/proc/cpuinfo")) -> dict[str, str]:
    """Turns on TensorFlow's oneDNN for training and, where the processor has AVX-512, for prediction.

    TensorFlow's own choice depends on instructions for integers (VNNI). In float32, oneDNN trains a U-Net in 0.5 times
    the CPU time with AVX-512 and 0.7 times with AVX2; it predicts in 0.7 times the time with AVX-512, 1.5 with AVX2.
    """
    if platform.machine() not in ("x86_64", "AMD64"):
        return {}
    features = set(processor.read_text().split()) if processor.is_file() else set()
    if training or "avx512f" in features:
        return {"TF_ENABLE_ONEDNN_OPTS": "1"}
    return {"TF_ENABLE_ONEDNN_OPTS": "0"} if features else {}


def _threads(groups: pathlib.Path = pathlib.Path("/sys/fs/cgroup")) -> dict[str, str]:
    """Limits the threads to the cores that a container may use; the backends count all cores of the machine."""
    try:
        if (limit := groups / "cpu.max").is_file():
            quota, period = limit.read_text().split()
        else:  # the first version of control groups
            quota, period = ((groups / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        cores = math.ceil(int(quota) / int(period))
    except (OSError, ValueError):  # not on Linux, or "max"
        return {}
    return dict.fromkeys(THREADS, str(cores)) if 0 < cores < len(os.sched_getaffinity(0)) else {}
