"""Multiply-adds of one prediction: a sliding window, its convolutional form, full resolution, an encoder-decoder."""

from matplotlib.figure import Figure

from docs.figures import style
from kseg import zoo

SIZE = (360, 480)


def counts() -> dict[str, int]:
    """Returns the multiply-adds for an image of `SIZE` with 8 classes."""
    classifier = zoo.patch_classifier(8)
    side = classifier.input_shape[1]
    return {
        "sliding window": SIZE[0] * SIZE[1] * zoo.multiply_adds(classifier, (side, side)),
        "the same, as convolutions": zoo.multiply_adds(zoo.convolutionalize(classifier, padding="same"), SIZE),
        "full resolution": zoo.multiply_adds(zoo.full_resolution(8), SIZE),
        "encoder and decoder (U-Net)": zoo.multiply_adds(zoo.unet(8, encoder_weights=None), SIZE),
    }


def draw() -> Figure:
    """Draws bars on a logarithmic axis."""
    figure, (axes,) = style.panels(1, width=6.4, height=2.2)
    names, values = zip(*counts().items(), strict=True)
    bars = axes.barh(names, [value / 1e9 for value in values], color=style.BLUE)
    axes.bar_label(bars, [f"{value / 1e9:,.0f}" for value in values], padding=3)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlim(1, 20000)
    axes.set_xlabel(f"multiply-adds for {SIZE[0]}x{SIZE[1]} pixels, in billions")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure
