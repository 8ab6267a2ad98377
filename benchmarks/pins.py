"""`python -m benchmarks pin`: commits and hashes of the checkpoints that others published."""

import dataclasses
import os
import pathlib

from kseg import pretrained
from kseg.checkpoints import CONFIG, WEIGHTS
from kseg.pretrained import published


def pin(path: pathlib.Path = published.TABLE) -> dict[str, pretrained.Published]:
    """Asks the Hugging Face hub for the newest commit of each repository in the table, and for the SHA-256 there.

    Returns:
        The new table, which is also written to `path`.

    Raises:
        OSError: If the hub cannot be reached, or if a repository is gone; then nothing is written.
    """
    table = published.read(path)
    for address in table:
        if not address.startswith("torchvision/"):
            revision, sha256 = _newest(address)
            table[address] = dataclasses.replace(table[address], revision=revision, sha256=sha256)
    published.write(table, path)
    return table


def _newest(repository: str) -> tuple[str | None, str | None]:
    """Returns the newest commit, and the SHA-256 of the weights, which is None if they are in parts."""
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError

    endpoint = os.environ.get("HF_ENDPOINT")
    pinned: tuple[str | None, str | None] = (None, None)
    for name in (CONFIG, *reversed(WEIGHTS)):  # the file that is read is the last
        url = huggingface_hub.hf_hub_url(repository, name, endpoint=endpoint)
        try:
            found = huggingface_hub.get_hf_file_metadata(url, endpoint=endpoint)
        except EntryNotFoundError:
            continue
        pinned = found.commit_hash, None if name == CONFIG else found.etag
    return pinned
