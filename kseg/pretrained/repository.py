"""Repositories of other libraries on the Hugging Face hub, downloaded into the cache of huggingface_hub."""

import os
import pathlib
import re
import sys
from collections.abc import Callable

from kseg import download
from kseg.checkpoints import CONFIG, PROCESSOR, TRANSFORMS, WEIGHTS, weight_parts
from kseg.pretrained.source import HUB_FILE, on_the_hub
from kseg.pretrained.terms import is_license_listed, print_license

INDICES = [f"{name}.index.json" for name in WEIGHTS]
CARD = "README.md"


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
    """Downloads the configuration, the normalization and the weights of a model, unless the cache has them.

    Before weights are downloaded, stderr gets a line with their license, see `print_license`. If the table of published
    checkpoints names it, that line precedes every download.

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

    def fetch(name: str, commit: str | None = revision) -> pathlib.Path | None:
        try:
            return download.fetch_from_hub(repository, name, commit)
        except download.MissingEntryError:
            return None

    told = is_license_listed(repository)
    told = told and not any(download.is_in_hub_cache(repository, name, revision) for name in (*WEIGHTS, *INDICES))
    if told:
        print_license(repository)
    try:
        config = download.fetch_from_hub(repository, CONFIG, revision)
    except download.TransferError:
        return None
    except download.MissingEntryError:  # perhaps weights of kseg, which the caller downloads
        card = fetch(CARD)
        if not told and not (card and (card.parent / HUB_FILE).is_file()):
            print_license(repository, lambda: card)
        return None
    folder = config.parent  # named after the commit

    def get(name: str) -> pathlib.Path | None:
        return folder / name if (folder / name).is_file() else fetch(name, folder.name)

    complete = _has_weights(folder)
    if not any((folder / name).is_file() for name in (PROCESSOR, TRANSFORMS)):  # other libraries fetch weights alone
        try:
            if not get(PROCESSOR):
                get(TRANSFORMS)
        except download.TransferError:
            if not complete:
                raise
            text = (
                f"the hub cannot be asked for {PROCESSOR} or {TRANSFORMS}, so the encoder's usual normalization is used"
            )
            print(f"{repository}: {text}", file=sys.stderr)
    if complete:
        return folder
    check(folder)
    if not told:
        print_license(repository, lambda: get(CARD))
    for name, index in zip(WEIGHTS, INDICES, strict=True):
        if get(name):
            return folder
        if listed := get(index):
            for part in weight_parts(listed):
                if not get(part):
                    raise FileNotFoundError(f"{repository} on the hub has no {part}, which {index} lists")
            return folder
    raise FileNotFoundError(f"{repository} on the hub has neither {' nor '.join(WEIGHTS)}")


def _has_weights(folder: pathlib.Path) -> bool:
    """Returns whether a folder has all weights, whole or in parts."""
    indices = [folder / name for name in INDICES if (folder / name).is_file()]
    return any((folder / name).is_file() for name in WEIGHTS) or any(
        all((folder / part).is_file() for part in weight_parts(index)) for index in indices
    )
