"""From a recipe to the splits of its data set and batches of them."""

import inspect
import os
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np

from kseg import data
from kseg.training.options import near, refuse_misplaced, refuse_mistyped, refuse_unknown
from kseg.training.recipe import FOLDER_KEYS, SHARD_KEYS, Data, Recipe

CHECKED = 16
"""Pairs of a split that are read before training starts."""


def dataset(recipe: Recipe, split: str | None, root: str | os.PathLike | None) -> data.Dataset:
    """Opens one split of the data set of a recipe without reading a file.

    Args:
        recipe: The recipe; reads `[data]`.
        split: `"train"`, `"val"` or `"test"`; None for all images of a folder.
        root: The folder of named data sets. `folder` and `shards` of a recipe are relative to the working directory.

    Returns:
        The split.

    Raises:
        FileNotFoundError: If the data are missing.
        ValueError: If the data set or one of its options is unknown.
    """
    section = recipe.data
    if section.name is not None:
        source = data.DATASETS.get(section.name)
        if source is not None:
            known = inspect.signature(source).parameters
            refuse_unknown("[data] options", section.options, source.__name__, known)
            refuse_mistyped("[data] options", section.options, source)
        return data.load(section.name, str(split), root=root, **section.options)
    refuse_misplaced("[data]", section.options, Data)
    if section.shards is not None:
        refuse_unknown("[data] options", section.options, "shards", ("memory_limit", "cache_limit"))
        refuse_mistyped("[data] options", section.options, data.ShardDataset)
        arguments = data.folder_arguments({key: getattr(section, key) for key in SHARD_KEYS})
        return data.ShardDataset(section.shards, split, interface="recipe", **arguments, **section.options)
    refuse_unknown("[data] options", section.options, "folder", ("memory_limit",))
    refuse_mistyped("[data] options", section.options, data.FolderDataset)
    keys = ("classes", "palette", "ignore", *FOLDER_KEYS)
    arguments = data.folder_arguments({key: getattr(section, key) for key in keys})
    return data.FolderDataset(str(section.folder), split, interface="recipe", **arguments, **section.options)


def open_splits(recipe: Recipe, root: str | os.PathLike | None) -> tuple[data.Dataset, data.Dataset | None]:
    """Opens the training and the validation split; the latter may be missing (None) if `selection.every` is 0."""
    train = dataset(recipe, "train", root)
    try:
        val = dataset(recipe, "val", root)
    except FileNotFoundError:
        if recipe.selection.every:
            raise
        return train, None
    if val.classes != train.classes:  # each packed split states its own
        raise ValueError(
            f"{train.name}: the classes of train are {', '.join(train.classes)}, those of val are "
            f"{', '.join(val.classes)}: pack both from one recipe"
        )
    data.compare_palettes(train, val)
    return train, val


def check(split: data.Dataset, name: str) -> None:
    """Reads some pairs of a split to find errors before the first step, also missing masks; raises a ValueError."""
    if len(split) == 0:
        place = f" ({split.list or split.image_folder})" if isinstance(split, data.FolderDataset) else ""
        place = f" ({split.place})" if isinstance(split, data.ShardDataset) else place
        raise ValueError(f"{split.name} has no images in its {name} split{place}")
    if isinstance(split, data.FolderDataset) and (alone := [path for path, mask in split.mask_of.items() if not mask]):
        more = f", and {len(alone) - 1} more" if len(alone) > 1 else ""
        raise ValueError(split.worded(f"{alone[0]} has {split.no_mask} in {split.mask_folder}{more}{split.cure}"))
    if isinstance(split, data.FolderDataset) and split.left_out and name == "train":
        warnings.warn(f"{split.name}: {split.left_out_note}", stacklevel=2)
    seen = np.zeros(256, bool)
    some = np.unique(np.linspace(0, len(split) - 1, CHECKED).astype(int)).tolist()
    for index in some:
        seen[np.unique(split[index][1])] = True
    if (known := split.class_counts()) is not None:
        seen[: len(known.pixels)] |= known.pixels > 0
    others = (index for index in range(len(split)) if known is None and index not in some)
    while text := split.only_void(foreground=bool(seen[1:-1].any()), void=bool(seen[-1])):
        if (further := next(others, None)) is None:  # the foreground may be rare: only all labels tell
            raise ValueError(text)
        seen[np.unique(split[further][1])] = True


def contents(train: data.Dataset, val: data.Dataset | None) -> dict[str, list[list[Any]]]:
    """Returns `listed` of both splits."""
    return {"train": listed(train), "val": [] if val is None else listed(val)}


def listed(split: data.Dataset) -> list[list[Any]]:
    """Lists the images of a split: the name and, if there are files, the sizes in bytes of image and mask.

    For annotations, a number that changes with the objects of the image takes the place of the mask's size. Shards are
    listed instead of the images in them.
    """
    if isinstance(split, data.ShardDataset):
        return split.contents()
    names = [split.identifier(index) for index in range(len(split))]
    if not isinstance(split, data.FolderDataset):
        return [[name] for name in names]
    sizes = [image.stat().st_size for image in split.images]
    if split.annotations is not None:
        labels: list[Any] = [split.annotations.digest(image) for image in split.images]
    else:
        masks = [split.mask_of[image] for image in split.images]
        labels = [mask.stat().st_size if mask else None for mask in masks]
    return [list(entry) for entry in zip(names, sizes, labels, strict=True)]


def steps_per_epoch(recipe: Recipe, train: data.Dataset) -> int:
    """Returns the steps per epoch: the images divided by the batch size, rounded, at least 1."""
    return max(1, round(len(train) / recipe.data.batch_size))


def augmentation(recipe: Recipe, train: data.Dataset) -> data.augment.Augmentation:
    """Builds the augmentation of the training images; raises a ValueError if it does not fit them."""
    section = recipe.data
    if section.crop is None and (section.batch_size > 1 or section.copy_paste) and not train.has_one_size():
        fault = "share a batch" if section.batch_size > 1 else "be copied into each other"
        raise ValueError(f"[data] images of several sizes cannot {fault}: give a crop = [height, width]")
    augment = data.augment.pipeline(
        section.augment, crop=section.crop, scale=section.scale, ignore_class=train.ignore_class
    )
    if not section.copy_paste:
        return augment
    for name in section.copy_paste:
        if name not in train.classes:
            raise ValueError(f"[data] copy_paste: {train.name} has no class {name!r}{near(name, train.classes)}")
    return data.augment.copy_paste(augment, train, [train.classes.index(name) for name in section.copy_paste])


def batches(recipe: Recipe, train: data.Dataset, start_step: int, shard: tuple[int, int] = (0, 1)) -> Iterable:
    """Returns an endless stream of training batches, from step `start_step` of the run on; `shard` as in the loader."""
    return data.loader(
        train,
        batch_size=recipe.data.batch_size,
        augment=augmentation(recipe, train),
        seed=recipe.seed,
        start_step=start_step,
        shard=shard,
    )
