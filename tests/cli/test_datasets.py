import re

import numpy as np
import pytest
from PIL import Image

from kseg import data
from kseg.cli import _datasets, folder_options
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


def commonest(root, count=4):
    """Black-and-white masks with the names `x_mask.png`."""
    for index in range(count):
        folders.write_pair(root, str(index), np.array([[0, 255]] * 2, "uint8"))
        (root / "masks" / f"{index}.png").rename(root / "masks" / f"{index}_mask.png")
    return root


def test_the_cures_of_a_check_are_options_that_exist(tmp_path):
    command = ["datasets", "check", commonest(tmp_path), "--classes", "a,b"]
    for flag, value in (("--mask-suffix", "_mask"), ("--values", "0,255")):
        done = kseg_command(*command)
        assert done.exit_code == 1
        assert f"{flag} {value}" in done.output
        command += [flag, value]
    for split in ((), ("--split", "all")):
        assert kseg_command(*command, *split).exit_code == 0
    done = kseg_command(*command, "--splits", "50/25/25")
    assert done.exit_code == 0
    assert [line for line in done.output.splitlines() if line.endswith(":")] == ["train:", "val:", "test:"]


@pytest.mark.parametrize("is_recipe", [False, True])
def test_all_images_of_a_folder_are_opened_as_the_error_says(tmp_path, is_recipe):
    place, folder = str(commonest(tmp_path / "own")), {"classes": "a,b"}
    if is_recipe:
        place, folder = str(tmp_path / "own.toml"), {}
        (tmp_path / "own.toml").write_text(
            f'epochs = 1\nmodel.builder = "unet"\n[data]\nfolder = "{tmp_path / "own"}"\nclasses = ["a", "b"]\n'
        )

    class Model:
        classes, palette, inputs = (), (), [np.zeros((1, 2, 2, 3))]

    with pytest.raises(FileNotFoundError, match=r"for all images, give .*--split all") as caught:
        _datasets.open_dataset(place, "test", Model(), folder=folder, data_root=None)
    split = re.search(r"--split (\w+)", str(caught.value))[1]
    assert len(_datasets.open_dataset(place, split, Model(), folder=folder, data_root=None)) == 4


def test_the_keys_of_a_recipe_are_the_cures_of_its_check(tmp_path):
    commonest(tmp_path / "own")
    recipe = tmp_path / "own.toml"
    text = f'epochs = 1\nmodel.builder = "unet"\n[data]\nfolder = "{tmp_path / "own"}"\nclasses = ["a", "b"]\n'
    for key in ('mask_suffix = "_mask"', "values = [0, 255]", 'split = "80/10/10"'):
        recipe.write_text(text)
        done = kseg_command("datasets", "check", recipe)
        assert done.exit_code == 1 and f"{key} in [data]" in done.output
        text += f"{key}\n"
    windows = str(tmp_path / "own").replace("/", "\\")
    for name, content in (
        ("own.toml", text),
        ("OWN.TOML", text),
        ("own.toml.txt", text.replace(str(tmp_path / "own"), "W")),
    ):
        recipe = tmp_path / name
        recipe.write_text(content.replace('folder = "W"', f"folder = '{windows}'"))
        assert kseg_command("datasets", "check", recipe).exit_code == 0
    done = kseg_command("datasets", "check", recipe, "--values", "0,255")
    assert "--values: these are keys of [data] in " in done.stderr


def test_a_split_that_is_named_or_needed_has_to_exist(tmp_path):
    commonest(tmp_path)
    command = ["datasets", "check", tmp_path, "--classes=a,b", "--mask-suffix=_mask", "--values=0,255"]
    assert kseg_command(*command).exit_code == 0
    for splits in ("lists", "{split}.csv", "train=a.txt,val=b.txt"):
        done = kseg_command(*command, "--splits", splits)
        assert done.exit_code == 1 and "train:\nproblem: " in done.output
    (tmp_path / "train.csv").write_text("0\n1\n")
    assert kseg_command(*command, "--splits={split}.csv").exit_code == 0
    done = kseg_command(*command, "--splits=train.csv")
    assert "--splits train.csv is one list" in done.stderr and "--splits {split}.csv" in done.stderr
    recipe = tmp_path / "own.toml"
    text = f'epochs = 1\nmodel.builder = "unet"\n[data]\nfolder = "{tmp_path}"\nclasses = ["a", "b"]\n'
    recipe.write_text(f'{text}mask_suffix = "_mask"\nvalues = [0, 255]\nsplit = "{{split}}.csv"\n')
    done = kseg_command("datasets", "check", recipe)  # training needs validation images
    assert done.exit_code == 1 and "val:\nproblem: " in done.output and "(train): 2 images" in done.output


def test_palette_masks_of_two_splits_have_to_number_their_colors_alike(tmp_path):
    colors = {"train": [0, 0, 0, 200, 0, 0, 0, 200, 0], "val": [0, 0, 0, 0, 200, 0, 200, 0, 0]}
    for split, palette in colors.items():
        mask = Image.fromarray(np.array([[0, 1, 2]], "uint8"), "P")
        mask.putpalette(palette)
        folders.write_pair(tmp_path, split, mask)
        (tmp_path / f"{split}.txt").write_text(split)
    done = kseg_command("datasets", "check", tmp_path, "--classes=a,b,c")
    assert done.exit_code == 1 and "index 1 has the color (0, 200, 0), which index 2 has in train.png" in done.output


def test_a_faulty_list_does_not_hide_the_other_splits(tmp_path):
    commonest(tmp_path)
    for split, text in (("train", "0\n1"), ("val", "no such image"), ("test", "2")):
        (tmp_path / f"{split}.txt").write_text(text)
    done = kseg_command("datasets", "check", tmp_path, "--classes=a,b", "--mask-suffix=_mask", "--values=0,255")
    assert done.exit_code == 1
    assert "val.txt: none of its 1 names" in done.output and done.output.count("\nok\n") == 2


@pytest.mark.parametrize(
    ("option", "value", "parsed"),
    [
        ("ignore", "7,#ff0000,dust", [7, (255, 0, 0), "dust"]),
        ("ignore", "-1", [-1]),
        ("palette", "#000000,#00a000", [(0, 0, 0), (0, 160, 0)]),
        ("range", "percentile", "percentile"),
        ("range", "0,4095", (0.0, 4095.0)),
        ("bands", "4,3,2", (4, 3, 2)),
        ("splits", "train=a.txt,val=b.txt", {"train": "a.txt", "val": "b.txt"}),
        ("splits", "80/10/10", "80/10/10"),
    ],
)
def test_options_of_a_folder_are_parsed(option, value, parsed):
    assert folder_options.parsed({option: value}) == {option: parsed}


@pytest.mark.parametrize(("option", "value"), [("palette", "red"), ("range", "1"), ("bands", "a"), ("values", "0;255")])
def test_an_option_of_another_form_is_named(option, value):
    with pytest.raises(ValueError, match=f"^--{option} takes .*, got {value!r}$"):
        folder_options.parsed({option: value})


def test_the_range_of_images_is_an_option(tmp_path):
    """Values of a 12-bit camera in 16-bit files."""
    commonest(tmp_path, 1)
    folders.write(tmp_path / "images" / "0.png", np.array([[0, 4095]] * 2, "uint16"))
    command = ["datasets", "check", tmp_path, "--classes=a,b", "--mask-suffix=_mask", "--values=0,255"]
    assert "--range 0,4095" in kseg_command(*command).output
    assert "--range" not in kseg_command(*command, "--range", "0,4095").output
    with pytest.raises(ValueError, match=r"range must be two values"):
        data.folder_arguments({"range": (5, 1)})
