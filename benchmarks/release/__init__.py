"""Released weights: a run is checked, measured as its weights will be stored, and written with its description."""

import pathlib

from benchmarks.release.card import contents, hub_card, hub_contents, model_card
from benchmarks.release.check import FILE, PICTURE, ZOO, Dtype, candidate_of
from benchmarks.release.measure import EVERY, LOSS, measured
from benchmarks.release.write import SMALL, write_all
from kseg.pretrained import release as table

__all__ = [
    "EVERY", "FILE", "LOSS", "PICTURE", "SMALL", "ZOO", "Dtype", "contents", "hub_card", "hub_contents", "make_release",
    "model_card", "table",
]  # fmt: skip


def make_release(
    run: pathlib.Path,
    *,
    data_root: str | None = None,
    dtype: Dtype = Dtype.float16,
    name: str | None = None,
    replace: bool = False,
    to: pathlib.Path = ZOO,
    releases: pathlib.Path = table.TABLE,
) -> pathlib.Path:
    """Measures a run's weights as they will be stored, and writes all that belongs to them, or nothing if it raises.

    `run` is a finished run's folder, or a folder of `zoo/`, which is written again under its name. If it holds
    `model.safetensors` and not the run's `best.safetensors`, that file is released as it is, and the scores before
    storage are read from the leaderboards. Files larger than `SMALL` go to the cache instead of the folder `to`.
    """
    candidate = candidate_of(run, dtype=dtype, name=name, replace=replace, releases=releases)
    return write_all(candidate, measured(candidate, data_root), to, releases)
