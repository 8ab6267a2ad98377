"""`python -m docs.names` writes the pages of the API reference, `docs/api/*.md`: every public name of every room.

The pages name what the site's builder shows; the text is that of the docstrings. Names are grouped by the module that
defines them, under the first sentence of its docstring. Constants have no docstring when Python runs; theirs is the
string below the assignment.
"""

import ast
import importlib
import inspect
import pathlib
import types

import kseg

PAGES = pathlib.Path(__file__).parent / "api"
LONGEST_VALUE = 80
"""Values of constants that take more characters than this are not shown."""


def page(room: str) -> str:
    """Returns the page of a room in Markdown."""
    face = importlib.import_module(f"kseg.{room}")
    groups: dict[str, list[str]] = {}
    for name in public_names(face):
        thing = getattr(face, name)
        if isinstance(thing, types.ModuleType):
            title, entries = _first_sentence(thing), [entry(thing, inner) for inner in public_names(thing)]
        else:
            home = _home(face, name)
            title, entries = _first_sentence(home), [entry(face, name, home)]
        groups.setdefault(title, []).extend(entries)
    about = inspect.getdoc(face) or ""
    parts = [f"# kseg.{room}", about.partition("\n\nExample")[0]]
    for title in sorted(groups):
        parts += [f"## {title}", *groups[title]]
    return "\n\n".join(parts) + "\n"


def public_names(module: types.ModuleType) -> list[str]:
    """Returns the names that a module exports: those in `__all__`, or else those without underscore made in it."""
    if hasattr(module, "__all__"):
        return sorted(module.__all__, key=str.lower)
    return sorted(
        name
        for name, thing in vars(module).items()
        if not name.startswith("_") and getattr(thing, "__module__", None) == module.__name__
    )


def entry(module: types.ModuleType, name: str, home: types.ModuleType | None = None) -> str:
    """Returns the lines of a page that show one name."""
    thing, path = getattr(module, name), f"{module.__name__}.{name}"
    if inspect.isclass(thing) or inspect.isroutine(thing):
        return f"::: {path}"
    value = repr(thing)
    fixed = isinstance(thing, str | int | float | tuple) and len(value) <= LONGEST_VALUE
    shown = f"`{name} = {value}`" if fixed else f"`{name}`"
    return f"### {shown} {{ #{path} }}\n\n{constants(home or module).get(name, '')}".rstrip()


def constants(module: types.ModuleType) -> dict[str, str]:
    """Returns the strings below the assignments of a module."""
    body = ast.parse(inspect.getsource(module)).body
    found = {}
    for statement, below in zip(body, [*body[1:], None], strict=True):
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            text = below.value.value if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) else ""
            found |= {target.id: inspect.cleandoc(str(text)) for target in targets if isinstance(target, ast.Name)}
    return found


def _home(face: types.ModuleType, name: str) -> types.ModuleType:
    """Returns the module that defines a name of a face."""
    thing = getattr(face, name)
    if inspect.isclass(thing) or inspect.isroutine(thing):
        return importlib.import_module(thing.__module__) if thing.__module__.startswith(face.__name__) else face
    for inner in pathlib.Path(str(face.__file__)).parent.glob("*.py"):
        module = face if inner.stem == "__init__" else importlib.import_module(f"{face.__name__}.{inner.stem}")
        if name in constants(module):
            return module
    return face


def _first_sentence(module: types.ModuleType) -> str:
    return (
        (inspect.getdoc(module) or module.__name__)
        .partition("\n\n")[0]
        .replace("\n", " ")
        .partition(". ")[0]
        .rstrip(".:")
    )


def write() -> None:
    """Writes the pages of all rooms."""
    PAGES.mkdir(exist_ok=True)
    for room in kseg.__all__:
        (PAGES / f"{room}.md").write_text(page(room), "utf-8")
    rows = [
        f"| [`kseg.{room}`]({room}.md) | {_first_sentence(importlib.import_module(f'kseg.{room}'))} |"
        for room in kseg.__all__
    ]
    lines = ["# API reference", "Each part of kseg exports its public names; a test checks that none is missing here."]
    (PAGES / "index.md").write_text("\n\n".join([*lines, "\n".join(["| part | content |", "|---|---|", *rows])]) + "\n")


if __name__ == "__main__":
    write()
