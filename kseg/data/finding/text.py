"""Text files that people write: recipes and lists of images, from any editor and system."""

import codecs
import os
import pathlib

MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
"""The bytes with which editors on Windows mark the encoding of a file."""


def read_text(path: str | os.PathLike[str]) -> str:
    r"""Reads a text file in UTF-8 or UTF-16, with or without a byte order mark.

    Args:
        path: The file.

    Returns:
        Its text with `\n` between the lines.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it has another encoding; the message names the file and the line.

    Example:
        >>> import tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp(), "train.txt")
        >>> _ = path.write_bytes("a.png\r\n".encode("utf-16"))
        >>> read_text(path)
        'a.png\n'
    """
    content = pathlib.Path(path).read_bytes()
    encoding = next((name for mark, name in MARKS.items() if content.startswith(mark)), "")
    if not encoding:  # in UTF-16, every other byte of a Latin letter is 0
        head = content[:200]
        encoding = "utf-16-le" if b"\0" in head[1::2] else "utf-16-be" if b"\0" in head[::2] else "utf-8"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{path} is not a text in UTF-8 or UTF-16 (line {line}): save it as UTF-8 in your editor"
        ) from None
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
