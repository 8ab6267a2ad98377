"""One transfer: from a web server, the Hugging Face hub or a folder into a file, by pooch, with a progress bar."""

import contextlib
import os
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from kseg.progress import Reporter

CHUNK = 1 << 18
TIMEOUT = 60  # seconds without a byte
MEGABYTE = 10**6


class TransferError(OSError):
    """The server or the network failed, not this machine: another address may work."""


def download(url: str, path: Path) -> None:
    """Downloads an address into a file, with a progress bar; the caller removes the file if this fails."""
    from pooch import HTTPDownloader
    from requests.exceptions import HTTPError, RequestException

    with contextlib.ExitStack() as stack, path.open("wb") as file:
        if url.startswith("file:"):
            file.write(_local(url))
            return

        def close_in_the_end(response: Any, **_: Any) -> None:  # pooch does not if the disk is full
            stack.callback(response.close)

        options = {"chunk_size": CHUNK, "timeout": TIMEOUT, "hooks": {"response": close_in_the_end}}
        try:
            address, headers = _on_the_hub(url) if url.startswith("hf://") else (url, {})
            bar = _Bar(PurePosixPath(url).name, stack)
            HTTPDownloader(bar, headers=headers, **options)(address, file, None)
        except HTTPError as error:
            raise TransferError(f"{url}: the server answered {str(error).partition(' for url')[0]}") from error
        except (RequestException, ValueError) as error:
            cause = error.args[0] if error.args else error  # requests wraps the errors of urllib3
            reason = getattr(cause, "reason", None) or next(iter(getattr(cause, "args", ())), cause)
            raise TransferError(f"{url}: the download failed ({reason}); nothing was kept, try again") from error


def _on_the_hub(url: str) -> tuple[str, dict[str, str]]:
    """Returns the address of `hf://owner/repository/path` and the headers that contain the token of the user."""
    try:
        from huggingface_hub import get_token, hf_hub_url
    except ImportError as error:
        raise TransferError(f"{url}: huggingface_hub is missing ({error}): pip install 'kseg[hub]'") from error
    owner, _, rest = url.removeprefix("hf://").partition("/")
    repository, _, path = rest.partition("/")
    if not (owner and repository and path):
        raise TransferError(f"{url} is not a file on the hub: write hf://owner/repository/path")
    address = hf_hub_url(f"{owner}/{repository}", path, endpoint=os.environ.get("HF_ENDPOINT"))
    return address, {"Authorization": f"Bearer {token}"} if (token := get_token()) else {}


def _local(url: str) -> bytes:
    try:
        return Path(urllib.request.url2pathname(urllib.parse.urlsplit(url).path)).read_bytes()
    except OSError as error:
        raise TransferError(f"{url}: the file cannot be read ({error.strerror})") from error


class _Bar:
    """The progress bar that pooch calls: it sets `total` to the length that the server announces, 0 if it does not."""

    total = 0

    def __init__(self, name: str, stack: contextlib.ExitStack):
        self.name, self.stack = name, stack
        self.advance: Callable[[float], None] | None = None

    def update(self, count: int) -> None:
        if self.advance is None:
            task = Reporter().task(f"downloading {self.name}, MB", -(-self.total // MEGABYTE) or None)
            self.advance = self.stack.enter_context(task)
        self.advance(count / MEGABYTE)

    def reset(self) -> None:
        """Pooch resets the bar in the end and fills it, whatever the chunks add up to."""
        self.advance = lambda _: None

    def close(self) -> None:
        pass
