"""Repositories of other libraries on the Hugging Face hub, downloaded into the cache of huggingface_hub."""

import json
import os
import pathlib
import re
import sys

from kseg import download
from kseg.pretrained.source import on_the_hub

CONFIG = "config.json"
BESIDE = "preprocessor_config.json"
TENSORS = ("model.safetensors", "pytorch_model.bin")
"""Names of the weights, the preferred one first; each may be in parts, which `{name}.index.json` lists."""


def repository_named(source: str | os.PathLike) -> tuple[str, str | None] | None:
    """Returns `owner/name` and the revision of `hf://owner/name` or `owner/name`, with or without `@revision`.

    None for everything else: files, paths below a folder that exists, other addresses, files in a repository.

    Example:
        >>> repository_named("hf://nvidia/segformer-b0-finetuned-ade-512-512@main")
        ('nvidia/segformer-b0-finetuned-ade-512-512', 'main')
        >>> repository_named("runs/first.safetensors"), repository_named("./runs")
        (None, None)
    """
    if not isinstance(source, str):
        return None
    text = source.rstrip("/")
    if not text.startswith("hf://"):
        if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*(@[^/@]+)?", text) or os.path.exists(text.partition("/")[0]):
            return None
        if re.search(r"\.(safetensors|keras|h5|hdf5|pth?|bin)$", text):
            return None
        text = f"hf://{text}"
    repository, revision, file = on_the_hub(text)
    return None if file else (repository, revision)


def fetch_repository(repository: str, revision: str | None = None) -> pathlib.Path | None:
    """Downloads the configuration and the weights of a model; nothing that is in the cache already.

    Before weights are downloaded, stderr gets a line if the license in the model card may forbid commercial use.

    Args:
        repository: `owner/name`.
        revision: A branch, tag or commit; None for the main branch.

    Returns:
        The folder with the files; None if the repository has no `config.json`, as those that `kseg weights push` makes,
        or if the hub cannot be reached and the cache has none.

    Raises:
        ModuleNotFoundError: If huggingface_hub is not installed.
        FileNotFoundError: If there is no such repository, or it has no weights.
        OSError: If the hub cannot be reached or the download fails.
    """
    try:
        config = download.fetch_from_hub(repository, CONFIG, revision)
    except (download.MissingEntryError, download.TransferError):
        return None
    folder = config.parent  # named after the commit

    def get(name: str) -> pathlib.Path | None:
        try:
            there = (folder / name).is_file()
            return folder / name if there else download.fetch_from_hub(repository, name, folder.name)
        except download.MissingEntryError:
            return None

    if not any((folder / f"{name}{suffix}").is_file() for name in TENSORS for suffix in ("", ".index.json")):
        get(BESIDE)
        if license := _restriction(get("README.md")):
            doubt = "which may forbid commercial use: read its card"
            print(f"{repository} has the license {license}, {doubt}", file=sys.stderr)
    for name in TENSORS:
        if get(name):
            return folder
        if index := get(f"{name}.index.json"):
            for part in sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())):
                get(part)
            return folder
    raise FileNotFoundError(f"{repository} on the hub has neither {' nor '.join(TENSORS)}")


def _restriction(card: pathlib.Path | None) -> str:
    """Returns the license in the head of a model card if it is not one that allows commercial use."""
    head = card.read_text(encoding="utf-8", errors="replace").partition("\n---")[0] if card else ""
    found = dict(re.findall(r"^(license|license_name):[ ]*[\"']?([^\"'\n]+)", head, flags=re.MULTILINE))
    license = found.get("license", "").strip()
    free = re.fullmatch(r"apache-.*|mit|bsd-.*|bsd|cc0.*|cc-by-[\d.]+|cc-by-sa-[\d.]+|openrail.*|", license)
    return "" if free else found.get("license_name", license).strip()
