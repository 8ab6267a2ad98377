"""The code blocks of pages in Markdown, with what tests change in them.

An HTML comment right above a block says how tests treat it; several comments may follow each other:

    <!-- test: epochs=40 => epochs=1 -->          tests replace the first text by the second; the block must contain it
    <!-- test: not run, needs two GPUs -->        tests do not run the block, for this reason
    <!-- test: options only, needs two GPUs -->   tests read the options of its commands without running them
    <!-- test: tests/docs/test_deploy.py -->      the test in this file runs the block
    <!-- test: printed -->                        the block above prints this text; white space may differ
"""

import pathlib
import re
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted(page for page in (ROOT / "docs").rglob("*.md") if "node_modules" not in page.parts),  # of docs/browser
]

_BLOCK = re.compile(
    r"(?P<comments>(?:^[ ]*<!-- test: .*? -->\n+)*)"
    r"^(?P<indent>[ ]*)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^[ ]*```[ ]*$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """A block of a page, after the replacements that its comments ask for.

    Args:
        language: The word after the fence, e.g. `"python"`.
        text: What tests run.
        reason: Why tests do not run it here, or read its options only; `None` if they run it.
        line: Where it starts in the page.
        printed: Whether it shows what the block above prints.
    """

    language: str
    text: str
    reason: str | None
    line: int
    printed: bool = False


def blocks(page: pathlib.Path) -> list[Block]:
    """Returns the blocks of a page in their order."""
    content, found = page.read_text("utf-8"), []
    for match in _BLOCK.finditer(content):
        line = content[: match.start("language")].count("\n") + 1
        text = re.sub(f"^{match['indent']}", "", match["text"], flags=re.MULTILINE)
        reason, printed = None, False
        for comment in re.findall(r"<!-- test: (.*?) -->", match["comments"]):
            long, arrow, short = comment.partition(" => ")
            if arrow:
                assert long in text, f"{page.name}:{line}: the block does not contain {long!r}"
                text = text.replace(long, short)
            elif comment == "printed":
                printed = True
            else:
                known = comment.startswith(("not run, ", "options only, ")) or (ROOT / comment).is_file()
                assert known, f"{page.name}:{line}: {comment!r}"
                reason = comment
        found.append(Block(match["language"], text, reason, line, printed))
    return found
