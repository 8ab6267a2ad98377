"""A photo of a street and the prediction of the released U-Net, for README.md and the first page.

The photo is one of those in the card of the weights: CamVid, CC BY-NC 4.0.
"""

import pathlib

import numpy as np
from PIL import Image

import kseg

CARD = pathlib.Path(__file__).parents[2] / "zoo/unet-efficientnet_lite0-camvid/predictions.png"
PHOTO = (6, 216, 246, 396)
"""Left, top, right and bottom of the photo in the picture of the card, in pixels."""


def draw() -> np.ndarray:
    """Returns the photo beside its overlay, with a legend."""
    model = kseg.zoo.load("unet-efficientnet_lite0-camvid")
    photo = np.asarray(Image.open(CARD).convert("RGB").crop(PHOTO).resize((480, 360), Image.Resampling.LANCZOS))
    labels = kseg.inference.Predictor(model)(photo)
    overlay = kseg.visualize.overlay(photo, labels, palette=model.palette, opacity=0.5)
    return kseg.visualize.with_legend(np.concatenate([photo, overlay], axis=1), model.classes, model.palette)
