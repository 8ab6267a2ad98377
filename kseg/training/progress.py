"""What a run shows while it works: a bar on a terminal, plain lines elsewhere."""

import contextlib
from collections.abc import Callable, Iterator

import rich.console
import rich.progress


class Reporter:
    """Prints lines, and draws a bar below them where the output is a terminal.

    Args:
        quiet: Show nothing.
    """

    def __init__(self, *, quiet: bool = False):
        self.console = rich.console.Console(quiet=quiet, highlight=False, soft_wrap=True)

    def line(self, text: str) -> None:
        """Prints a line.

        Args:
            text: Plain text; brackets are not markup.
        """
        self.console.print(text, markup=False)

    @contextlib.contextmanager
    def task(self, name: str, total: int) -> Iterator[Callable[..., None]]:
        """Shows a bar while the block runs, and nothing of it afterwards.

        Args:
            name: What stands before the bar.
            total: Steps of the whole bar.

        Yields:
            A function of the number of steps just done; `note=` sets the text at the end.
        """
        columns = (
            rich.progress.TextColumn("{task.description}", markup=False),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TimeRemainingColumn(),
            rich.progress.TextColumn("{task.fields[note]}", markup=False),
        )
        shown = self.console.is_terminal and not self.console.quiet
        bar = rich.progress.Progress(*columns, console=self.console, transient=True, disable=not shown)
        with bar:
            task = bar.add_task(name, total=total, note="")

            def advance(steps: int = 1, *, note: str | None = None) -> None:
                bar.advance(task, steps)
                if note is not None:
                    bar.update(task, note=note)

            yield advance
