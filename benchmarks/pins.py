"""`python -m benchmarks pin`: commits and hashes of the checkpoints that others published."""

import dataclasses
import os
import pathlib

from kseg import pretrained
from kseg.checkpoints import FILES
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
            table[address] = dataclasses.replace(table[address], **_newest(address))
    published.write(table, path)
    return table


def _newest(repository: str) -> dict[str, str | None]:
    """Returns the newest commit, and the SHA-256 of the weights, which is None if they are in parts."""
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError

    endpoint, pinned = os.environ.get("HF_ENDPOINT"), {"revision": None, "sha256": None}
    config, _, *weights = FILES
    for name in (config, *reversed(weights)):  # the file that is read is the last
        url = huggingface_hub.hf_hub_url(repository, name, endpoint=endpoint)
        try:
            found = huggingface_hub.get_hf_file_metadata(url, endpoint=endpoint)
        except EntryNotFoundError:
            continue
        pinned = {"revision": found.commit_hash, "sha256": None if name == config else found.etag}
    return pinned
