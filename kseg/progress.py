"""Progress of long work: lines on stdout, and a bar on stderr where that is a terminal."""

import contextlib
import sys
from collections.abc import Callable, Iterator

import rich.console
import rich.progress


class Reporter:
    """Prints lines and draws progress bars.

    Args:
        quiet: Whether to show nothing.

    Example:
        >>> reporter = Reporter()
        >>> with reporter.task("counting", total=3) as advance:
        ...     for _ in range(3):
        ...         advance()
        >>> reporter.line("done")
        done
    """

    def __init__(self, quiet: bool = False):
        self.quiet = quiet

    def line(self, text: str) -> None:
        """Prints a line to stdout, above the bar if one is shown.

        Args:
            text: Plain text, printed as it is.
        """
        if not self.quiet:
            print(text, flush=True)

    @contextlib.contextmanager
    def task(self, name: str, total: int | None) -> Iterator[Callable[..., None]]:
        """Shows a bar on stderr while the block runs, and removes it afterwards.

        Args:
            name: Text in front of the bar.
            total: Number of steps, or None if it is unknown.

        Yields:
            `advance(steps=1, *, note=None)`, to call after each step; `note` sets the text behind the bar.
        """
        console = rich.console.Console(stderr=True)
        columns = (
            rich.progress.TextColumn("{task.description}", markup=False),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TimeRemainingColumn(),
            rich.progress.TextColumn("{task.fields[note]}", markup=False),
        )
        bar = rich.progress.Progress(
            *columns,
            console=console,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),  # lines that go to a file must not end up on the terminal
            disable=self.quiet or not console.is_terminal,
        )
        with bar:
            task = bar.add_task(name, total=total, note="")

            def advance(steps: int = 1, *, note: str | None = None) -> None:
                bar.advance(task, steps)
                if note is not None:
                    bar.update(task, note=note)

            yield advance
