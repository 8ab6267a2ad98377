"""Files for other runtimes; each writer checks in the format's own runtime what it has written."""

from kseg.export._onnx import write_onnx
from kseg.export._openvino import write_openvino

__all__ = ["write_onnx", "write_openvino"]
