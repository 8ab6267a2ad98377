"""Public data sets in the folders in which their authors publish them: Oxford-IIIT Pet, PASCAL VOC, ADE20K, Cityscapes.

None of them is downloaded: each needs an agreement or several gigabytes.
"""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from kseg import download
from kseg.data.dataset import MEMORY_LIMIT
from kseg.data.folder import FolderDataset

Root = str | os.PathLike[str] | None

VOC_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
VOC_PALETTE = (
    (0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128), (128, 128, 128),
    (64, 0, 0), (192, 0, 0), (64, 128, 0), (192, 128, 0), (64, 0, 128), (192, 0, 128), (64, 128, 128), (192, 128, 128),
    (0, 64, 0), (128, 64, 0), (0, 192, 0), (128, 192, 0), (0, 64, 128),
)  # fmt: skip
VOC_VOID = (224, 224, 192)

CITYSCAPES = (  # name, color, id in *_labelIds.png
    ("road", (128, 64, 128), 7), ("sidewalk", (244, 35, 232), 8), ("building", (70, 70, 70), 11),
    ("wall", (102, 102, 156), 12), ("fence", (190, 153, 153), 13), ("pole", (153, 153, 153), 17),
    ("traffic light", (250, 170, 30), 19), ("traffic sign", (220, 220, 0), 20), ("vegetation", (107, 142, 35), 21),
    ("terrain", (152, 251, 152), 22), ("sky", (70, 130, 180), 23), ("person", (220, 20, 60), 24),
    ("rider", (255, 0, 0), 25), ("car", (0, 0, 142), 26), ("truck", (0, 0, 70), 27), ("bus", (0, 60, 100), 28),
    ("train", (0, 80, 100), 31), ("motorcycle", (0, 0, 230), 32), ("bicycle", (119, 11, 32), 33),
)  # fmt: skip

ADE20K_CLASSES = (
    "wall", "building", "sky", "floor", "tree", "ceiling", "road", "bed", "windowpane", "grass", "cabinet", "sidewalk",
    "person", "earth", "door", "table", "mountain", "plant", "curtain", "chair", "car", "water", "painting", "sofa",
    "shelf", "house", "sea", "mirror", "rug", "field", "armchair", "seat", "fence", "desk", "rock", "wardrobe", "lamp",
    "bathtub", "railing", "cushion", "base", "box", "column", "signboard", "chest of drawers", "counter", "sand",
    "sink", "skyscraper", "fireplace", "refrigerator", "grandstand", "path", "stairs", "runway", "case", "pool table",
    "pillow", "screen door", "stairway", "river", "bridge", "bookcase", "blind", "coffee table", "toilet", "flower",
    "book", "hill", "bench", "countertop", "stove", "palm", "kitchen island", "computer", "swivel chair", "boat", "bar",
    "arcade machine", "hovel", "bus", "towel", "light", "truck", "tower", "chandelier", "awning", "streetlight",
    "booth", "television receiver", "airplane", "dirt track", "apparel", "pole", "land", "bannister", "escalator",
    "ottoman", "bottle", "buffet", "poster", "stage", "van", "ship", "fountain", "conveyer belt", "canopy", "washer",
    "plaything", "swimming pool", "stool", "barrel", "basket", "waterfall", "tent", "bag", "minibike", "cradle", "oven",
    "ball", "food", "step", "tank", "trade name", "microwave", "pot", "animal", "bicycle", "lake", "dishwasher",
    "screen", "blanket", "sculpture", "hood", "sconce", "vase", "traffic light", "tray", "ashcan", "fan", "pier",
    "crt screen", "plate", "monitor", "bulletin board", "shower", "radiator", "glass", "clock", "flag",
)  # fmt: skip


def pets(split: str, *, root: Root = None, memory_limit: int = MEMORY_LIMIT) -> FolderDataset:
    """Opens Oxford-IIIT Pet: 3,312 training, 368 validation and 3,669 test photos of cats and dogs.

    The folder must contain the official `images/` and `annotations/` (`images.tar.gz`, `annotations.tar.gz`; CC BY-SA
    4.0). Every tenth image of `trainval.txt` is for validation. In the trimaps, 1 is the pet, 2 the background, and 3
    the border, which is ignored.

    Args:
        split: `"train"`, `"val"` or `"test"`.
        root: The folder, or the parent of `oxford-iiit-pet` or `pets`. By default the environment variable `KSEG_DATA`.
        memory_limit: Bytes of decoded images to keep in memory.

    Returns:
        A data set of uint8 images `(H, W, 3)` and labels `(H, W)`, 0 and 1, void 255.

    Raises:
        FileNotFoundError: If there is no such folder.

    Reference:
        Parkhi, Vedaldi, Zisserman, Jawahar: Cats and dogs, 2012. https://www.robots.ox.ac.uk/~vgg/data/pets/
    """
    folder = _folder("pets", ("oxford-iiit-pet", "pets", ""), root, "annotations/trimaps", "images and annotations")
    dataset = FolderDataset(
        folder,
        split,
        classes=("background", "pet"),
        palette=((0, 0, 0), (230, 140, 20)),
        values=(2, 1),
        ignore=(3, 255),
        masks="annotations/trimaps",
        splits=dict.fromkeys(("train", "val"), "annotations/trainval.txt") | {"test": "annotations/test.txt"},
        name="pets",
        memory_limit=memory_limit,
    )
    if split != "test":
        chosen = [index for index in range(len(dataset)) if (index % 10 == 9) == (split == "val")]
        dataset.keys, dataset.images = (
            [dataset.keys[index] for index in chosen],
            [dataset.images[index] for index in chosen],
        )
    return dataset


def voc(split: str, *, root: Root = None, memory_limit: int = MEMORY_LIMIT) -> FolderDataset:
    """Opens PASCAL VOC 2012: 1,464 training and 1,449 validation images of 20 kinds of objects and the background.

    The folder must contain the official `JPEGImages/`, `SegmentationClass/` and `ImageSets/Segmentation/`. The labels
    of VOC 2012's test split are not public; those of VOC 2007 are, in the same folders.

    Args:
        split: `"train"`, `"val"`, or any other list in `ImageSets/Segmentation`, such as `"test"` of VOC 2007.
        root: The folder `VOC2012`, `VOCdevkit` or its parent. By default the environment variable `KSEG_DATA`.
        memory_limit: Bytes of decoded images to keep in memory.

    Returns:
        A data set of uint8 images `(H, W, 3)` and labels `(H, W)`, 0 to 20, void 255.

    Raises:
        FileNotFoundError: If there is no such folder, or no list of the split.

    Reference:
        Everingham et al.: The PASCAL visual object classes challenge, 2010. http://host.robots.ox.ac.uk/pascal/VOC/
    """
    places = ("VOC2012", "VOCdevkit/VOC2012", "VOCdevkit/VOC2007", "VOC2007", "")
    folder = _folder("voc", places, root, "SegmentationClass", "VOCtrainval_11-May-2012.tar")
    if not (folder / "ImageSets" / "Segmentation" / f"{split}.txt").is_file():
        raise FileNotFoundError(f"voc: there is no list of {split} in {folder / 'ImageSets' / 'Segmentation'}")
    return FolderDataset(
        folder,
        split,
        classes=VOC_CLASSES,
        palette=VOC_PALETTE,
        ignore=(255, VOC_VOID),
        images="JPEGImages",
        masks="SegmentationClass",
        splits="ImageSets/Segmentation",
        name="voc",
        memory_limit=memory_limit,
    )


def ade20k(split: str, *, root: Root = None, memory_limit: int = MEMORY_LIMIT) -> FolderDataset:
    """Opens ADE20K in the 150 classes of its challenge: 20,210 training and 2,000 validation images of scenes.

    The folder must be the official `ADEChallengeData2016` with `images/` and `annotations/`, each with `training/` and
    `validation/`. Value 0 of the masks, other objects, is ignored; 1 to 150 become 0 to 149.

    Args:
        split: `"train"` or `"val"`; the labels of the test split are not public.
        root: The folder or its parent. By default the environment variable `KSEG_DATA`.
        memory_limit: Bytes of decoded images to keep in memory.

    Returns:
        A data set of uint8 images `(H, W, 3)` and labels `(H, W)`, 0 to 149, void 255.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If `split` is `"test"`.

    Reference:
        Zhou et al.: Scene parsing through ADE20K dataset, 2017. http://sceneparsing.csail.mit.edu
    """
    _refuse_test("ade20k", split)
    folder = _folder("ade20k", ("ADEChallengeData2016", ""), root, "annotations/validation", "ADEChallengeData2016.zip")
    return FolderDataset(
        folder,
        split,
        classes=ADE20K_CLASSES,
        values=range(1, 151),
        ignore=(0, 255),
        masks="annotations",
        name="ade20k",
        memory_limit=memory_limit,
    )


def cityscapes(split: str, *, root: Root = None, memory_limit: int = MEMORY_LIMIT) -> FolderDataset:
    """Opens Cityscapes in its 19 evaluated classes: 2,975 training and 500 validation images of 1024x2048 pixels.

    The folder must contain the official `leftImg8bit/` and `gtFine/`. The masks are `*_gtFine_labelIds.png`; the other
    ids are ignored.

    Args:
        split: `"train"` or `"val"`; the labels of the test split are not public.
        root: The folder or the parent of `cityscapes`. By default the environment variable `KSEG_DATA`.
        memory_limit: Bytes of decoded images to keep in memory.

    Returns:
        A data set of uint8 images `(H, W, 3)` and labels `(H, W)`, 0 to 18, void 255.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If `split` is `"test"`.

    Reference:
        Cordts et al.: The Cityscapes dataset, 2016. https://www.cityscapes-dataset.com
    """
    _refuse_test("cityscapes", split)
    packages = "leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip"
    names, colors, ids = zip(*CITYSCAPES, strict=True)
    return FolderDataset(
        _folder("cityscapes", ("cityscapes", "Cityscapes", ""), root, "gtFine", packages),
        split,
        classes=names,
        palette=colors,
        values=ids,
        ignore=(*(value for value in range(34) if value not in ids), 255),
        images="leftImg8bit",
        masks="gtFine",
        image_suffix="_leftImg8bit",
        mask_suffix="_gtFine_labelIds",
        name="cityscapes",
        memory_limit=memory_limit,
    )


def _folder(name: str, places: Sequence[str], root: Root, marker: str, packages: str) -> Path:
    for place in places:
        with contextlib.suppress(FileNotFoundError):
            folder = download.find(place, root, marker=marker)
            if folder is not None:
                return folder
    where = "" if root is None else f" in {os.fspath(root)}"
    raise FileNotFoundError(
        f"{name}: no folder with {marker} found{where}: unpack {packages} from its website, and set KSEG_DATA (or "
        "root=) to the folder or its parent"
    )


def _refuse_test(name: str, split: str) -> None:
    if split == "test":
        raise ValueError(f"{name}: the labels of the test split are not public: use val")
