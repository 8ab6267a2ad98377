"""Folders and patterns, and names that do not collide."""

import pytest

from kseg.inference import list_images, output_names


@pytest.fixture
def folder(tmp_path):
    for name in ("b.PNG", "a.jpg", "notes.txt", ".hidden.png", "deep/c.png", "x[1].png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("place", "names"),
    [
        ("", ["a.jpg", "b.PNG", "x[1].png"]),
        ("*.jpg", ["a.jpg"]),
        ("**/*.png", ["deep/c.png", "x[1].png"]),
        ("notes.txt", ["notes.txt"]),
        ("x[1].png", ["x[1].png"]),
    ],
)
def test_images_are_listed_in_order(folder, place, names):
    assert [str(path.relative_to(folder)) for path in list_images(folder / place)] == names


def test_an_error_says_what_to_name_if_there_are_no_images(folder):
    (folder / "empty").mkdir()
    for place in ("empty", "*.bmp", "nowhere.png"):
        with pytest.raises(FileNotFoundError, match=r"no images at .*: name a file, a folder that holds \.png"):
            list_images(folder / place)


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a/1.png", "a/2.png"], ["1", "2"]),
        (["a/1.png", "b/1.png"], ["a_1", "b_1"]),
        (["a/1.png", "a/1.jpg"], ["1_png", "1_jpg"]),
        (["a/A.png", "b/a.png"], ["a_A", "b_a"]),
        (["top/a/1.png", "top/b/c/1.png"], ["a_1", "b_c_1"]),
        (["a/1.png", "b/1.png", "a_1.png"], ["a_1_png", "b_1", "a_1_png_2"]),
        ([], []),
    ],
)
def test_names_derive_from_the_paths_and_are_unique(paths, names):
    assert output_names(paths) == names


def test_long_names_are_cut_and_stay_unique():
    names = output_names([f"a/{'x' * 250}1.png", f"a/{'x' * 250}2.png", "b/" + "\u6f22" * 83 + ".png"], longest=100)
    assert names == ["x" * 100, "x" * 98 + "_2", "\u6f22" * 33]
    assert output_names([f"a/{'x' * 247}.png"]) == ["x" * 247]
