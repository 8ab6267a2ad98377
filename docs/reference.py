"""`python -m docs.reference` writes the tables of all keys of a recipe into `docs/recipe.md`.

They come from the model of pydantic that validates recipes, between the marks `<!-- reference -->` and
`<!-- end reference -->`.
"""

import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from kseg.training import Recipe

PAGE = pathlib.Path(__file__).parent / "recipe.md"
BEGIN, END = "<!-- reference -->\n", "<!-- end reference -->\n"
TYPES = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false"}
HEAD = ["| key | value | meaning |", "| --- | --- | --- |"]


def kind(schema: Mapping[str, Any]) -> str:
    """Returns the type of a value and its bounds in words, from its JSON schema.

    Example:
        >>> kind({"type": "number", "minimum": 0, "exclusiveMaximum": 1})
        'number, 0 or more, below 1'
        >>> kind({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "integer"}}, {"type": "null"}]})
        'text; or list of whole numbers'
    """
    if "anyOf" in schema:
        return "; or ".join(kind(each) for each in schema["anyOf"] if each.get("type") != "null")
    if "const" in schema or "enum" in schema:
        return " or ".join(f"`{json.dumps(each)}`" for each in schema.get("enum", [schema.get("const")]))
    if schema["type"] == "object":
        values = schema["additionalProperties"]
        return "table" if values is True else f"table of {_many(kind(values))}"
    if schema["type"] == "array" and "prefixItems" in schema:
        return f"list of {len(schema['prefixItems'])} {_many(kind(schema['prefixItems'][0]))}"
    if schema["type"] == "array":
        return f"list of {_many(kind(schema['items']))}"
    words = [TYPES[schema["type"]]]
    if "exclusiveMinimum" in schema:
        least = schema["exclusiveMinimum"]
        words.append(f"{least + 1} or more" if schema["type"] == "integer" else f"above {least}")
    if "minimum" in schema:
        words.append(f"{schema['minimum']} or more")
    if "exclusiveMaximum" in schema:
        words.append(f"below {schema['exclusiveMaximum']}")
    return ", ".join(words)


def _many(one: str) -> str:
    first, bounds, rest = one.partition(",")
    if "; or " in one:  # of which each is a type of its own
        return f"({one})"
    return f"lists{first.removeprefix('list')}" if first.startswith("list") else f"{first}s{bounds}{rest}"


def sections() -> Iterator[tuple[str, str, dict[str, Mapping[str, Any]], set[str]]]:
    """Yields the name of each section, "" for the top level, what it says, its keys and those that are required."""
    schema = Recipe.model_json_schema()
    top = {key: field for key, field in schema["properties"].items() if "$ref" not in field}
    yield "", "Keys above the first section:", top, set(schema["required"])
    for name, field in schema["properties"].items():
        if "$ref" in field:
            section = schema["$defs"][field["$ref"].rpartition("/")[2]]
            text = section["description"].partition(": ")[2]
            yield name, text[0].upper() + text[1:], section["properties"], set(section.get("required", ()))


def tables() -> str:
    """Returns the tables of all sections as Markdown."""
    lines: list[str] = []
    for name, text, keys, required in sections():
        lines += [f"### `[{name}]`" if name else "### The top level", "", *text.split("\n"), "", *HEAD]
        for key, field in keys.items():
            value = f"{kind(field)}{'; required' if key in required else _default(field['default'])}"
            lines.append(f"| `{key}` | {value} | {' '.join(field['description'].split())} |")
        lines.append("")
    return "\n".join(lines)


def _default(value: Any) -> str:
    if value is None:
        return ""
    return f"; default `{value:g}`" if isinstance(value, float) else f"; default `{json.dumps(value)}`"


def page() -> str:
    """Returns the page with new tables."""
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    return f"{before}{BEGIN}\n{tables()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
