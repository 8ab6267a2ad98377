"""Every code block of README.md and of the site works: Python, recipes and commands, page by page, in order."""

import contextlib
import io
import pathlib
import re
import shlex
import shutil
import tomllib

import pytest
import typer

import benchmarks.commands
from kseg import cli, losses, training, zoo
from tests.cli.command import kseg_command
from tests.docs import service, workspace
from tests.docs.blocks import PAGES, ROOT, blocks
from tests.training import tiny

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
OTHERS = {"text", "csv", "json", "yaml", "diff"}
"""Languages of blocks that show what a program prints or a file contains."""
OTHER_SECTIONS: dict = {"epochs": 1, "data": {"name": "streets"}, "model": {"builder": "unet"}}
"""What completes a part of a recipe."""
SERVICES = {"serve", "demo"}
"""Commands that run until they are stopped; tests read their options only."""


@pytest.fixture(scope="module")
def template(tmp_path_factory, numpy_initializers):
    root = tmp_path_factory.mktemp("template")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(zoo.BUILDERS, "tiny", tiny.tiny)
        workspace.write(root)
    return root


@pytest.mark.filterwarnings("ignore:.*initialized randomly")  # a new head, as pages on fine-tuning say
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.stem)
def test_the_blocks_of_a_page_run(page, template, tmp_path, monkeypatch):
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    monkeypatch.setitem(zoo.BUILDERS, "tiny", tiny.tiny)
    monkeypatch.setattr(losses, "LOSSES", dict(losses.LOSSES))  # a page adds one
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KSEG_DATA", raising=False)
    names: dict = {}
    printed = ""
    for block in blocks(page):
        place = f"{page.name}:{block.line}"
        if block.printed:
            assert block.text.split() == printed.split(), f"{place}: the block above prints\n{printed}"
            continue
        output = io.StringIO()
        try:
            with contextlib.redirect_stdout(output):
                if block.reason is None:
                    _run(block, place, names)
                elif block.reason.startswith("options only, "):
                    _commands(block.text, dry=True)
        except Exception as error:
            raise AssertionError(f"{place}: {error}") from error
        printed = output.getvalue()


def _run(block, place, names):
    if block.language == "python":
        exec(compile(block.text, place, "exec"), names)
    elif block.language == "bash":
        _commands(block.text)
    elif block.language == "toml":
        content = tomllib.loads(block.text)
        if content.keys() & OTHER_SECTIONS.keys():
            training.Recipe.from_dict(OTHER_SECTIONS | content)
        if named := re.match(r"# (\w+\.toml)\b", block.text):
            pathlib.Path(named[1]).write_text(block.text)
    else:
        assert block.language in OTHERS, f"no test runs blocks of {block.language!r}"


def _commands(text, *, dry=False):
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        _command(shlex.split(line, comments=True), dry)


def _command(words, dry):
    """Runs a command of kseg; of other commands, and with `dry`, checks that what they name exists."""
    while words and re.match(r"[A-Z_]+=", words[0]):
        del words[0]
    for first, rest in _parts(words):
        match first:
            case ["kseg", command] if dry or command in SERVICES:
                _parse(cli.application, [command, *rest])
            case ["kseg", command]:
                done = kseg_command(command, *rest)
                assert done.exit_code == 0, done.output
                print(done.stdout)
            case ["curl", *more]:
                service.curl([*more, *rest], "runs/leaves")
            case ["python", "-m", "benchmarks"]:
                _parse(benchmarks.commands.app, rest)
            case ["pip", "install"]:
                named = re.findall(r"\[([\w,-]+)\]", " ".join(rest))
                assert {extra for extras in named for extra in extras.split(",")} <= EXTRAS.keys()
            case ["python", "-m", "tests"]:
                pass
            case _:
                raise AssertionError(f"no test runs {' '.join([*first, *rest])!r}")


def _parts(words):
    """Splits `a && b` into commands, and each of them into its name and the arguments."""
    while words:
        end = words.index("&&") if "&&" in words else len(words)
        length = 3 if words[0] == "python" else 2
        yield words[:length], words[length:end]
        words = words[end + 1 :]


def _parse(application, words):
    """Reads the options of a command, and of commands within it."""
    command = typer.main.get_command(application)
    context = command.make_context("command", list(words))
    while isinstance(command, typer.core.TyperGroup):
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, rest, parent=context)
