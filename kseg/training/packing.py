"""`pack`: the data set of a recipe in a few large files, which `[data] shards` reads."""

import collections
import dataclasses
import hashlib
import itertools
import json
import os
import pathlib
import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from kseg import data, pretrained
from kseg.data import shards
from kseg.lock import LOCK, held
from kseg.progress import Reporter
from kseg.training import splits
from kseg.training.recipe import Recipe

PLAN = "packing.json"
"""Written first: it marks a folder as one of this command and says what is packed."""
OWN = re.compile(r"(\d{5,}\.array_record|index\.json)|\.(\d{5,}\.array_record|index\.json)\.kseg-[0-9a-f]{16}")
"""Names of the files of a split, and of those that a killed command left behind."""
SPLITS = ("train", "val", "test")
AHEAD = 4
"""Pairs per thread that are read ahead."""


def pack(
    recipe: Recipe,
    folder: str | os.PathLike,
    *,
    shard_size: float = 256,
    data_root: str | os.PathLike | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Packs every split of the data set of a recipe into ArrayRecord files, the format of Grain.

    The files of images and masks are kept byte by byte, so the packed splits have the same pairs in the same order, and
    the same batches. Every mask is decoded once, which finds those that cannot be trained on and counts the classes.
    Each file is written under another name and renamed, and the index of a split comes last. A killed command can be
    repeated: splits that are complete stay.

    Args:
        recipe: The recipe; reads `[data]`.
        folder: The folder to write. It must be new, empty or that of the same command.
        shard_size: MiB of a file, at most; a larger pair has a file of its own.
        data_root: The folder of named data sets. None reads the environment variable `KSEG_DATA`.
        progress: Whether to show the progress.

    Returns:
        `images`, `shards` and `bytes` of each split, by its name.

    Raises:
        FileNotFoundError: If the data are missing.
        ValueError: If an image has no mask or a mask cannot be read, or the folder has other content.
        OSError: If the folder cannot be written.

    Example:
        >>> import tempfile
        >>> from kseg import data
        >>> content = {"data": {"name": "streets", "options": {"count": 3}}, "model": {"builder": "unet"}, "epochs": 1}
        >>> with tempfile.TemporaryDirectory() as place:
        ...     found = pack(Recipe.from_dict(content), place, progress=False)
        ...     found["train"]["images"], data.ShardDataset(place, "train").classes[:2]
        (3, ('sky', 'building'))
    """
    folder, reporter = pathlib.Path(folder), Reporter(quiet=not progress)
    if shard_size <= 0:
        raise ValueError(f"the size of a shard must be above 0 MiB, got {shard_size}")
    opened = _splits(recipe, data_root)
    plan: dict[str, Any] = {"data": json.loads(recipe.to_json())["data"], "shard_size": shard_size}
    for key in ("batch_size", "augment", "crop", "scale"):
        plan["data"].pop(key)  # of the training
    for name, split in opened.items():  # changes with the files
        plan[name] = hashlib.sha256(json.dumps([splits.listed(split), _stamps(split)]).encode()).hexdigest()
    _check(folder, plan)
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder, f"another process packs into {folder}: wait for it, or name another folder"):
        _check(folder, plan)  # again: another process may have begun since
        pretrained.atomic_write(folder / PLAN, (json.dumps(plan, indent=2) + "\n").encode())
        found, fresh = {}, False
        for name, split in opened.items():
            index = _complete(folder / name)
            if index is None:
                index, fresh = _pack_split(split, folder / name, shard_size, name, reporter), True
            found[name] = {
                "images": sum(shard.records for shard in index.shards),
                "shards": len(index.shards),
                "bytes": sum(shard.bytes for shard in index.shards),
            }
    if not fresh:
        reporter.line(f"{folder} is complete: nothing to do")
    return found


def _splits(recipe: Recipe, root: str | os.PathLike | None) -> dict[str, data.Dataset]:
    """Opens the splits that exist; one for training must."""
    opened = {"train": splits.dataset(recipe, "train", root)}
    for name in ("val", "test"):
        try:
            opened[name] = splits.dataset(recipe, name, root)
        except FileNotFoundError:
            continue
        except ValueError:
            if recipe.data.name is None or name == "val":  # labels of some test splits are not public
                raise
    for name, split in opened.items():
        split.memory_limit = 0
        if len(split) == 0:
            raise ValueError(f"{split.name} has no images in its {name} split")
    return opened


def _stamps(split: data.Dataset) -> list[Any]:
    """Returns what changes when a file is written again, even if its size stays: the times of files, as far as known.

    Packed shards are listed with their SHA-256.
    """
    if isinstance(split, data.ShardDataset):
        return [place.stamp() for place in getattr(split.records, "files", ())]
    if not isinstance(split, data.FolderDataset):
        return []
    masks = () if split.annotations is not None else split.mask_of.values()  # a digest of annotations is listed
    files = [*split.images, *(mask for mask in masks if mask is not None)]
    return [file.stat().st_mtime_ns for file in files]


def _check(folder: pathlib.Path, plan: dict[str, Any]) -> None:
    """Refuses a folder with files that this command did not write, or of another data set."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file: name a folder for the shards")
    there = sorted(path for path in folder.iterdir()) if folder.is_dir() else []
    known = re.compile("|".join((*SPLITS, re.escape(PLAN), re.escape(LOCK), rf"\.{PLAN}\.kseg-[0-9a-f]{{16}}")))
    foreign = [path for path in there if not known.fullmatch(path.name)]
    for name in SPLITS:
        inside = sorted((folder / name).iterdir()) if (folder / name).is_dir() else []
        foreign += [path for path in inside if not OWN.fullmatch(path.name)]
    plan_file = folder / PLAN
    if not plan_file.is_file() and not foreign:
        foreign = [path for path in there if not path.name.startswith(".")]
    if foreign:
        raise ValueError(f"{foreign[0]} was not written by this command: name another folder")
    if plan_file.is_file():
        try:
            before = json.loads(plan_file.read_text("utf-8"))
        except ValueError:
            before = None
        if before != json.loads(json.dumps(plan)):
            raise ValueError(
                f"{folder} holds other data or another shard size, see {plan_file}, or files were written again since: "
                "name another folder"
            )


def _complete(folder: pathlib.Path) -> shards.Index | None:
    """Returns the index of a split if it and all its shards are there."""
    if not (folder / shards.FILE).is_file():
        return None
    index = shards.Index.read(shards.Place(str(folder)))
    there = (folder / shard.file for shard in index.shards)
    sizes = [path.stat().st_size if path.is_file() else None for path in there]
    return index if sizes == [shard.bytes for shard in index.shards] else None


def _pack_split(
    split: data.Dataset, folder: pathlib.Path, shard_size: float, name: str, reporter: Reporter
) -> shards.Index:
    folder.mkdir(exist_ok=True)
    for path in sorted(folder.iterdir(), reverse=True):  # the index first, which promises the others
        if OWN.fullmatch(path.name):  # of a killed command
            path.unlink()
    limit, classes = int(shard_size * 2**20), len(split.classes)
    pixels, around, total = np.zeros(classes, np.int64), np.zeros(classes, np.int64), 0
    written: list[shards.Shard] = []
    writer: shards.Writer | None = None
    try:
        with reporter.task(f"packing {name}", len(split)) as advance:
            for record, size, counts in _records(split):
                if writer is not None and writer.bytes + record.bytes > limit:
                    written.append(writer.close())
                    writer = None
                writer = writer or shards.Writer(folder / f"{len(written):05d}.array_record")
                writer.write(record, size)
                pixels += counts[:classes]
                around += np.where(counts[:classes] > 0, size[0] * size[1], 0)
                total += size[0] * size[1]
                advance()
        if writer is not None:
            written.append(writer.close())
    except BaseException:
        if writer is not None:
            writer.discard()
        raise
    index = dataclasses.replace(
        shards.meaning_of(split),
        shards=tuple(written),
        counts={"pixels": pixels.tolist(), "around": around.tolist(), "total": total},
        void_is_255=isinstance(split, data.FileDataset) and split.reader.void_is_255,
    )
    pretrained.atomic_write(folder / shards.FILE, index.to_json().encode())
    size_of_all = sum(shard.bytes for shard in written) / 2**20
    reporter.line(f"{name}: {len(split):,} images, {len(written)} shards, {size_of_all:,.1f} MiB")
    return index


def _records(split: data.Dataset) -> Iterator[tuple[shards.Record, tuple[int, int], np.ndarray]]:
    """Reads pairs in threads, in their order: record, size of the image, number of pixels of each mask value."""

    def read(index: int) -> tuple[shards.Record, tuple[int, int], np.ndarray]:
        record, label = shards.record_of(split, index)
        return record, (label.shape[0], label.shape[1]), np.bincount(label.reshape(-1), minlength=256)

    threads = min(8, os.cpu_count() or 1)
    pool, waiting, indices = ThreadPoolExecutor(threads), collections.deque[Future](), iter(range(len(split)))
    try:
        waiting.extend(pool.submit(read, index) for index in itertools.islice(indices, AHEAD * threads))
        while waiting:
            found = waiting.popleft().result()
            waiting.extend(pool.submit(read, index) for index in itertools.islice(indices, 1))
            yield found
    finally:
        pool.shutdown(cancel_futures=True)
