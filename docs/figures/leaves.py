"""The leaves that the script in docs/first-model.md draws, and their masks."""

import contextlib
import pathlib
import re
import tempfile

import numpy as np
from PIL import Image

PAGE = pathlib.Path(__file__).parents[1] / "first-model.md"
COUNT, GAP = 6, 4  # pictures in a row, and the pixels between them


def draw() -> np.ndarray:
    """Runs the first script of the page in a temporary folder and shows its first pictures."""
    script = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), flags=re.DOTALL)[0]
    rows = []
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        exec(compile(script, PAGE.name, "exec"), {})
        for pattern in ("images/{:02}.jpg", "masks/{:02}_mask.png"):
            files = [pathlib.Path("leaves", pattern.format(number)) for number in range(COUNT)]
            rows.append(np.concatenate([_padded(Image.open(file)) for file in files], axis=1))
    return np.concatenate(rows)


def _padded(picture: Image.Image) -> np.ndarray:
    return np.pad(np.asarray(picture.convert("RGB")), ((0, GAP), (0, GAP), (0, 0)), constant_values=255)
