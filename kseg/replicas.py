"""Sums over the replicas of a model that is trained on several devices.

A batch is divided among the replicas. Losses and batch normalization need sums over the whole batch; here is where they
add what each replica has. JAX needs no sums of this kind: there, each array is one array on all devices.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

_torch_processes = 1


@contextlib.contextmanager
def torch_processes(count: int) -> Iterator[None]:
    """Within the block, the `count` processes of `torch.distributed` are replicas; a count of 1 turns this off.

    Only a training step may add over processes: it runs in all of them. A validation may not.
    """
    global _torch_processes
    before, _torch_processes = _torch_processes, count
    try:
        yield
    finally:
        _torch_processes = before


def count() -> int:
    """Returns the number of replicas that compute the present step together."""
    backend = keras.backend.backend()
    if backend == "torch":
        return _torch_processes
    if backend == "tensorflow":
        import tensorflow

        inside = tensorflow.distribute.get_replica_context()
        return 1 if inside is None else inside.num_replicas_in_sync
    return 1


def total(x: Any) -> Any:
    """Adds a term of a loss over all replicas.

    Each replica computes the loss of the whole batch from such terms, and the gradient of it through its own part;
    `add_gradients` adds these gradients. On TensorFlow, Keras divides the loss by the number of replicas before.

    Args:
        x: A float tensor.

    Returns:
        A tensor of the same shape: the sum. On TensorFlow its gradient is multiplied by the number of replicas.
    """
    replicas = count()
    if replicas == 1:
        return x
    if keras.backend.backend() == "tensorflow":
        own = x * float(replicas)
        return own + ops.stop_gradient(_tensorflow_sum(x) - own)
    return x + (_torch_sum(x.detach()) - x.detach())


def undivided(loss: Any) -> Any:
    """Undoes what Keras does to losses outside of a step: on TensorFlow it divides them by the number of replicas."""
    if keras.backend.backend() != "tensorflow":
        return loss
    import tensorflow

    replicas = tensorflow.distribute.get_strategy().num_replicas_in_sync
    return loss if replicas == count() else loss * float(replicas)


def add_gradients(gradients: list[Any]) -> list[Any]:
    """Adds the gradients of all replicas; some may be None in every replica."""
    if count() == 1:
        return gradients
    found = [gradient for gradient in gradients if gradient is not None]
    if keras.backend.backend() == "tensorflow":
        sums = iter(_tensorflow_sum(found))
        return [None if gradient is None else next(sums) for gradient in gradients]
    import torch

    flat = torch.cat([gradient.reshape(-1) for gradient in found])  # one message
    torch.distributed.all_reduce(flat)
    parts = iter(flat.split([gradient.numel() for gradient in found]))
    return [None if gradient is None else next(parts).view(gradient.shape) for gradient in gradients]


def moments(x: Any) -> tuple[Any, Any]:
    """Returns the mean and the variance of each channel over the images of all processes on PyTorch.

    Args:
        x: Features `(N, H, W, C)` of this process, float32, with as many pixels as those of the others.

    Returns:
        Two tensors `(C,)`. Their gradients include the features of the other processes.
    """

    def over_all(term: Any) -> Any:
        term = total(term)
        if term.requires_grad:  # what the other processes do with the sum depends on this term, too
            term.register_hook(_torch_sum)
        return term

    pixels = x.shape[0] * x.shape[1] * x.shape[2] * _torch_processes
    average = over_all(x.sum((0, 1, 2))) / pixels
    return average, over_all(((x - average) ** 2).sum((0, 1, 2))) / pixels


def _tensorflow_sum(x: Any) -> Any:
    import tensorflow

    return tensorflow.distribute.get_replica_context().all_reduce(tensorflow.distribute.ReduceOp.SUM, x)


def _torch_sum(x: Any) -> Any:
    import torch

    x = x.clone()
    torch.distributed.all_reduce(x)
    return x
