"""Weight files of other libraries, read into NumPy arrays without running any code that they contain, and written."""

from kseg.checkpoints.exporters import EXPORTERS, export_smp
from kseg.checkpoints.names import Rules, below, rename, revert, unwrapped, within
from kseg.checkpoints.reader import read

__all__ = ["EXPORTERS", "Rules", "below", "export_smp", "read", "rename", "revert", "unwrapped", "within"]
