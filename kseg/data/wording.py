"""The options of a data set in the words of the place where the user gives them."""

import ast
import re
from collections.abc import Mapping
from typing import Any

OPTIONS = (
    "classes", "palette", "ignore", "values", "images", "masks", "image_suffix", "mask_suffix", "splits", "split_seed",
    "annotations", "range", "bands", "page", "channels",
)  # fmt: skip
"""Options of a folder of one's own data that a recipe and the commands have too."""
PIXELS = ("range", "bands", "page")
"""Those that are arguments of `kseg.data.Pixels` in Python."""

_VALUE = r"""\[(?:[^\[\]]|\[[^\[\]]*\])*\]|\((?:[^()]|\([^()]*\))*\)|"[^"]*"|'[^']*'|[\w.-]*\w"""
_OPTION = re.compile(
    rf"pixels=Pixels\(({'|'.join(PIXELS)})=({_VALUE})\)"
    rf"|(?<![\w/.=-])({'|'.join(OPTIONS)})(?: = ({_VALUE})|=({_VALUE}|))(?: \(--[^()]*\))?"
)

_SPLIT = re.compile(r'(?<![\w/.=-])split=(?:"(\w+)"|None)')  # not the key `split = "80/20"` of recipes


def reword(text: str, interface: str) -> str:
    """Rewrites the options in a message, such as `name=value` or `name=`, as the user of an interface gives them.

    Args:
        text: The message, with options in the form of Python (`name=value`, also `pixels=Pixels(name=value)`) or of
            recipes (`name = value`). That of the command may follow in parentheses.
        interface: `"python"`, `"recipe"` (keys of `[data]`), `"command"` (options of `kseg`) or `"query"` (of an
            address of `kseg serve`).

    Returns:
        The message with each option in the form of the interface.

    Example:
        >>> reword("give values = [0, 255]", "python"), reword("give values=[0, 255]", "recipe")
        ('give values=[0, 255]', 'give values = [0, 255] in [data]')
        >>> reword("give values=[0, 255]", "command"), reword("give palette=", "command")
        ('give --values 0,255', 'give --palette')
    """
    if interface in ("recipe", "command"):
        form = "{1}" if interface == "command" else "{0} ({1})"  # recipes are opened in Python and by commands
        text = _SPLIT.sub(lambda split: form.format(split[0], f"--split {split[1] or 'all'}"), text)
    forms = {"python": _in_python, "recipe": _in_recipe, "command": _in_command, "query": _in_query}
    return _OPTION.sub(
        lambda option: forms[interface](option[1] or option[3], option[2] or option[4] or option[5] or ""), text
    )


def _in_python(name: str, value: str) -> str:
    return f"pixels=Pixels({name}={value})" if name in PIXELS and value else f"{name}={value}"


def _in_recipe(name: str, value: str) -> str:
    name = {"splits": "split"}.get(name, name)
    if not value:
        return f"{name} in [data]"
    if value.startswith("("):
        value = str(_plain(ast.literal_eval(value)))
    return f"{name} = {value.replace(chr(39), chr(34))} in [data]"


def _in_command(name: str, value: str) -> str:
    try:
        parsed = ast.literal_eval(value) if value else ""
    except (ValueError, SyntaxError):
        parsed = value
    return f"--{name.replace('_', '-')} {as_option(parsed)}".strip()


def _in_query(name: str, value: str) -> str:
    return f"{name}={_in_command(name, value).partition(' ')[2]}"


def as_option(value: Any) -> str:
    """Writes a value for the command line: lists with commas, colors as `#rrggbb`, tables as `key=value`."""
    if isinstance(value, Mapping):
        return ",".join(f"{key}={each}" for key, each in value.items())
    if not isinstance(value, list | tuple):
        text = str(value)
        return f'"{text}"' if re.search(r"[\s*?#;&|<>$(]", text) else text
    parts = ["#" + bytes(each).hex() if isinstance(each, list | tuple) else str(each) for each in value]
    text = ",".join(parts)
    return f'"{text}"' if "#" in text else text


def _plain(value: Any) -> Any:
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
