"""`python -m docs.figures [NAME ...]` draws the pictures of these names, or all, into docs/images."""

import importlib
import pathlib
import pkgutil
import sys

from matplotlib.figure import Figure
from PIL import Image

from docs import figures, gallery
from docs.figures import style

IMAGES = pathlib.Path(__file__).parents[1] / "images"
SCRIPTS = {module.name for module in pkgutil.iter_modules(figures.__path__)} - {"style", "__main__"}
NAMES = sorted(SCRIPTS | set(gallery.names()))


def draw(name: str, folder: pathlib.Path = IMAGES) -> pathlib.Path:
    """Draws a picture and returns its file.

    Args:
        name: A module of this folder, or a picture of gallery.md.
        folder: Where the file is written.
    """
    with style.settings():
        script = name in SCRIPTS
        picture = importlib.import_module(f"docs.figures.{name}").draw() if script else gallery.picture(name)
        if isinstance(picture, Figure):
            path = folder / f"{name}.svg"
            picture.savefig(path, metadata={"Date": None})
        else:
            path = folder / f"{name}.png"
            Image.fromarray(picture).save(path, optimize=True)
    return path


if __name__ == "__main__":
    for chosen in sys.argv[1:] or NAMES:
        print(draw(chosen))
