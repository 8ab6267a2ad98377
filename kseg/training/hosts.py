"""Where a process stands among those that train together: as stated, or as in the environment of a cluster."""

import dataclasses
import os
import re
from collections.abc import Mapping

PORT = 29400
"""Where process 0 listens, or a little above, if a cluster names only its host."""


@dataclasses.dataclass(frozen=True)
class Place:
    """One process among those that train together.

    Attributes:
        address: The host of process 0.
        port: The port at which the processes find each other. The next one tells them which process has ended.
        processes: Their number.
        process: The number of this one, from 0.
        local: Its number among those of its host, from 0.
    """

    address: str
    port: int
    processes: int
    process: int
    local: int = 0


def place_of(hosts: str | None, processes: int | None, process: int | None) -> Place | None:
    """Returns the place that three options state, or that the environment states, or None for a process alone.

    In an indexed job of Kubernetes, as on GKE, the index stands for `process`.

    Raises:
        ValueError: If some of the options are missing or contradict each other.
    """
    if (hosts, processes, process) == (None, None, None) or is_in_torchrun(os.environ):
        return place_in(os.environ)
    if process is None and (index := os.environ.get("JOB_COMPLETION_INDEX", "")).isdigit():
        process = int(index)
    if processes == 1:
        return None
    given = {"hosts": hosts, "processes": processes, "process": process}
    if missing := [name for name, value in given.items() if value is None]:
        raise ValueError(f"several hosts need hosts, processes and process: {', '.join(missing)} is missing")
    assert hosts is not None and processes is not None and process is not None
    address, _, port = hosts.rpartition(":")
    if not address or not port.isdigit() or not 0 < int(port) < 2**16 - 1:
        raise ValueError(f"hosts is the address and a port of process 0, as node-1:{PORT}, got {hosts!r}")
    if not 0 <= process < processes:
        raise ValueError(f"process is 0 to {processes - 1} for {processes} processes, got {process}")
    return Place(address, int(port), processes, process)


def place_in(environment: Mapping[str, str]) -> Place | None:
    """Returns the place that torchrun or a step of SLURM states in the environment.

    Example:
        >>> place_in({"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "2", "SLURM_STEP_NODELIST": "gpu[03-04]"})
        Place(address='gpu03', port=29400, processes=4, process=2, local=0)
    """
    if is_in_torchrun(environment):
        address, port = environment["MASTER_ADDR"], int(environment["MASTER_PORT"])
        count, index, local = (int(environment.get(name, 0)) for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"))
    elif {"SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_STEP_NODELIST"} <= environment.keys():
        job = int(environment.get("SLURM_JOB_ID", 0))  # two jobs may share a node
        address, port = _first_node(environment["SLURM_STEP_NODELIST"]), PORT + 2 * (job % 1000)
        names = ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_LOCALID")
        count, index, local = (int(environment.get(name, 0)) for name in names)
    else:
        return None
    return None if count == 1 else Place(address, port, count, index, local)


def is_in_torchrun(environment: Mapping[str, str]) -> bool:
    """Returns whether torchrun has started this process."""
    return environment.keys() >= {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}


def torchrun(devices: int, hosts: str | None, processes: int | None, process: int | None) -> list[str]:
    """Returns the arguments of Python that start one process per device of this host, before those of the program."""
    place = place_of(hosts, processes, process)
    where = ["--standalone"]
    if place is not None:
        where = [f"--nnodes={place.processes}", f"--node-rank={place.process}"]
        where += [f"--master-addr={place.address}", f"--master-port={place.port}"]
    return ["-m", "torch.distributed.run", *where, f"--nproc-per-node={devices}"]


def _first_node(nodes: str) -> str:
    """Returns the first host of a list as SLURM writes it, e.g. `"gpu[03-04,07],login1"`."""
    found = re.match(r"([^\[,]+)(?:\[([^\],-]+)[^\]]*\]([^,]*))?", nodes)
    if found is None:
        raise ValueError(f"SLURM_STEP_NODELIST names no host: {nodes!r}")
    return "".join(part or "" for part in found.groups())
