"""Weight files of other libraries, read into NumPy arrays without running any code that they contain."""

from kseg.checkpoints.names import Rules, below, rename, unwrapped, within
from kseg.checkpoints.reader import read

__all__ = ["Rules", "below", "read", "rename", "unwrapped", "within"]
