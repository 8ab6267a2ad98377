"""Files of repositories on the Hugging Face hub, in the cache of huggingface_hub."""

import errno
import os
import sys
from pathlib import Path
from typing import Any

from kseg.download.files import file_sha256
from kseg.download.transfer import TransferError

SHA256_DIGITS = 64


class MissingEntryError(FileNotFoundError):
    """A repository on the hub has no file of a name."""


def fetch_from_hub(repository: str, file: str, revision: str | None = None) -> Path:
    """Returns the newest version of a file in a repository, downloaded unless the cache has it.

    If the hub cannot be reached, it is the version that was downloaded last, and stderr gets a line. The hub announces
    the SHA-256 of large files; after a download, the file is compared with it. The environment variable `HF_ENDPOINT`
    selects another hub.

    Args:
        repository: `owner/name`.
        file: Path of the file in the repository.
        revision: A branch, tag or commit; None for the main branch.

    Returns:
        Path of the file in the cache.

    Raises:
        FileNotFoundError: If the hub has no such repository or revision, or does not show it to this user.
        MissingEntryError: If the repository has no such file.
        ModuleNotFoundError: If huggingface_hub is not installed.
        TransferError: If the hub cannot be reached and the cache does not have the file, or if the download failed.
    """
    name = f"hf://{repository}{f'@{revision}' if revision else ''}"
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError as error:
        raise ModuleNotFoundError(f"{name}: huggingface_hub is missing ({error}): pip install 'kseg[hub]'") from None

    endpoint = os.environ.get("HF_ENDPOINT")
    named: dict[str, Any] = {"repo_id": repository, "filename": file, "revision": revision}
    try:  # asked once; `hf_hub_download` would ask a hub out of reach six times, for half a minute
        url = huggingface_hub.hf_hub_url(**named, endpoint=endpoint)
        announced = huggingface_hub.get_hf_file_metadata(url, endpoint=endpoint)
    except errors.RevisionNotFoundError:
        raise FileNotFoundError(f"{name}: the repository has no branch, tag or commit {revision}") from None
    except errors.RepositoryNotFoundError:
        cure = "check the name, or log in with `hf auth login`"
        raise FileNotFoundError(f"{name} is no repository on the hub that you may read: {cure}") from None
    except errors.EntryNotFoundError:
        raise MissingEntryError(f"{name} has no file {file}") from None
    except errors.HfHubHTTPError as error:
        raise TransferError(f"{name}: the hub answered {first_line(error)}: try again") from error
    except Exception as error:  # of the hub's client and of the libraries below it
        found = huggingface_hub.try_to_load_from_cache(**named)
        if not isinstance(found, str):
            raise TransferError(f"{name}: the hub cannot be reached ({first_line(error)}): try again") from error
        print(f"{name}: the hub cannot be reached, the version that was downloaded last is used", file=sys.stderr)
        return Path(found)
    cached = huggingface_hub.try_to_load_from_cache(repository, file, revision=announced.commit_hash)
    try:
        path = Path(str(huggingface_hub.hf_hub_download(**named, endpoint=endpoint)))
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EPERM):
            cure = "set HF_HOME to another folder"
            raise OSError(error.errno, f"{name}: {file} cannot be kept ({error.strerror}): {cure}") from error
        raise TransferError(f"{name}: the download of {file} failed ({first_line(error)}): try again") from error
    has_sha256 = len(announced.etag or "") == SHA256_DIGITS
    if not isinstance(cached, str) and has_sha256 and file_sha256(path) != announced.etag:
        for one in (path.resolve(), path):  # the file, and the link to it
            one.unlink(missing_ok=True)
        problem = "is not the one that the hub announces; nothing was kept, try again"
        raise TransferError(f"{name}: the SHA-256 of {file} {problem}")
    return path


def is_in_hub_cache(repository: str, file: str, revision: str | None = None) -> bool:
    """Returns whether the cache has a version of a file in a repository; asks no server. See `fetch_from_hub`."""
    try:
        import huggingface_hub
    except ImportError:
        return False
    return isinstance(huggingface_hub.try_to_load_from_cache(repository, file, revision=revision), str)


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's text; the name of its class if it has none."""
    return next(iter(str(error).splitlines()), type(error).__name__)
