"""A data set from two folders, one with images and one with masks."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from kseg.data.dataset import MEMORY_LIMIT, Dataset
from kseg.data.masks import MaskReader

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
ORIENTATION = ExifTags.Base.Orientation  # values 5 to 8 swap width and height
EIGHT_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")


class FolderDataset(Dataset):
    """Images in one folder and masks with the same stem in another.

    Three layouts are supported: `images/*.jpg` with `masks/*.png`; the same with a list `train.txt` of stems or
    paths, one per line; `images/train/*.jpg` with `masks/train/*.png`. For other layouts, use `{split}` in the folder
    names, for example `images="{split}/img"`. Files are opened when a pair is read; `kseg.data.check` reads them all.

    Args:
        root: The folder that contains the two others.
        split: `"train"`, `"val"`, ...; `None` takes all images.
        classes: Class names in the order of their ids.
        palette: One color per class, with which RGB masks are decoded; alpha is dropped. Single-channel masks, palette
            PNGs included, contain ids.
        ignore: Mask values (or RGB colors) to ignore, besides 255.
        values: The mask value of each class if not 0, 1, 2, ...: `(0, 255)` for black-and-white masks.
        images: Folder of the images, relative to `root`.
        masks: Folder of the masks, relative to `root`.
        channels: 3 reads images as RGB, 1 as grayscale.
        name: Name of the data set; by default the folder's name.
        memory_limit: Bytes of decoded pairs to keep in memory.

    Raises:
        FileNotFoundError: If a folder or the split's list is missing.
        ValueError: If an option is invalid. Reading a pair raises it for an image without a mask, a file that cannot
            be read, or a mask value that is no class.

    Example:
        >>> import tempfile, numpy as np
        >>> from PIL import Image
        >>> root = Path(tempfile.mkdtemp())
        >>> for folder, array in {"images": np.zeros((4, 6, 3)), "masks": np.ones((4, 6))}.items():
        ...     (root / folder).mkdir()
        ...     Image.fromarray(array.astype("uint8")).save(root / folder / "first.png")
        >>> dataset = FolderDataset(root, classes=["background", "cell"])
        >>> len(dataset), dataset.identifier(0), dataset[0][0].shape, dataset.num_classes
        (1, 'first', (4, 6, 3), 1)
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str | None = None,
        *,
        classes: Sequence[str],
        palette: Sequence[Sequence[int]] | None = None,
        ignore: int | Sequence[int | Sequence[int]] = (),
        values: Sequence[int] | None = None,
        images: str = "images",
        masks: str = "masks",
        channels: int = 3,
        name: str | None = None,
        memory_limit: int = MEMORY_LIMIT,
    ) -> None:
        self.root, self.split = Path(root).expanduser(), split
        super().__init__(name or self.root.resolve().name, classes, palette, memory_limit=memory_limit)
        if channels not in (1, 3):
            raise ValueError(f"{self.name}: channels must be 3 (RGB) or 1 (grayscale), got {channels}")
        self.channels = channels
        self.reader = MaskReader(self.classes, None if palette is None else self.palette, ignore=ignore, values=values)
        self.image_folder, self.mask_folder = self._folder(images, "images"), self._folder(masks, "masks")
        image_files, self.duplicates = _by_stem(self.image_folder)
        mask_files, duplicates = _by_stem(self.mask_folder)
        self.duplicates = self.duplicates + duplicates
        listed = self._listed(image_files, per_split="{split}" in images or self.image_folder.name == split)
        self.images = [image_files[stem] for stem in listed if stem in image_files]
        self.mask_of = {image: mask_files.get(image.stem) for image in self.images}
        self.missing = [stem for stem in listed if stem not in image_files]
        self.masks_without_image = [mask for stem, mask in mask_files.items() if stem not in image_files]

    def _folder(self, pattern: str, option: str) -> Path:
        folder = self.root / pattern.format(split=self.split)
        if self.split is not None and "{split}" not in pattern and (folder / self.split).is_dir():
            folder /= self.split
        if not folder.is_dir():
            raise FileNotFoundError(f"{self.name}: there is no folder {folder}; if it has another name, pass {option}=")
        return folder

    def _listed(self, image_files: dict[str, Path], *, per_split: bool) -> list[str]:
        """Returns the stems of the split, in the order of its list, or sorted without one."""
        file = self.root / f"{self.split}.txt"
        if self.split is None or (per_split and not file.is_file()):
            return sorted(image_files)
        if not file.is_file():
            folders = {path.name for path in self.image_folder.iterdir() if path.is_dir()}
            known = sorted({path.stem for path in self.root.glob("*.txt")} | folders)
            raise FileNotFoundError(
                f"{self.name}: split {self.split!r} has neither a list {file} nor a folder "
                f"{self.image_folder / self.split}; splits found: {', '.join(known) or 'none'}"
            )
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
        return [_stem(line, image_files) for line in lines if line]

    def __len__(self) -> int:
        return len(self.images)

    def identifier(self, index: int) -> str:
        return self.images[index].stem

    def size(self, index: int) -> tuple[int, int]:
        with open_image(self.images[index]) as image:
            turned = image.getexif().get(ORIENTATION, 1) > 4
            return (image.width, image.height) if turned else (image.height, image.width)

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        if self.missing:
            raise ValueError(
                f"{self.name}: {self.split}.txt lists {len(self.missing)} images that are not in {self.image_folder}, "
                f"such as {self.missing[0]!r}"
            )
        path = self.images[index]
        mask = self.mask_of[path]
        if mask is None:
            raise ValueError(
                f"{path}: no mask of this name in {self.mask_folder}; kseg.data.check lists all such images"
            )
        image, label = self.read_image(path), self.reader.read(mask)
        if image.shape[:2] != label.shape:
            raise ValueError(f"{mask}: the mask is {_size(label)} but its image {path.name} is {_size(image)}")
        return image, label

    def read_image(self, path: Path) -> np.ndarray:
        """Reads one image as uint8 `(H, W, channels)`."""
        with open_image(path) as image:
            if image.mode not in EIGHT_BIT_MODES:
                raise ValueError(
                    f"{path}: images must have 8 bits per channel, this one has mode {image.mode!r}: convert it"
                )
            try:
                upright = ImageOps.exif_transpose(image)
                pixels = np.array(upright.convert("L" if self.channels == 1 else "RGB"))
            except (OSError, SyntaxError, ValueError) as error:
                raise ValueError(f"{path}: cannot be decoded as an image ({error})") from error
        return pixels.reshape(*pixels.shape[:2], self.channels)


def open_image(path: Path) -> Image.Image:
    """Opens an image file without decoding it; errors name the file."""
    try:
        return Image.open(path)
    except FileNotFoundError:
        raise
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as an image ({type(error).__name__})") from error


def _by_stem(folder: Path) -> tuple[dict[str, Path], list[Path]]:
    files: dict[str, Path] = {}
    duplicates = []
    for path in sorted(folder.iterdir()):
        is_image = path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
        if is_image and files.setdefault(path.stem, path) is not path:
            duplicates.append(path)
    return files, duplicates


def _stem(line: str, known: dict[str, Path]) -> str:
    """Returns the stem of the image that a line of a list names by stem or path; a second column is ignored."""
    for entry in (line, line.split()[0]):
        name = Path(entry).name
        for stem in (name, Path(name).stem):
            if stem in known:
                return stem
    return Path(line.split()[0]).stem


def _size(array: np.ndarray) -> str:
    return f"{array.shape[0]}x{array.shape[1]}"
