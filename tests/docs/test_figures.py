"""The pictures of the site are drawn by the scripts in docs/figures."""

import re

import pytest

from docs.figures.__main__ import IMAGES, NAMES, draw
from tests.docs.blocks import PAGES
from tests.docs.shares import share


@pytest.mark.parametrize("name", share(NAMES))
def test_a_script_draws_its_picture(name, tmp_path):
    path = draw(name, tmp_path)
    assert (IMAGES / path.name).is_file(), f"run python -m docs.figures {name}"
    assert path.stat().st_size > 1000


def test_every_picture_has_a_script_and_a_page():
    pictures = {path.name for path in IMAGES.iterdir()}
    assert {name.partition(".")[0] for name in pictures} == set(NAMES)
    shown = {name for page in PAGES for name in re.findall(r"images/([\w-]+\.\w+)", page.read_text("utf-8"))}
    assert pictures <= shown


def test_every_picture_that_a_page_shows_is_there():
    for page in PAGES:
        for target in re.findall(r"!\[[^]]*\]\(([^)]+)\)", page.read_text("utf-8")):
            assert "://" in target or (page.parent / target).is_file(), f"{page.name}: {target}"
