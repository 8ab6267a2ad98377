"""The connection to Ray, and how a cluster is divided into workers."""

import contextlib
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

PASSED = ("KERAS_", "TF_", "XLA_", "JAX_", "PJRT_", "OMP_", "MKL_", "TORCH_", "PYTORCH_", "KSEG_")
"""Beginnings of the environment variables that workers have as the process that starts them."""


SECONDS = 10
"""Longest time in which the server of a cluster answers."""


class Plan(NamedTuple):
    """The number of workers, and what each has."""

    workers: int
    cpus: int
    gpus: int


def load_ray() -> Any:
    """Returns the module ray, or raises an ImportError with the command that installs it."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise ImportError(f"--ray needs Ray: pip install 'kseg[scale]' ({error})") from None
    return ray


@contextlib.contextmanager
def connected(address: str) -> Iterator[Any]:
    """Connects to a cluster, and disconnects afterwards, unless the process was connected before.

    Args:
        address: `"local"` starts one on this machine, which ends with the block; `"auto"`, `"host:port"` or
            `"ray://host:port"` is a running one.

    Yields:
        The module ray.

    Raises:
        ImportError: If Ray is not installed.
        ValueError: If there is no cluster at the address.
    """
    ray = load_ray()
    if ray.is_initialized():
        yield ray
        return
    cure = "start one with `ray start --head`, or give --ray alone, which starts one on this machine"
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        if host:  # Ray would try for minutes
            socket.create_connection((host, int(port)), SECONDS).close()
    except (OSError, ValueError) as error:
        raise ValueError(f"there is no Ray cluster at {address} ({error}): {cure}") from None
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address == "local":
        options["include_dashboard"] = False
    try:
        ray.init(address=address, **options)
    except Exception as error:  # of many types: no server, another version of Ray or of Python
        text = next(iter(str(error).splitlines()), type(error).__name__)
        if address == "local":
            raise ValueError(f"Ray cannot start on this machine ({text}): leave --ray out") from None
        raise ValueError(f"there is no Ray cluster at {address} ({text}): {cure}") from None
    try:
        yield ray
    finally:
        ray.shutdown()


def plan(nodes: Sequence[Mapping[str, float]], workers: int | None, *, on_gpus: bool) -> Plan:
    """Divides the resources of the nodes of a cluster among workers.

    Args:
        nodes: The resources of each node, with the keys `CPU` and `GPU`.
        workers: The number of workers; None for one per GPU, or per core.
        on_gpus: Whether the network runs on GPUs, if there are any.

    Raises:
        ValueError: If there are fewer GPUs, or cores, than workers.

    Example:
        >>> plan([{"CPU": 8}, {"CPU": 8}], 3, on_gpus=False)
        Plan(workers=3, cpus=4, gpus=0)
        >>> plan([{"CPU": 8, "GPU": 2}, {"CPU": 8}], None, on_gpus=True)
        Plan(workers=2, cpus=4, gpus=1)
    """
    gpus = sum(int(node.get("GPU", 0)) for node in nodes) if on_gpus else 0
    cores = [int(node.get("CPU", 0)) for node in nodes]
    total, unit = (gpus, "GPUs") if gpus else (sum(cores), "cores")
    count = total if workers is None else workers
    if not 1 <= count <= total:
        raise ValueError(f"--workers {count}: the cluster has {total} {unit}")

    def room(cpus: int) -> int:
        counts = [core // cpus for core in cores]
        if gpus:
            counts = [min(each, int(node.get("GPU", 0))) for each, node in zip(counts, nodes, strict=True)]
        return sum(counts)

    cpus = next((each for each in range(max(cores, default=1), 0, -1) if room(each) >= count), None)
    if cpus is None:
        raise ValueError(f"--workers {count}: the machines with {unit} have too few cores")
    return Plan(count, cpus, 1 if gpus else 0)


def environment(cpus: int, backend: str, threads: Mapping[str, str | None]) -> dict[str, str]:
    """Returns the environment variables of a worker.

    Args:
        cpus: The number of its cores.
        backend: The backend of Keras.
        threads: The variables that limit threads, with the values that the user gave; None for its cores.
    """
    passed = {name: value for name, value in os.environ.items() if name.startswith(PASSED)}
    limits = {name: str(cpus) if value is None else value for name, value in threads.items()}
    return {**passed, **limits, "KERAS_BACKEND": backend}
