"""Names in pickles of what people save beside the tensors of a checkpoint. Nothing with these names is imported."""

DICTIONARIES = (
    "collections defaultdict",
    "lightning_fabric.utilities.data AttributeDict",
    "lightning.fabric.utilities.data AttributeDict",
    "pytorch_lightning.utilities.parsing AttributeDict",
    "easydict EasyDict",
    "addict.addict Dict",
    "yacs.config CfgNode",
)
"""Classes of dictionaries, which may hold tensors."""

_PATHS = [f"{kind}{system}Path" for kind in ("", "Pure") for system in ("Posix", "Windows")]
_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
_DTYPES = (
    "bfloat16 float16 float32 float64 half float double uint8 uint16 uint32 uint64 int8 int16 int32 int64 short int "
    "long bool complex64 complex128 float8_e4m3fn float8_e5m2"
)
_BUILTINS = "set frozenset complex slice range xrange bytearray bool int long float str unicode list tuple dict"

INERT = (
    "argparse Namespace", "types SimpleNamespace", "_codecs encode", "collections Counter",
    "torch device", "torch Size", "torch Tensor", "torch.nn.parameter Parameter", "torch.torch_version TorchVersion",
    "torch.serialization _get_layout", "numpy dtype", "numpy ndarray",
    *(f"{module} {name}" for module in _NUMPY for name in ("scalar", "_reconstruct")),
    *(f"{module} {name}" for module in ("pathlib", "pathlib._local") for name in _PATHS),
    *(f"torch {name}" for name in _DTYPES.split()),
    *(f"{module} {name}" for module in ("__builtin__", "builtins") for name in _BUILTINS.split()),
    *(f"datetime {name}" for name in ("datetime", "date", "time", "timedelta", "timezone")),
)  # fmt: skip
"""Classes and functions whose results are not tensors: arguments, numbers, paths, devices, types, dates."""
