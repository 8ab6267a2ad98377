"""From a pair of any data set to the record that is packed."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from kseg.data.dataset import Dataset
from kseg.data.decoding.decoded import Content, name_of
from kseg.data.files import File, FileDataset
from kseg.data.folder import FolderDataset
from kseg.data.picture import picture_size
from kseg.data.shards._dataset import ShardDataset
from kseg.data.shards.index import Index
from kseg.data.shards.lossless import saved
from kseg.data.shards.records import Record

CONTAINER = re.compile(r"\.(array_record|parquet|tar)/")


def record_of(dataset: Dataset, index: int) -> tuple[Record, np.ndarray]:
    """Returns one pair of a data set as it is packed, and its label map.

    The files of folders, Parquet and tar files are kept byte by byte. Labels of annotations, and the arrays of other
    data sets, are saved without loss.

    Args:
        dataset: The data set.
        index: The position of the pair.

    Raises:
        ValueError: If the pair has no mask, or its mask or the header of its image cannot be read.
    """
    name = dataset.identifier(index)
    if not isinstance(dataset, FileDataset) or (isinstance(dataset, ShardDataset) and dataset.arrays):
        image, label = dataset[index]
        contents = saved(f"images/{name}", image), saved(f"masks/{name}", label[..., None])
        return Record(name, *contents, (label.shape[0], label.shape[1])), label
    with dataset._worded():
        image_file, mask_file = (_content(each) for each in dataset.files(index))
        size = picture_size(image_file, page=dataset.pixels.page)
        image_file.seek(0)
        label = dataset.read_label(image_file, mask_file, size)
    image_file.name, mask_file.name = (_below(dataset, each.name) for each in (image_file, mask_file))
    if is_drawn(dataset):
        mask_file = saved(f"masks/{name}", label[..., None])
    return Record(name, image_file, mask_file, size), label


def is_drawn(dataset: Dataset) -> bool:
    """Returns whether the label maps of a data set are packed instead of its mask files."""
    if isinstance(dataset, FolderDataset):
        return dataset.annotations is not None
    return dataset.drawn if isinstance(dataset, ShardDataset) else True


def meaning_of(dataset: Dataset) -> Index:
    """Returns the index of a data set, as yet without files."""
    given: dict[str, Any] = {
        "name": dataset.name, "classes": dataset.classes, "palette": dataset.palette, "marks_void": dataset.marks_void,
    }  # fmt: skip
    if not isinstance(dataset, FileDataset):
        return Index(**given, arrays=True, drawn=True)
    options = dict(dataset.mask_options)
    for name in ("values", "palette"):
        options[name] = None if options[name] is None else [np.asarray(each).tolist() for each in options[name]]
    return Index(
        **given,
        arrays=isinstance(dataset, ShardDataset) and dataset.arrays,
        drawn=is_drawn(dataset),
        masks={} if is_drawn(dataset) else options,
        pixels=dataset.pixels.to_json(),
        channels=dataset.channels,
    )


def _content(file: File) -> Content:
    return file if isinstance(file, Content) else Content(name_of(file), Path(file).read_bytes())


def _below(dataset: FileDataset, name: str) -> str:
    """Returns the name of a file within its folder or container."""
    if not isinstance(dataset, FolderDataset):
        return name[max((found.end() for found in CONTAINER.finditer(name)), default=0) :]
    path = Path(name)
    return path.relative_to(dataset.root).as_posix() if path.is_relative_to(dataset.root) else path.name
