"""The writer of PyTorch's exported programs, `*.pt2`."""

import pathlib
from typing import TYPE_CHECKING

from kseg.engines import ENTRY, torch_program

if TYPE_CHECKING:
    from kseg.export._export import Task


def write(task: "Task", path: pathlib.Path) -> None:
    """Writes the program."""
    import torch

    torch.export.save(torch_program(task.net, task.shape), path, extra_files={ENTRY: task.text})
