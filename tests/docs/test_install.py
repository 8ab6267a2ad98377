"""The table of extras in docs/install.md is that of pyproject.toml."""

import re
import tomllib

from tests.docs.blocks import ROOT

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def test_the_page_lists_every_extra_and_its_packages():
    page = (ROOT / "docs" / "install.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", page[page.index("## Extras") :], flags=re.MULTILINE))
    assert rows.keys() == EXTRAS.keys()
    for extra, packages in rows.items():
        named = sorted(re.match(r"[\w-]+", requirement)[0] for requirement in EXTRAS[extra])
        assert extra == "test" or packages.split(", ") == named, extra
    every = re.search(r"kseg\[([\w,]+)\]", EXTRAS["test"][0])[1].split(",")
    assert set(every) == EXTRAS.keys() - {"test", "weights"}
