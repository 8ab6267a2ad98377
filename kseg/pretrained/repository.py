"""Repositories of other libraries on the Hugging Face hub, downloaded into the cache of huggingface_hub."""

import os
import pathlib
import re
import sys
from collections.abc import Callable

from kseg import download
from kseg.checkpoints import FILES, weight_parts
from kseg.pretrained.source import on_the_hub

CONFIG, BESIDE, *TENSORS = FILES

FREE = re.compile(r"apache-.*|mit|bsd.*|cc0.*|cc-by(-sa)?-[\d.]+|[al]?gpl.*|mpl-.*|unlicense|isc|zlib|openrail.*")
"""Licenses, by their identifiers on the hub, that allow commercial use."""


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


def fetch_repository(
    repository: str, revision: str | None = None, *, check: Callable[[pathlib.Path], object] = lambda folder: None
) -> pathlib.Path | None:
    """Downloads the configuration and the weights of a model; nothing that is in the cache already.

    Before weights are downloaded, stderr gets a line with the license in the model card.

    Args:
        repository: `owner/name`.
        revision: A branch, tag or commit; None for the main branch.
        check: Called with the folder once it has the configuration, before weights are downloaded. An error that it
            raises ends the download.

    Returns:
        The folder with the files; None if the repository has no `config.json`, as those that `kseg weights push` makes,
        or if the hub cannot be reached and the cache has none.

    Raises:
        ModuleNotFoundError: If huggingface_hub is not installed.
        FileNotFoundError: If there is no such repository, or it has no weights.
        OSError: If the hub cannot be reached or the download fails.
        ValueError: If a file that lists the parts of the weights is damaged.
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
        check(folder)
        print(f"{repository} {_license(get('README.md'))}", file=sys.stderr)
    for name in TENSORS:
        if get(name):
            return folder
        if index := get(f"{name}.index.json"):
            for part in weight_parts(index):
                if not get(part):
                    raise FileNotFoundError(f"{repository} on the hub has no {part}, which {index.name} lists")
            return folder
    raise FileNotFoundError(f"{repository} on the hub has neither {' nor '.join(TENSORS)}")


def _license(card: pathlib.Path | None) -> str:
    """Returns what the head of a model card states about the license, as the end of a sentence."""
    head = card.read_text(encoding="utf-8", errors="replace").partition("\n---")[0] if card else ""
    entry = r"^(license|license_name):[ ]*(?:\n[ ]*-[ ]*)?[\"']?([\w.-]+)"  # the value may be the first of a list
    found = dict(re.findall(entry, head, flags=re.MULTILINE))
    if not (license := found.get("license", "")):
        return "names no license in its card: ask the authors what it may be used for"
    name = found.get("license_name", license)
    doubt = "" if FREE.fullmatch(license.lower()) else ", which may forbid commercial use: read its card"
    return f"has the license {name}{doubt}"
