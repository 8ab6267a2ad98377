"""Checkpoints of the repositories of papers' authors. The rules for each model lie beside its builder."""

import os
from collections.abc import Sequence

from kseg import pretrained
from kseg.checkpoints import read
from kseg.zoo import _pidnet, _swiftnet

CONVERTERS = {"swiftnet": _swiftnet.convert, "pidnet": _pidnet.convert}
"""Functions from a state dict to the arguments of the builder and its arrays, by the name of the builder."""


def load(
    path: str | os.PathLike, builder: str, *, auxiliary: bool = False, part: str = "", without: Sequence[str] = ()
) -> pretrained.SegmentationModel:
    """Builds the kseg model of a checkpoint from the authors of its paper, and fills it; the tensors tell its options.

    `kseg.pretrained.save(model, "model.safetensors", classes=[...])` then writes a file for `kseg predict`.

    Args:
        path: A file by `torch.save`, or safetensors: a state dict, alone or in a checkpoint, of whatever wrapper; see
            `kseg.checkpoints.read`.
        builder: `"swiftnet"`: SwiftNet on ResNet-18 or ResNet-34 of https://github.com/orsic/swiftnet, with one size of
            the image or a pyramid. (The version of 2019 reduced the image by Pillow before the network, which blurs
            it: its pyramids give slightly other scores here.) Or `"pidnet"`: PIDNet-S, -M and -L of
            https://github.com/XuJiacong/PIDNet, trained on Cityscapes or CamVid; its ImageNet weights are for
            `kseg.zoo.pidnet(encoder_weights=FILE)`.
        auxiliary: Whether to keep PIDNet's heads that are used in training only.
        part: The key of the state dict, if the file holds the model several times.
        without: Keys of other copies, if they lie beside the tensors of the model.

    Returns:
        The model.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file cannot be read, or the tensors do not fit.
    """
    from kseg.zoo.table import build  # which imports the builders

    if builder not in CONVERTERS:
        raise ValueError(f"kseg reads authors' checkpoints of {' and '.join(CONVERTERS)}, not of {builder!r}")
    arguments, arrays = CONVERTERS[builder](read(path, part, without=without), auxiliary=auxiliary)
    model = build(builder, **arguments, encoder_weights=None)
    pretrained.load(model, arrays)
    return model
