"""The options of `kseg predict` for a Ray cluster."""

import re
from typing import Annotated, Any

import typer
import typer.core

ADDRESS = re.compile(r"local|auto|ray://\S+|[\w.-]+:\d+")
"""What the address of a cluster looks like."""
RAY_INTERRUPTED = "interrupted: the same command does what is left"

Ray = Annotated[
    str | None,
    typer.Option(
        metavar="[ADDRESS]",
        help="Label images, and the tiles of huge ones, on a Ray cluster: auto, host:port or ray://host:port; without "
        "an address on one that is started on this machine. A repeated command does what is left.",
    ),
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Number of processes of --ray; by default one per GPU, or per core.")
]


class WithRay(typer.core.TyperCommand):
    """A command whose option `--ray` may have an address: what follows it and looks like none is another argument."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Gives `--ray` the address of a cluster that is started for the command, if there is none."""
        found = list(args)
        if "--ray" in found:
            at = found.index("--ray")
            following = found[at + 1] if at + 1 < len(found) else ""
            is_address = ADDRESS.fullmatch(following) is not None
            found[at : at + 1 + is_address] = [f"--ray={following if is_address else 'local'}"]
        return super().parse_args(ctx, found)


def check_ray(ray: str | None, workers: int | None, int8: str | None) -> None:
    """Raises an ImportError if Ray is needed and not installed, and a ValueError for options that do not fit."""
    if ray is None:
        if workers is not None:
            raise ValueError("--workers is for --ray: add it, or leave --workers out")
        return
    from kseg.prediction import load_ray

    load_ray()
    if int8 is not None:
        raise ValueError(
            "--int8 would calibrate in each worker: export the model once, kseg export MODEL --format openvino "
            "--precision int8 --calibrate IMAGES, and give its file as --weights"
        )
