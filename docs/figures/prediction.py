"""What `kseg predict` writes for a drawn picture of cells: the mask, the overlay, and the boxes of the objects."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image, ImageDraw, ImageFilter

from docs.figures import style
from kseg import inference, visualize, zoo

PLACES = (30, 34, 15, 11), (84, 26, 12, 14), (130, 40, 14, 14), (44, 92, 13, 17), (104, 84, 18, 12), (76, 132, 12, 11)
"""The centers and half axes of the cells."""


def cells() -> np.ndarray:
    """Draws blurred bright ellipses on a dark, noisy ground, gray uint8 `(160, 160)`."""
    picture = Image.new("L", (160, 160), 12)
    for x, y, width, height in PLACES:
        ImageDraw.Draw(picture).ellipse((x - width, y - height, x + width, y + height), fill=120)
    image = np.asarray(picture.filter(ImageFilter.GaussianBlur(1.5)), "float32")
    return (image + np.random.default_rng(0).normal(0, 4, image.shape)).clip(0, 255).astype("uint8")


def draw() -> Figure:
    """Draws the picture."""
    model = zoo.load("unet-efficientnet_lite0-nuclei")
    image = cells()
    label = inference.Predictor(model)(image)
    colors = np.array(model.palette, "uint8")[label]
    overlay = visualize.overlay(np.stack([image] * 3, axis=-1), label, model.palette)
    objects = inference.find_objects(label, 2, without=[0])
    figure, axes = style.panels(4, width=2.2, height=2.5)
    titles = "image", "mask", "overlay", "objects"
    for each, picture, title in zip(axes, (image, colors, overlay, colors), titles, strict=True):
        style.without_ticks(each, title)
        each.imshow(picture, cmap="gray", vmin=0, vmax=255)
    for number, (x, y, width, height) in enumerate(objects.boxes.tolist(), start=1):
        axes[3].add_patch(Rectangle((x - 0.5, y - 0.5), width, height, fill=False, edgecolor=style.BLUE, linewidth=1.5))
        axes[3].text(x, y - 3, str(number), color="white", fontsize=8)
    return figure
