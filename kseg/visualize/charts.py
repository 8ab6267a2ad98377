"""Matplotlib figures as arrays, independent of the user's settings and of pyplot's global state."""

import io
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from kseg.visualize.text import font_for

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Figure
else:
    Figure = "matplotlib.figure.Figure"  # imported when a chart is drawn

DPI = 100
STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#202020",
    "axes.grid": True,
    "axes.titlesize": "medium",
    "font.size": 10,
    "grid.color": "#e1e1e1",
    "legend.frameon": False,
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
}


def drawn(paint: Callable[[Figure], None], width: float, height: float, *, texts: Iterable[str] = ()) -> np.ndarray:
    """Draws a figure of this size in pixels, to which `paint` adds axes; the picture grows around texts outside it.

    For `texts`, fonts are added that have their letters.
    """
    try:
        import matplotlib.figure
        import matplotlib.font_manager
        import matplotlib.style
        from matplotlib.backends.backend_agg import FigureCanvasAgg
    except ImportError as error:
        raise ImportError(f"charts need matplotlib ({error}): pip install 'kseg[train]'") from error
    families = ["DejaVu Sans"]
    for path in {font_for(text, 16).path for text in texts if not text.isascii()}:
        if isinstance(path, str):  # not Pillow's own font
            matplotlib.font_manager.fontManager.addfont(path)
            families.append(matplotlib.font_manager.FontProperties(fname=path).get_name())
    with matplotlib.style.context(["default", STYLE, {"font.family": families}]):
        figure = matplotlib.figure.Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
        FigureCanvasAgg(figure)
        paint(figure)
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=DPI, bbox_inches="tight", pad_inches=0.12)
    return np.array(Image.open(file).convert("RGB"))
