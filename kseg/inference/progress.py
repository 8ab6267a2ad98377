"""A bar for long runs over images."""

import contextlib
from collections.abc import Callable, Iterator

import rich.console
import rich.progress


@contextlib.contextmanager
def bar(name: str, total: int | None, *, shown: bool) -> Iterator[Callable[[int], None]]:
    """Shows a bar on stderr while the block runs, if that is a terminal, and nothing of it afterwards.

    Args:
        name: What stands before the bar.
        total: Steps of the whole bar; None where nobody knows.
        shown: Whether to show it at all.

    Yields:
        A function of the number of steps just done.
    """
    columns = (
        rich.progress.TextColumn("{task.description}", markup=False),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeRemainingColumn(),
    )
    console = rich.console.Console(stderr=True)
    shown = shown and console.is_terminal
    with rich.progress.Progress(*columns, console=console, transient=True, disable=not shown) as progress:
        task = progress.add_task(name, total=total)
        yield lambda steps: progress.advance(task, steps)
