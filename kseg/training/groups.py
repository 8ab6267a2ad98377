"""The processes that train together and their devices: alone, on JAX, on TensorFlow, on PyTorch."""

import contextlib
import hashlib
import os

import keras
import numpy as np

from kseg import replicas
from kseg.training.hosts import Place, is_in_torchrun
from kseg.training.watch import Watch


class Alone:
    """One process with one device; the groups below add what several of them do together.

    Attributes:
        process: The number of this process, from 0.
        processes: Their number.
        devices: The devices of this process.
    """

    process, processes, devices = 0, 1, 1
    watch: Watch | None = None

    def scope(self) -> contextlib.AbstractContextManager:
        """Returns a block in which the model is built, compiled and trained."""
        return contextlib.nullcontext()

    def gather(self, array: np.ndarray) -> np.ndarray:
        """Returns the arrays of all processes, which have one shape and type, along a new first axis."""
        return array[None]

    def send(self, content: bytes) -> bytes:
        """Returns what process 0 gives."""
        return content

    def local(self, model: keras.Model, twin: keras.Model | None) -> keras.Model:
        """Returns a model with the same weights that this process can run without the others."""
        return model

    @property
    def needs_twin(self) -> bool:
        """Whether `local` needs a second model, built outside of the scope."""
        return False

    def total(self, array: np.ndarray) -> np.ndarray:
        """Adds an array over all processes."""
        return self.gather(array).sum(axis=0)

    def agree(self, text: str, what: str) -> None:
        """Raises a ValueError if a text differs from that of process 0."""
        digests = self.gather(np.frombuffer(hashlib.sha256(text.encode()).digest(), "uint8"))
        if others := [index for index, digest in enumerate(digests) if (digest != digests[0]).any()]:
            raise ValueError(f"{what} of process {others[0]} differs from that of process 0: make them equal")

    def leave(self) -> None:
        """Closes the connections to the others."""


class _Twin(Alone):
    """A group whose models belong to all devices at once."""

    needs_twin = True

    def local(self, model: keras.Model, twin: keras.Model | None) -> keras.Model:
        assert twin is not None
        for own, common in zip(twin.weights, model.weights, strict=True):
            own.assign(np.array(keras.ops.convert_to_numpy(common)))
        return twin


class OnJax(_Twin):
    """All devices of all processes, by Keras's `DataParallel`."""

    def __init__(self, devices: int | None, place: Place | None):
        import jax

        if devices is not None and devices > 1:
            with contextlib.suppress(RuntimeError):  # JAX has started: it keeps the devices that it has
                jax.config.update("jax_num_cpu_devices", devices)
        if place is not None:
            jax.config.update("jax_cpu_collectives_implementation", "gloo")
            if is_in_torchrun(os.environ):
                raise ValueError("torchrun is for PyTorch: start JAX by kseg train with hosts, processes and process")
            if not jax.distributed.is_initialized():  # by an earlier call of this process
                address = f"{place.address}:{place.port}"
                try:
                    # Without detection of clusters, which would leave JAX one GPU of each host under SLURM.
                    jax.distributed.initialize(
                        address, place.processes, place.process, cluster_detection_method="deactivate"
                    )
                except RuntimeError as error:
                    raise ValueError(
                        f"JAX cannot join {address}: {error}; start training in a new process, before any other use "
                        "of JAX"
                    ) from None
        self.process, self.processes = jax.process_index(), jax.process_count()
        here = jax.local_devices()
        self.devices = checked(devices, len(here))
        if place is not None and self.devices < len(here):
            raise ValueError(f"with several hosts, all {len(here)} devices of this one train: leave out devices")
        chosen = here[: self.devices] if place is None else jax.devices()
        names = [f"{each.platform}:{each.id}" for each in chosen]
        self.parallel = keras.distribution.DataParallel(devices=names, auto_shard_dataset=False)

    def scope(self) -> contextlib.AbstractContextManager:
        return self.parallel.scope()

    def gather(self, array: np.ndarray) -> np.ndarray:
        from jax.experimental import multihost_utils

        # Without 64-bit types, JAX would cut int64 and float64 to half.
        found = np.asarray(multihost_utils.process_allgather(np.frombuffer(array.tobytes(), "uint8")))
        return np.frombuffer(found.tobytes(), array.dtype).reshape(self.processes, *array.shape)

    def send(self, content: bytes) -> bytes:
        from jax.experimental import multihost_utils

        size = int(self.gather(np.array(len(content)))[0])
        given = np.frombuffer(content, "uint8") if self.process == 0 else np.zeros(size, "uint8")
        return np.asarray(multihost_utils.broadcast_one_to_all(given), "uint8").tobytes()


class OnTensorFlow(_Twin):
    """Several devices of one host, by `MirroredStrategy`."""

    def __init__(self, devices: int | None, place: Place | None):
        import tensorflow

        if place is not None:
            raise ValueError("TensorFlow trains on the devices of one host: set KERAS_BACKEND=jax for several hosts")
        kind = "GPU" if tensorflow.config.list_physical_devices("GPU") else "CPU"
        if kind == "CPU" and devices is not None:
            parts = [tensorflow.config.LogicalDeviceConfiguration()] * devices
            cpu = tensorflow.config.list_physical_devices("CPU")[0]
            with contextlib.suppress(RuntimeError):  # TensorFlow has started
                tensorflow.config.set_logical_device_configuration(cpu, parts)
        names = [each.name for each in tensorflow.config.list_logical_devices(kind)]
        self.devices = checked(devices, len(names))
        self.strategy = tensorflow.distribute.MirroredStrategy(names[: self.devices])

    def scope(self) -> contextlib.AbstractContextManager:
        return self.strategy.scope()


class OnTorch(Alone):
    """One process per device, by the collectives of `torch.distributed`."""

    def __init__(self, devices: int | None, place: Place | None):
        import torch

        if place is None or (devices not in (None, 1) and not is_in_torchrun(os.environ)):
            raise ValueError(
                "with PyTorch, each device has a process of its own: use the command kseg train, which starts them, or "
                f"torchrun --nproc-per-node={devices} with your program"
            )
        self.process, self.processes = place.process, place.processes
        gpu = torch.cuda.is_available()
        if gpu:
            torch.cuda.set_device(place.local % torch.cuda.device_count())  # a task of SLURM may see its own alone
        torch.distributed.init_process_group(
            "nccl" if gpu else "gloo",
            init_method="env://" if is_in_torchrun(os.environ) else f"tcp://{place.address}:{place.port}",
            world_size=place.processes,
            rank=place.process,
        )
        self.device = "cuda" if gpu else "cpu"

    def leave(self) -> None:
        import torch

        torch.distributed.destroy_process_group()

    def scope(self) -> contextlib.AbstractContextManager:
        return replicas.torch_processes(self.processes)

    def gather(self, array: np.ndarray) -> np.ndarray:
        import torch

        own = torch.frombuffer(bytearray(array.tobytes()), dtype=torch.uint8).to(self.device)
        found = [torch.empty_like(own) for _ in range(self.processes)]
        torch.distributed.all_gather(found, own)
        stacked = np.stack([each.cpu().numpy() for each in found])
        return np.frombuffer(stacked.tobytes(), array.dtype).reshape(self.processes, *array.shape)

    def send(self, content: bytes) -> bytes:
        import torch

        size = int(self.gather(np.array(len(content)))[0])
        given = bytearray(content) if self.process == 0 else bytearray(size)
        if not size:
            return b""
        tensor = torch.frombuffer(given, dtype=torch.uint8).to(self.device)
        torch.distributed.broadcast(tensor, 0)
        return tensor.cpu().numpy().tobytes()


def checked(wanted: int | None, there: int) -> int:
    if wanted is not None and wanted > there:
        noun = "device" if there == 1 else "devices"
        raise ValueError(
            f"devices = {wanted}, but this process has {there} {noun}: lower it; a CPU is divided into devices only "
            "before the first operation of a process, as by the command kseg train"
        )
    return there if wanted is None else wanted
