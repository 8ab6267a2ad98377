"""`kseg datasets pack`."""

import pathlib
from typing import Annotated

import typer

from kseg.cli._application import DataRoot, plain_errors
from kseg.cli._datasets import commands


@commands.command("pack")
def pack_dataset(
    context: typer.Context,
    recipe: Annotated[pathlib.Path, typer.Argument(help="A recipe; its section `data` says what is packed.")],
    out: Annotated[pathlib.Path, typer.Argument(help="The folder to write: shards in place of many small files.")],
    shard_size: Annotated[float, typer.Option(help="MiB of a shard, at most.")] = 256,
    data_root: DataRoot = None,
) -> None:
    """Pack the splits of a data set into ArrayRecord shards, for the key `shards` of recipes; repeat if interrupted."""
    stopped = f"stopped: repeat the command to go on; complete splits stay in {out}"
    with plain_errors(context.obj, interrupted=stopped):
        from kseg import training

        training.pack(training.Recipe.from_toml(recipe), out, shard_size=shard_size, data_root=data_root)
        print(f'to train on them: shards = "{out.as_posix()}" in [data], in place of name or folder and its keys')
