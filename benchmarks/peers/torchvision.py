"""Import torchvision, which other libraries need, next to a build of PyTorch that it does not match."""

import sys
from types import ModuleType

import torch

# The operators that torchvision registers shapes for. They are missing if its build does not match that of PyTorch.
OPERATORS = """
    nms qnms roi_align qroi_align ps_roi_align ps_roi_pool roi_pool deform_conv2d _roi_align_backward
    _ps_roi_align_backward _ps_roi_pool_backward _roi_pool_backward _deform_conv2d_backward
"""
_declared: list[torch.library.Library] = []
"""Keeps the declarations alive."""


def load() -> ModuleType:
    """Imports torchvision, and declares the operators that it lacks. Call this before importing timm, for example."""
    try:
        import torchvision
    except RuntimeError:  # "operator torchvision::nms does not exist"
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        _declared.append(torch.library.Library("torchvision", "FRAGMENT"))
        for name in OPERATORS.split():
            _declared[0].define(f"{name}(Tensor x) -> Tensor")
        import torchvision
    return torchvision
