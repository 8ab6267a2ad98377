"""PyTorch models as references: random weights, and their outputs for images of ours."""

import re
from collections.abc import Iterable

import numpy as np
import torch

from tests.layers.tracing import computed

MEAN = np.array([0.485, 0.456, 0.406], "float32")
DEVIATION = np.array([0.229, 0.224, 0.225], "float32")

SIZES = ((97, 129), (32, 224))


def randomized(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Sets random weights with which every branch and every statistic influences the outputs; for inference."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            for tensor, low, high in (
                (part.weight, 0.5, 1.5),
                (part.bias, -0.3, 0.3),
                (part.running_mean, -0.3, 0.3),
                (part.running_var, 0.5, 1.5),
            ):
                tensor.data.uniform_(low, high, generator=generator)
        elif isinstance(part, torch.nn.LayerNorm):
            part.weight.data.uniform_(0.5, 1.5, generator=generator)
            part.bias.data.uniform_(-0.3, 0.3, generator=generator)
        elif isinstance(part, torch.nn.Conv2d | torch.nn.Linear):
            part.weight.data.normal_(0, part.weight[0].numel() ** -0.5, generator=generator)
            if part.bias is not None:
                part.bias.data.normal_(generator=generator)
        else:  # such as scales of channels and biases of positions, which may be 0 at first
            for tensor in part.parameters(recurse=False):
                tensor.data.uniform_(0.5, 1.5, generator=generator)
    return module.eval()


def faint(mit: torch.nn.Module) -> torch.nn.Module:
    """Makes what the blocks of a Mix Transformer add up so small that the epsilon of its normalization matters."""
    for name, tensor in mit.named_parameters():
        if re.search(r"patch_embed\w*\.(\d\.)?(layer_)?norm|attn\.proj|o_proj|mlp\.fc2", name):
            tensor.data *= 3e-3
    return mit


def arrays(module: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


def image(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 255, (1, *size, 3)).astype("float32")


def normalized(pixels: np.ndarray, mean=MEAN, std=DEVIATION) -> torch.Tensor:
    values = (pixels / 255 - np.asarray(mean, "float32")) / np.asarray(std, "float32")
    return torch.from_numpy(values.transpose(0, 3, 1, 2).copy())


def outputs(module, pixels: np.ndarray, mean=MEAN, std=DEVIATION) -> list[np.ndarray]:
    """Returns the outputs of a model for an image with values from 0 to 255, each `(N, H, W, C)`."""
    with torch.inference_mode():
        found = module(normalized(pixels, mean, std))
    if isinstance(found, dict):  # torchvision's models
        found = list(found.values())
    elif isinstance(found, torch.Tensor):
        found = [found]
    return [tensor.numpy().transpose(0, 2, 3, 1) for tensor in found]


def logits(model, pixels: np.ndarray):
    """Returns the output or outputs of a Keras model."""
    return computed(model, pixels)


def assert_same(found: Iterable[np.ndarray], expected: Iterable[np.ndarray]) -> None:
    """Checks that outputs differ by less than 1e-4 of their scale, as promised for every ported checkpoint."""
    for ours, theirs in zip(found, expected, strict=True):
        ours = np.asarray(ours)
        assert ours.shape == theirs.shape
        scale = np.abs(theirs).max()
        assert scale > 1e-2
        assert np.abs(ours - theirs).max() < 1e-4 * scale
