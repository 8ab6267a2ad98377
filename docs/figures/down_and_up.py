"""The sizes of the features of a U-Net, from the image down and up again."""

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from docs.figures import style
from kseg import zoo

SIZE = (360, 480)


def features() -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Returns the shapes (height, width, channels) of the encoder's features and of the blocks of the decoder."""
    model = zoo.unet(11, encoder_weights=None, input_shape=(*SIZE, 3))
    encoder = model.get_layer("encoder")
    down = [tuple(output.shape[1:]) for output in encoder.outputs]
    up = [tuple(layer.output.shape[1:]) for layer in model.layers if type(layer).__name__ == "UNetBlock"]
    return down, up


def draw() -> Figure:
    """Draws a bar per feature: its height is that of the feature, its text height, width and channels."""
    down, up = features()
    figure, (axes,) = style.panels(1, width=7.2, height=2.7)
    columns = [((*SIZE, 3), style.SOFT), *((each, style.BLUE) for each in down), *((each, style.ORANGE) for each in up)]
    for index, ((height, width, channels), color) in enumerate(columns):
        axes.add_patch(Rectangle((index - 0.3, -height / 2), 0.6, height, color=color))
        axes.text(index, -height / 2 - 12, f"{height}x{width}\n{channels}", ha="center", va="top", fontsize=7)
    axes.text(len(down) / 2 + 0.5, 200, "encoder", color=style.BLUE, ha="center")
    axes.text(len(down) + len(up) / 2 + 0.5, 200, "decoder", color=style.ORANGE, ha="center")
    axes.text(0, 200, "image", color=style.SOFT, ha="center")
    axes.set_xlim(-0.7, len(columns) - 0.3)
    axes.set_ylim(-250, 230)
    axes.axis("off")
    return figure
