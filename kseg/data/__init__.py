"""Data sets by name or from folders, a check of their files, and reproducible batches."""

import difflib
import os
from collections.abc import Callable
from typing import Any

from kseg.data import annotations, augment, labels, shards
from kseg.data._camvid import camvid
from kseg.data._check import Report, check
from kseg.data._loader import evaluation_loader, loader
from kseg.data._nuclei import nuclei
from kseg.data._official import ade20k, cityscapes, pets, voc
from kseg.data._streets import streets
from kseg.data.dataset import ClassCounts, Dataset
from kseg.data.decoding.utf8_path import in_utf8
from kseg.data.drafting import Draft, draft
from kseg.data.files import FileDataset, compare_palettes
from kseg.data.finding.text import read_text
from kseg.data.folder import FolderDataset
from kseg.data.options import folder_arguments
from kseg.data.picture import SUFFIXES, picture_size, read_picture
from kseg.data.pixels import Pixels, WarnOnce
from kseg.data.raster import Georeference, Raster, georeference, is_georeferenced, lacks_rasterio, open_picture
from kseg.data.shards import ShardDataset
from kseg.data.subset import Subset

DATASETS: dict[str, Callable[..., Dataset]] = {
    "camvid": camvid, "nuclei": nuclei, "streets": streets, "pets": pets, "voc": voc, "ade20k": ade20k,
    "cityscapes": cityscapes,
}  # fmt: skip

__all__ = [
    "DATASETS", "SUFFIXES", "ClassCounts", "Dataset", "Draft", "FileDataset", "FolderDataset", "Georeference", "Pixels",
    "Raster", "Report", "ShardDataset", "Subset", "WarnOnce", "ade20k", "annotations", "augment", "camvid", "check",
    "cityscapes", "compare_palettes", "draft", "evaluation_loader", "folder_arguments", "georeference", "in_utf8",
    "is_georeferenced", "labels", "lacks_rasterio", "load", "loader", "nuclei", "open_picture", "pets", "picture_size",
    "read_picture", "read_text", "shards", "streets", "voc",
]  # fmt: skip


def load(name: str, split: str, *, root: str | os.PathLike[str] | None = None, **options: Any) -> Dataset:
    """Opens one split of a data set by name.

    Args:
        name: `"camvid"`, `"nuclei"`, `"streets"`, `"pets"`, `"voc"`, `"ade20k"` or `"cityscapes"`.
        split: `"train"`, `"val"` or `"test"`.
        root: The folder of the data; by default the environment variable `KSEG_DATA`. `streets` needs none.
        **options: Options of the data set's function, such as `memory_limit`.

    Returns:
        The data set.

    Raises:
        ValueError: If there is no data set or split with this name.

    Example:
        >>> from kseg import data
        >>> data.load("streets", "val").classes[:4]
        ('sky', 'building', 'road', 'pavement')
    """
    if name not in DATASETS:
        near = difflib.get_close_matches(name, DATASETS, n=1, cutoff=0.4)
        hint = f" did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"unknown data set {name!r};{hint} there are {', '.join(DATASETS)}; for your own data, use FolderDataset, "
            "or folder in a recipe"
        )
    if split not in ("train", "val", "test"):
        raise ValueError(f"{name}: unknown split {split!r}; there are train, val, test")
    if root is not None and name != "streets":  # streets is drawn and has no folder
        options["root"] = root
    return DATASETS[name](split, **options)
