"""Images, and a session of Ray on the default backend only: its workers take seconds to start."""

import keras
import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import builder, loaded_once, save  # noqa: F401

collect_ignore = [] if keras.backend.backend() == "tensorflow" else ["test_ray.py"]

LARGE, PIXELS, TILE = (150, 210), 100 * 100, 96


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Small images, a large one, two of one stem, one with a doubtful band, and a broken file."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "other").mkdir()

    def write(name, *shape):
        pixels = np.random.default_rng(len(name)).integers(0, 256, shape).astype("uint8")
        Image.fromarray(pixels).save(folder / name)

    for number in range(24):
        write(f"{number:02d}.png", 30, 41, 3)
    write("large.png", *LARGE, 3)
    write("doubtful.tif", 20, 30, 4)
    write("other/03.png", 25, 30, 3)
    (folder / "broken.png").write_text("no image")
    return folder


def files(folder):
    """Returns the contents of the files of results by their names."""
    found = sorted(path for path in folder.rglob("*") if path.is_file() and ".kseg-predict" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}
