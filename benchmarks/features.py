"""What kseg and other libraries can do, for `docs/comparison.md`."""

import pathlib

import pandas as pd

import kseg

PEERS = pathlib.Path(__file__).parent / "features.csv"
"""The features of other libraries, read in their documentation and code in November 2026."""


def compared() -> pd.DataFrame:
    """Returns one row per feature, with kseg in the first column: its numbers are counted in the code."""
    peers = pd.read_csv(PEERS, dtype=str, keep_default_na=False).set_index("feature")
    ours = {
        "backends": "TensorFlow, JAX, PyTorch",
        "license": "Apache-2.0",
        "networks": f"{len(kseg.zoo.BUILDERS)} builders: {', '.join(kseg.zoo.BUILDERS)}",
        "encoders": f"{len(kseg.encoders.ENCODERS)}, other weights of timm by name, and your own models",
        "losses": f"{', '.join(kseg.losses.LOSSES)}, and weighted sums",
        "any image size": "yes",
        "mIoU over the data set": "yes",
        "argmax unpooling (SegNet)": "yes",
        "CRF": "on probabilities (dense) and as a layer that is trained (ConvCRF)",
        "training from a command": "yes, from a recipe file",
        "prediction of large images in tiles": "yes, also of files larger than memory",
        "segmentation checkpoints": f"{len(kseg.pretrained.RELEASES)} of its own; {len(kseg.pretrained.PUBLISHED)} of "
        "others by name, and further ones of segmentation-models-pytorch, transformers and torchvision",
        "export": ", ".join(kseg.export.FORMATS),
    }
    peers.insert(0, f"kseg {kseg.__version__}", [ours[feature] for feature in peers.index])
    return peers.reset_index().rename(columns={"feature": ""})
