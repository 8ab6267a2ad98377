"""Images and masks for PyTorch's DataLoader, with albumentations: the shortest code that does what kseg does."""

import pathlib
from typing import Any

import albumentations
import cv2
import numpy as np
import torch

from kseg import data


class Files(torch.utils.data.Dataset[tuple[np.ndarray, np.ndarray]]):
    """Images and masks of a folder with the augmentation that kseg calls "street", by albumentations alone."""

    def __init__(self, folder: str, crop: tuple[int, int]):
        self.images = sorted(pathlib.Path(folder, "images").iterdir())
        scale_and_crop = [
            albumentations.RandomScale((-0.5, 1.0), p=1.0),  # 0.5 to 2
            albumentations.PadIfNeeded(*crop, border_mode=0, fill=data.augment.PADDING, fill_mask=255),
            albumentations.RandomCrop(*crop),
        ]
        street = data.augment.PIPELINES["street"]
        others = [*street.transforms(albumentations), *street.colors(albumentations)]
        self.augment = albumentations.Compose([*scale_and_crop, *others])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        path = self.images[index]
        image: Any = cv2.imread(str(path))
        mask = cv2.imread(str(path.parents[1] / "masks" / path.name), cv2.IMREAD_GRAYSCALE)
        found = self.augment(image=image[..., ::-1].copy(), mask=mask)
        return found["image"], found["mask"]


def loader(folder: str, crop: tuple[int, int], batch_size: int, workers: int) -> Any:
    """Returns a DataLoader that shuffles, whose processes stay and use one thread each, as PyTorch itself."""
    return torch.utils.data.DataLoader(
        Files(folder, crop),
        batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=True,
        worker_init_fn=_start,
        multiprocessing_context="spawn",  # other threads of this process may hold locks that a fork would copy
    )


def _start(worker: int) -> None:
    cv2.setNumThreads(1)
