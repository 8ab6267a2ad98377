import numpy as np
import pytest

from tests.cli.command import kseg_command
from tests.data import folders


def test_datasets_are_listed():
    names = [line.split()[0] for line in kseg_command("datasets", "list").output.splitlines()]
    assert names == ["camvid", "nuclei", "streets", "pets", "voc", "ade20k", "cityscapes"]


@pytest.mark.parametrize("broken", [False, True])
def test_a_folder_is_checked(tmp_path, broken):
    folders.write_pair(tmp_path, "first", np.zeros((6, 8), "uint8"))
    if broken:
        (tmp_path / "masks" / "first.png").unlink()
    done = kseg_command("datasets", "check", tmp_path, "--classes", "background, cell", "--ignore", "7,255")
    assert done.exit_code == int(broken), done.output
    assert ("first" in done.output) == broken
    assert "Traceback" not in done.output
