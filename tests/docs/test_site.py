"""The navigation of the site has every page, and its reference every public name. `python -m tests` builds the site."""

import tomllib

import pytest

import kseg
from docs import names
from tests.docs.blocks import PAGES, ROOT

SETTINGS = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]


def _leaves(entries):
    for entry in entries:
        for value in entry.values():
            yield from _leaves(value) if isinstance(value, list) else [value]


def test_the_navigation_has_every_page_once():
    pages = [page.relative_to(ROOT / "docs").as_posix() for page in PAGES if page.is_relative_to(ROOT / "docs")]
    assert sorted(_leaves(SETTINGS["nav"])) == sorted(pages)


@pytest.mark.parametrize("room", kseg.__all__)
def test_the_reference_has_every_public_name(room):
    page = (names.PAGES / f"{room}.md").read_text("utf-8")
    assert page == names.page(room), "run python -m docs.names"
    for name in names.public_names(getattr(kseg, room)):
        assert f"kseg.{room}.{name}" in page
