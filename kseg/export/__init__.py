"""Models as files of other runtimes; each file is run by its own runtime and compared before it is kept."""

import importlib
from typing import TYPE_CHECKING

from kseg.export.format import FORMATS, OUTPUTS, PRECISIONS, check_options, default_path

if TYPE_CHECKING:
    from kseg.export._export import export
    from kseg.export.agreement import Report

__all__ = ["FORMATS", "OUTPUTS", "PRECISIONS", "Report", "check_options", "default_path", "export"]

_KERAS = {"export": "_export", "Report": "agreement"}
"""The modules that need Keras, imported on first use, so that the command checks its options before."""


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> object:
    if name in _KERAS:
        return getattr(importlib.import_module(f"kseg.export.{_KERAS[name]}"), name)
    raise AttributeError(f"module 'kseg.export' has no attribute {name!r}")
