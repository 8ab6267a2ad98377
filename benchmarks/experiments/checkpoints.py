"""Compare networks of other libraries with what kseg builds from their checkpoints, on this backend."""

import functools
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import keras
import numpy as np
import pandas as pd
import typer

from benchmarks.process import Worker
from kseg import checkpoints, encoders, zoo

KEY = ["source", "architecture", "encoder", "backend"]
PAGE = "docs/checkpoints.md"
SIZE = (224, 448)
"""Height and width of the image: multiples of 14, 16 and 32, the patches and strides of all encoders."""
SQUARE = (224, 224)
"""The size for transformers' DPT, which takes any map of patches for a square one."""
SOURCES = ("segmentation-models-pytorch", "transformers", "torchvision")
CLASSES = 3


def cases(source: str) -> list[tuple[str, str]]:
    """Returns the pairs of an architecture and an encoder of a library, by its names, that kseg loads."""
    if source == "segmentation-models-pytorch":
        return [(name, encoder) for name in zoo.smp.MODELS for encoder in zoo.smp.ENCODERS if _exists(name, encoder)]
    if source == "torchvision":
        named = [name.removesuffix("-coco_voc") for name in zoo.torchvision.PUBLISHED]
        return [(name.partition("_")[0], name.partition("_")[2]) for name in named]
    return [
        (name, encoder)
        for name, known in checkpoints.ARCHITECTURES.items()
        for encoder in encoders.ENCODERS
        if _config(known, encoder) is not None
    ]


def measure_case(source: str, architecture: str, encoder: str) -> dict[str, Any]:
    """Builds a network of a library with random weights, saves it there, loads it here, and compares the logits.

    Returns `difference`, the largest absolute difference as a part of the largest absolute logit, beside `KEY`.
    """
    import torch

    from benchmarks.peers import torchvision

    torchvision.load()  # before the libraries that import it
    torch.manual_seed(0)
    network_of = {"segmentation-models-pytorch": _smp, "transformers": _transformers, "torchvision": _torchvision}
    size = _size(architecture, encoder)
    pixels = np.random.default_rng(0).uniform(0, 255, (1, *size, 3)).astype("float32")
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # such as that a folder names no normalization
        network, load = network_of[source](architecture, encoder, Path(folder))
        model = load()
    normalization = model.get_layer("encoder").get_layer("normalization")
    with torch.inference_mode():
        values = (pixels * normalization.scale + normalization.offset).astype("float32")
        theirs = network(torch.from_numpy(values.transpose(0, 3, 1, 2).copy()))
        theirs = torch.nn.functional.interpolate(theirs, size, mode="bilinear").numpy().transpose(0, 2, 3, 1)
    ours = model.predict(pixels, verbose=0)
    row = {"source": source, "architecture": architecture, "encoder": encoder, "builder": model.builder}
    difference = np.abs(ours - theirs).max() / np.abs(theirs).max()
    return row | {"difference": float(f"{difference:.1e}"), "backend": keras.backend.backend()}


def _size(architecture: str, encoder: str) -> tuple[int, int]:
    """The height and the width of the image."""
    if architecture.startswith("Eomt"):  # it has positions for one size only
        options = encoders.vit.options(encoder)
        return (options["patch"] * options["grid"],) * 2
    if encoder in zoo.smp.ENCODERS and (side := zoo.smp.ENCODERS[encoder].sized):
        return side, 2 * side
    return SQUARE if architecture.startswith("DPTFor") else SIZE


def measure(
    *,
    source: Annotated[list[str] | None, typer.Option(help="Only this library; may be repeated.")] = None,
    architecture: Annotated[list[str] | None, typer.Option(help="Only this architecture; may be repeated.")] = None,
    encoder: Annotated[list[str] | None, typer.Option(help="Only this encoder; may be repeated.")] = None,
) -> Iterator[pd.DataFrame]:
    """Compare networks of other libraries, with random weights, with what kseg loads from their checkpoints."""
    for library in source or SOURCES:
        pairs = cases(library)
        for each in sorted({name for name, _ in pairs} & set(architecture or dict(pairs))):
            with Worker() as worker:
                for name, on in pairs:
                    if name == each and (not encoder or on in encoder):
                        yield pd.DataFrame([worker(measure_case, library, name, on)])


def shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Makes one row per library and encoder, and one column per builder; the worst of the backends."""
    cells = rows.pivot_table("difference", ["source", "encoder"], "builder", aggfunc="max")
    cells = cells[[name for name in zoo.list_models() if name in cells]]
    table = cells.map(lambda difference: "" if pd.isna(difference) else f"{difference:.0e}").reset_index()
    counts = cells.notna().sum(axis=1).groupby("source").sum()
    table.attrs["notes"] = [f"{source}: {count} networks" for source, count in counts.items()]
    table.attrs["notes"].append(f"measured on {', '.join(sorted(set(rows['backend'])))}")
    return table


Loader = Callable[[], Any]


def _randomized(network: Any) -> Any:
    """Sets what a new network has as 0 or 1, so that every tensor influences the logits; for inference."""
    import torch

    for module in network.modules():
        for name, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            if tensor.is_floating_point() and tensor.ndim <= 1 and tensor.numel():
                torch.nn.init.uniform_(tensor, *((0.5, 1.5) if name in ("weight", "running_var") else (-0.2, 0.2)))
    return network.eval()


def _exists(architecture: str, encoder: str) -> bool:
    """Returns whether segmentation-models-pytorch and kseg have an architecture, with its defaults, on an encoder."""
    try:
        zoo.smp.convert({}, architecture, encoder_name=encoder)
    except ValueError:
        return False
    return True


def _smp(architecture: str, encoder: str, folder: Path) -> tuple[Any, Loader]:
    import segmentation_models_pytorch as smp

    options: dict[str, Any] = {"encoder_name": encoder, "encoder_weights": None, "classes": CLASSES}
    options |= {"dynamic_img_size": True} if architecture == "DPT" else {}
    options |= {"img_size": _size(architecture, encoder)} if zoo.smp.ENCODERS[encoder].sized else {}
    network = _randomized(getattr(smp, architecture)(**options))
    network.save_pretrained(folder)
    return network, functools.partial(zoo.load, folder)


def _torchvision(architecture: str, encoder: str, folder: Path) -> tuple[Any, Loader]:
    import torch
    from torchvision.models import segmentation

    options = {"weights": None, "weights_backbone": None, "num_classes": CLASSES}
    network = _randomized(getattr(segmentation, f"{architecture}_{encoder}")(**options))
    torch.save(network.state_dict(), folder / "model.pth")
    builder = zoo.torchvision.PUBLISHED[f"{architecture}_{encoder}-coco_voc"].builder
    load = functools.partial(zoo.torchvision.load, folder / "model.pth", builder, encoder=encoder, num_classes=CLASSES)
    return lambda x: network(x)["out"], load


def _transformers(architecture: str, encoder: str, folder: Path) -> tuple[Any, Loader]:
    import transformers

    kind = getattr(transformers, architecture)
    fields = _config(checkpoints.ARCHITECTURES[architecture], encoder) or {}
    network = _randomized(kind(kind.config_class.from_dict({**fields, "num_labels": CLASSES})))
    if eomt := architecture.startswith("Eomt"):
        network.attn_mask_probs.zero_()  # as after training
    network.save_pretrained(folder)
    if eomt:
        return lambda x: _sums(network(x), x.shape[2:]).log(), functools.partial(zoo.load, folder)
    return lambda x: network(x).logits, functools.partial(zoo.load, folder)


def _sums(output: Any, size: Any) -> Any:
    """The scores of the classes by the masks and the classes of queries."""
    import torch

    masks = torch.nn.functional.interpolate(output.masks_queries_logits, size, mode="bilinear").sigmoid()
    return torch.einsum("bqc,bqhw->bchw", output.class_queries_logits.softmax(-1)[..., :-1], masks)


def _config(known: checkpoints.Architecture, encoder: str) -> dict[str, Any] | None:
    """Returns the configuration of a network of transformers on an encoder; None if there is none."""
    if known.encoders and encoder not in known.encoders:
        return None
    options: dict[str, dict[str, Any]] = {"dpt": {"interpolation": "bilinear"}, "segformer": {"epsilon": 1e-5}}
    named = {"name": encoder, **options.get(known.builder, {})}
    arguments = {**zoo.BUILDERS[known.builder].defaults, "num_classes": CLASSES, "encoder": named}
    arguments |= {"rates": ()} if encoder.startswith("mobilenet_v2") else {}
    try:
        return known.config(arguments)[0]
    except ValueError:
        return None
