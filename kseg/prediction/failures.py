"""What failed, and how it is reported."""

import errno
from collections.abc import Iterator, Sequence

FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
"""Numbers of the errors of a full disk."""


def is_disk_full(error: BaseException) -> bool:
    """Returns whether an error would meet every later file too."""
    return isinstance(error, OSError) and error.errno in FULL


def reason(error: Exception) -> str:
    """Returns the text of an error in one line."""
    numbered = isinstance(error, OSError) and len(error.args) > 1 and error.filename is None
    return " ".join(str(error.args[1] if numbered else error).split()) or type(error).__name__


class Failures:
    """What failed, by image."""

    SHOWN = 5
    """Number of images with the same error from which they share a line."""

    def __init__(self) -> None:
        self.names: dict[str, None] = {}
        self.by_reason: dict[str, list[str]] = {}

    def __len__(self) -> int:
        return len(self.names)

    def add(self, name: str, errors: Sequence[Exception]) -> None:
        """Adds the errors of an image."""
        for error in errors:
            self.names[name] = None
            self.by_reason.setdefault(reason(error).removeprefix(f"{name}: "), []).append(name)

    def lines(self) -> Iterator[str]:
        """Yields one line per image, or per error that many images have."""
        for reason, names in self.by_reason.items():
            if len(names) < self.SHOWN:
                yield from (reason if name in reason else f"{name}: {reason}" for name in names)
            else:
                yield f"{len(names)} images: {reason}: {', '.join(names[:3])} and {len(names) - 3} more"
