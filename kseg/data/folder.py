"""A data set from images and masks on the disk."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from kseg.data.annotations import Annotations, read
from kseg.data.dataset import MEMORY_LIMIT
from kseg.data.decoding.decoded import name_of
from kseg.data.files import File, FileDataset
from kseg.data.finding import apart, cures, layout, lists, messages
from kseg.data.finding.places import Places
from kseg.data.pixels import Pixels


class FolderDataset(FileDataset):
    """Images and masks that are paired by their names.

    By default, `images/x.jpg` belongs to `masks/x.png`; `mask_suffix="_mask"` pairs it with `masks/x_mask.png`. The
    images of a split are those in its list, `train.txt`, `ImageSets/Segmentation/train.txt` or another place in
    `splits`; those in its folder, `images/train` or `train/images`; or a share of all images. `valid` and `validation`
    mean `val`. Files are opened when a pair is read; `kseg.data.check` reads them all.

    Args:
        root: The folder that contains the data.
        split: `"train"`, `"val"`, ...; `None` takes all images.
        classes: Class names in the order of their ids.
        palette: One color per class, with which RGB masks are decoded; alpha is dropped. Gray masks contain ids, unless
            a level is no id and all levels are colors of the palette. Palette PNGs contain ids, unless their colors are
            those of other classes.
        ignore: Mask values (or RGB colors, or names of annotated objects) to ignore, besides 255. Give 255 if most
            masks with it have more pixels of it than of classes above 0: otherwise they are refused as black and white.
        values: The mask value of each class if not 0, 1, 2, ...: `(0, 255)` for black-and-white masks.
        images: Folder of the images, relative to `root`, or a pattern for their paths, such as
            `"{split}/{stem}.jpg"`. `{split}` is the name of the split and `{stem}` what an image and its mask share,
            folders included; `*` stands for any letters and `**` for folders at any depth. A folder that has only
            subfolders is read with them.
        masks: Folder or pattern of the masks: `"{split}/{stem}_mask.png"`.
        image_suffix: What follows the stem in the names of images, such as `"_leftImg8bit"`.
        mask_suffix: What follows the stem in the names of masks, such as `"_mask"`.
        splits: The shares of train, val and test, `"80/10/10"` (or of train and val, `"80/20"`); the folder of the
            lists; a pattern such as `"lists/{split}.txt"`; or the list of each split.
        split_seed: Chooses which images fall into which share.
        annotations: A file or folder of polygons that takes the place of the masks, read by `kseg.data.annotations`:
            `"instances.json"`, or one for each split, `"instances_{split}.json"`. The images in that of a split are
            its images if there are no lists and folders of splits.
        pixels: What the numbers of the image files mean: their range, the bands to use, the page of a stack.
        channels: Number of channels of the images; 3 repeats gray, 1 converts RGB to gray. None: that of `pixels`.
        name: Name of the data set; by default the folder's name.
        memory_limit: Bytes of decoded pairs to keep in memory.
        interface: Where messages are read: `"python"`, `"recipe"` or `"command"`. They name options accordingly.

    Raises:
        FileNotFoundError: If a folder or the split's list is missing.
        ValueError: If an option is invalid, or a list names no image. Reading a pair raises it for an image without a
            mask, a file that cannot be read, or a mask value that is no class.

    Example:
        >>> import tempfile, numpy as np
        >>> from PIL import Image
        >>> root = Path(tempfile.mkdtemp())
        >>> for file, array in {"images/1.png": np.zeros((4, 6, 3)), "masks/1_mask.png": np.full((4, 6), 255)}.items():
        ...     (root / file).parent.mkdir()
        ...     Image.fromarray(array.astype("uint8")).save(root / file)
        >>> dataset = FolderDataset(root, classes=["background", "cell"], mask_suffix="_mask", values=(0, 255))
        >>> len(dataset), dataset.identifier(0), dataset[0][0].shape, int(dataset[0][1].max()), dataset.num_classes
        (1, '1', (4, 6, 3), 1, 1)
    """

    marks_void = True  # its reader looks at each mask

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str | None = None,
        *,
        classes: Sequence[str],
        palette: Sequence[Sequence[int]] | None = None,
        ignore: int | str | Sequence[int | str | Sequence[int]] = (),
        values: Sequence[int] | None = None,
        images: str = "images",
        masks: str = "masks",
        image_suffix: str = "",
        mask_suffix: str = "",
        splits: str | Mapping[str, str] | None = None,
        split_seed: int = 0,
        annotations: str | None = None,
        pixels: Pixels = Pixels(),
        channels: int | None = None,
        name: str | None = None,
        memory_limit: int = MEMORY_LIMIT,
        interface: str = "python",
    ) -> None:
        self.root, self.split, self.splits = layout.root_of(root), split, splits
        super().__init__(
            name or self.root.resolve().name, classes, palette, ignore=ignore, values=values, pixels=pixels,
            channels=channels, memory_limit=memory_limit, interface=interface,
        )  # fmt: skip
        self.unread: list[str] = []
        self.annotations: Annotations | None = None
        with self._worded():
            finding = Places(self.root, self.name, split, splits)
            found = finding.find("images", images, image_suffix)
            self.image_folder, images_at = found.folder, cures.Place("image", images, image_suffix, found)
            if annotations is None:
                if names := self.ignored_names:
                    raise ValueError(f"ignore={names}: masks have no names, give mask values or colors")
                labels = finding.find("masks", masks, mask_suffix)
                apart.separate(images_at, cures.Place("mask", masks, mask_suffix, labels))
            else:
                if values is not None or mask_suffix or masks != "masks":
                    raise ValueError(
                        "annotations= takes the place of masks: leave out masks=, mask_suffix= and values="
                    )
                labels = self._annotated(found, annotations, self.ignored_names)
            self.mask_folder = labels.folder
            self.left_out: list[Path] = []
            labeled = {key: path for key, path in found.by_key.items() if key in labels.by_key}
            if split is not None and lists.are_shares(splits) and labeled:  # else every image is said to lack its mask
                self.left_out = [path for key, path in found.by_key.items() if key not in labeled]
            divided = dataclasses.replace(found, by_key=labeled) if self.left_out else found
            chosen = lists.select(self.root, self.name, split, splits, split_seed, divided)
        self.keys, self.list, self.missing = chosen.keys, chosen.file, chosen.missing
        self.unread += chosen.notes
        self.images = [found.by_key[key] for key in self.keys]
        self.mask_of = {found.by_key[key]: labels.by_key.get(key) for key in self.keys}
        left = {key: mask for key, mask in labels.by_key.items() if key not in found.by_key}
        self.masks_without_image = list(left.values())
        if left and found.of_split and not labels.of_split:  # those of the other splits
            self.masks_without_image = []
            noun = "mask" if self.annotations is None else "annotated image"
            text = f"{messages.counted(len(left), noun)} in {labels.folder} without an image in {found.folder}"
            self.unread.append(f"{text}: {messages.some(messages.below(left.values(), labels.folder))}")
        masks_at = cures.Place("mask", masks, mask_suffix, labels)
        self.duplicates = [(list(place.files.duplicates), cures.choice(place)) for place in (images_at, masks_at)]
        self.unread += cures.unread((images_at, masks_at))
        self.cure = ""
        if self.annotations is None:
            alone = [key for key in (found.by_key if self.left_out else self.keys) if key not in labels.by_key]
            total = len(found.by_key if self.left_out else self.keys)
            self.cure = cures.cure(alone, left, total, images_at, masks_at)
        elif self.annotations.kind == "YOLO":
            self.cure = ": for an image without objects, give an empty text file of its name"
        elif self.annotations.kind == "Label Studio":
            self.cure = ": for an image without objects, submit its task without regions"

    def _annotated(self, found: layout.Files, place: str, ignore: Sequence[str]) -> layout.Files:
        """Reads the annotations; the "mask" of an image that they contain is the image itself."""
        names = layout.aliases(self.split)
        tried = [place.replace("{split}", name) for name in names] if "{split}" in place else []
        nested = [each for name in names for each in (f"{place}/{name}", f"{name}/{place}")]
        folders = [each for each in nested if (self.root / each).is_dir()]
        paths = [self.root / each for each in (tried or folders or [place])]
        path = next((path for path in paths if path.exists()), paths[0])
        if not path.exists():
            raise FileNotFoundError(f"{self.name}: there are no annotations at {path}; give their place, annotations=")
        self.annotations = read(path, self.classes, ignore=ignore)
        self.unread += self.annotations.notes
        pictures = {key: self.annotations.find(image) for key, image in found.by_key.items()}
        labeled = {key: found.by_key[key] for key, picture in pictures.items() if picture is not None}
        kinds = tuple(f"ending in {kind} " for kind in (".json", ".xml", ".txt"))  # those that were just read
        found.unread = {why: files for why, files in found.unread.items() if not why.startswith(kinds)}
        if tried and not found.of_split and self.splits is None:
            found.of_split, found.by_key = True, {key: found.by_key[key] for key in labeled}
        here = {id(picture) for picture in pictures.values()}
        absent = [picture.names[0] for picture in self.annotations.pictures if id(picture) not in here]
        return layout.Files(path, {name: Path(name) for name in absent} | labeled, of_split=bool(tried or folders))

    def __len__(self) -> int:
        return len(self.images)

    def identifier(self, index: int) -> str:
        return self.keys[index]

    def image_file(self, index: int) -> Path:
        return self.images[index]

    def files(self, index: int) -> tuple[Path, Path]:
        if self.missing:
            raise ValueError(
                f"{self.name}: {self.list} lists {len(self.missing)} images that are not in {self.image_folder}, "
                f"such as {self.missing[0]!r}"
            )
        image = self.images[index]
        mask = self.mask_of[image]
        if mask is None:
            raise ValueError(f"{image}: {self.no_mask} in {self.mask_folder}{self.cure}")
        return image, mask

    def read_label(self, image: File, mask: File, size: tuple[int, int]) -> np.ndarray:
        if self.annotations is None:
            return super().read_label(image, mask, size)
        return self.annotations.label(name_of(image), size)

    @property
    def no_mask(self) -> str:
        """What an image without a mask lacks, in messages."""
        return "no mask of this name" if self.annotations is None else "no annotations of this image"

    @property
    def left_out_note(self) -> str:
        """What is said about images that shares leave out, or "" if there are none."""
        names, absent = messages.below(self.left_out, self.image_folder), self.annotations is None
        one, whose = ("image is", "its") if len(names) == 1 else ("images are", "their")
        why = f"no mask has {whose} name" if absent else "the annotations lack " + ("it" if whose == "its" else "them")
        cure = self.cure if self.cure.startswith(":") and absent else ""
        return f"{len(names):,} {one} in no split, because {why} ({messages.some(names)}){cure}" if names else ""
