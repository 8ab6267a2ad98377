"""One step of AdamW and of SGD on PyTorch, for a list of variables with the same learning rate and weight decay."""

from typing import Any

import torch
from torch.optim.adamw import adamw

Tensors = list[torch.Tensor]
MANY_STEPS = 1e9  # after which Adam's bias correction is 1


def ordered(tensor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Returns a tensor of the same shape with its values in the same order in memory, which fused steps assume."""
    return tensor if tensor.stride() == like.stride() else torch.empty_like(like).copy_(tensor)


@torch.no_grad()
def adam(
    gradients: Tensors,
    variables: Tensors,
    momentums: Tensors,
    velocities: Tensors,
    largest: Tensors | None,
    *,
    rate: torch.Tensor,
    step: torch.Tensor,
    decay: float,
    betas: tuple[float, float],
    epsilon: float,
) -> None:
    """Adam with decoupled weight decay, and with AMSGrad if there are the `largest` velocities; steps begin at 1.

    PyTorch adds epsilon after the bias correction, Keras before it. So the correction is a part of the rate here.
    """
    if decay:
        torch._foreach_mul_(variables, 1 - rate * decay)
    options: dict[str, Any] = {"weight_decay": 0.0, "eps": epsilon, "beta1": betas[0], "beta2": betas[1]}
    adamw(
        variables,
        gradients,
        momentums,
        velocities,
        largest or [],
        [torch.full_like(step, MANY_STEPS, dtype=torch.float32) for _ in variables],
        fused=True,
        amsgrad=largest is not None,
        lr=rate * torch.sqrt(1 - betas[1] ** step) / (1 - betas[0] ** step),
        maximize=False,
        **options,
    )


@torch.no_grad()
def average(averages: Tensors, variables: Tensors, momentum: torch.Tensor) -> None:
    """Moves averages towards the variables: `average = momentum * average + (1 - momentum) * variable`."""
    torch._foreach_mul_(averages, momentum)
    torch._foreach_add_(averages, torch._foreach_mul(variables, 1 - momentum))


@torch.no_grad()
def sgd(
    gradients: Tensors,
    variables: Tensors,
    momentums: Tensors | None,
    *,
    rate: torch.Tensor,
    decay: float,
    momentum: float,
    nesterov: bool,
) -> None:
    """Gradient descent with weight decay as a term of the gradient."""
    if decay:
        gradients = list(torch._foreach_add(gradients, variables, alpha=decay))
    steps = torch._foreach_mul(gradients, rate)
    if momentums is None:
        torch._foreach_sub_(variables, steps)
        return
    torch._foreach_mul_(momentums, momentum)
    torch._foreach_sub_(momentums, steps)
    if nesterov:
        torch._foreach_add_(variables, momentums, alpha=momentum)
        torch._foreach_sub_(variables, steps)
    else:
        torch._foreach_add_(variables, momentums)
