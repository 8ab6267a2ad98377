"""The line about the license of weights, which is printed before they are downloaded."""

import pathlib
import re
import sys
from collections.abc import Callable

from kseg.pretrained.published import PUBLISHED

FREE = re.compile(r"apache-.*|mit|bsd.*|cc0.*|cc-by(-sa)?-[\d.]+|[al]?gpl.*|mpl-.*|unlicense|isc|zlib|openrail.*")
"""Licenses, by their identifiers on the hub, that allow commercial use."""


def is_license_listed(address: str) -> bool:
    """Returns whether the table `PUBLISHED` names the license of a checkpoint.

    Example:
        >>> is_license_listed("nvidia/segformer-b0-finetuned-ade-512-512"), is_license_listed("someone/leaves")
        (True, False)
    """
    return address in PUBLISHED and PUBLISHED[address].license is not None


def print_license(address: str, card: Callable[[], pathlib.Path | None] = lambda: None) -> None:
    """Prints the license of weights to stderr: the one in the table `PUBLISHED`, otherwise that of the model card.

    Args:
        address: A key of `PUBLISHED`, or `owner/name` of another repository.
        card: Returns the model card, or None if there is none. It is not called if the table names the license.

    Example:
        >>> import contextlib
        >>> with contextlib.redirect_stderr(sys.stdout):
        ...     print_license("torchvision/fcn_resnet50-coco_voc")
        torchvision/fcn_resnet50-coco_voc has the license BSD-3-Clause
    """
    print(f"{address} {_listed(address) if is_license_listed(address) else _stated(card())}", file=sys.stderr)


def _listed(address: str) -> str:
    """Returns what the table states, as the end of a sentence."""
    one = PUBLISHED[address]
    may = {True: "", False: "forbids", None: "may forbid"}[one.commercial]
    return f"has the license {one.license}" + (f", which {may} commercial use: {one.license_source}" if may else "")


def _stated(card: pathlib.Path | None) -> str:
    """Returns what the head of a model card states, as the end of a sentence."""
    head = card.read_text(encoding="utf-8", errors="replace").partition("\n---")[0] if card else ""
    entry = r"^(license|license_name):[ ]*(?:\n[ ]*-[ ]*)?[\"']?([\w.-]+)"  # the value may be the first of a list
    found = dict(re.findall(entry, head, flags=re.MULTILINE))
    if not (license := found.get("license", "")):
        return "names no license in its card: ask the authors what it may be used for"
    name = found.get("license_name", license)
    doubt = "" if FREE.fullmatch(license.lower()) else ", which may forbid commercial use: read its card"
    return f"has the license {name}{doubt}"
