"""The frame of all commands: common options, and user errors in one line."""

import contextlib
import errno
import io
import pathlib
import sys
from collections.abc import Iterator
from typing import Annotated

import typer

MISTAKES = (ValueError, OSError, ImportError, MemoryError)
"""Errors that a user can fix; all others are faults of kseg and keep their traceback."""

application = typer.Typer(
    name="kseg", help="Semantic segmentation for Keras 3.", no_args_is_help=True, pretty_exceptions_enable=False
)

DataRoot = Annotated[pathlib.Path | None, typer.Option(help="Folder that holds the data sets.", envvar="KSEG_DATA")]


@contextlib.contextmanager
def plain_errors(debug: bool, *, interrupted: str = "interrupted") -> Iterator[None]:
    """Turns a user's mistake into one line on stderr and exit code 1, and Ctrl-C into the line `interrupted`."""
    try:
        yield
    except MISTAKES as error:
        if debug:
            raise
        text = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, OSError) and error.errno == errno.ENOSPC and "the disk is full" not in text:
            text = f"the disk is full: {text}"
        print(f"error: {text}", file=sys.stderr)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        raise typer.Exit(130) from None


def _version(value: bool) -> None:
    if value:
        import kseg

        print(f"kseg {kseg.__version__}")
        raise typer.Exit


@application.callback()
def _options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    context.obj = debug
    for stream in (sys.stdout, sys.stderr):  # names of files may be in an encoding that the terminal does not have
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
