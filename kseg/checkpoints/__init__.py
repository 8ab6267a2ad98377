"""Weight files of other libraries, read into NumPy arrays without running any code that they contain, and written."""

from kseg.checkpoints.automatic_names import aligned, automatic_keys
from kseg.checkpoints.export import EXPORTERS, export_smp, export_transformers, write_folder
from kseg.checkpoints.json_file import pointer_fault, read_object
from kseg.checkpoints.keys import weight_keys
from kseg.checkpoints.names import Rules, below, rename, revert, unwrapped, within
from kseg.checkpoints.normalize import LIMIT, TRANSFORMS, Normalize, limit_of, read_normalize, write_normalize
from kseg.checkpoints.processor import PROCESSOR, is_imagenet
from kseg.checkpoints.reader import read
from kseg.checkpoints.transformers import (
    ARCHITECTURES,
    CONFIG,
    WEIGHTS,
    Architecture,
    Config,
    describe_transformers,
    read_config,
    read_transformers,
    weight_parts,
)

__all__ = [
    "ARCHITECTURES",
    "CONFIG",
    "EXPORTERS",
    "LIMIT",
    "PROCESSOR",
    "TRANSFORMS",
    "WEIGHTS",
    "Architecture",
    "Config",
    "Normalize",
    "Rules",
    "aligned",
    "automatic_keys",
    "below",
    "describe_transformers",
    "export_smp",
    "export_transformers",
    "is_imagenet",
    "limit_of",
    "pointer_fault",
    "read",
    "read_config",
    "read_normalize",
    "read_object",
    "read_transformers",
    "rename",
    "revert",
    "unwrapped",
    "weight_keys",
    "weight_parts",
    "within",
    "write_folder",
    "write_normalize",
]
