"""docs/first-model.md shows the recipe that `kseg init` writes, except for the lines that it says to change."""

import tomllib

from kseg import data
from tests.docs.blocks import ROOT, blocks


def test_the_recipe_of_the_page_is_the_drafted_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "first-model.md"
    (script, *_) = (block for block in blocks(page) if block.language == "python")
    exec(compile(script.text.replace("range(16)", "range(40)"), "first-model.md", "exec"), {})
    drafted = tomllib.loads(data.draft("leaves").recipe)
    shown = tomllib.loads(page.read_text("utf-8").partition("```toml\n")[2].partition("```")[0])
    for recipe in (drafted, shown):
        del recipe["epochs"], recipe["data"]["classes"]
    assert shown == drafted
