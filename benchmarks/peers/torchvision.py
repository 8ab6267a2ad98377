"""torchvision, which other libraries import, beside a build of PyTorch that it was not made for."""

import sys
from types import ModuleType

import torch

# The operators that torchvision registers shapes for; builds of PyTorch and torchvision that do not match lack them.
OPERATORS = """
    nms qnms roi_align qroi_align ps_roi_align ps_roi_pool roi_pool deform_conv2d _roi_align_backward
    _ps_roi_align_backward _ps_roi_pool_backward _roi_pool_backward _deform_conv2d_backward
"""
_declared: list[torch.library.Library] = []
"""Declarations end with the object that made them."""


def load() -> ModuleType:
    """Imports torchvision, declaring the operators that it lacks; call it before timm and the like are imported."""
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
