"""Paths for libraries that take names in UTF-8 only, such as GDAL and OpenCV."""

import contextlib
import os
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def in_utf8(path: str | os.PathLike[str]) -> Iterator[str]:
    """Yields a path in UTF-8: the path itself, or a link to it that is removed at the end, when the file is open."""
    name = os.fspath(path)
    try:
        name.encode()
    except UnicodeEncodeError:
        with tempfile.TemporaryDirectory(prefix="kseg-") as folder:
            link = os.path.join(folder, f"link{os.path.splitext(name)[1]}")
            os.symlink(os.path.abspath(name), link)
            yield link
    else:
        yield name
