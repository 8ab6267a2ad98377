"""Time every network of the CamVid leaderboard on one image with each engine, to be read beside its scores."""

from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from benchmarks import leaderboard, machine, suite, tables
from benchmarks.experiments import memory_raised
from benchmarks.process import apart
from kseg import training, zoo
from kseg.inference import Predictor

KEY = ["net", "engine"]
PAGE = "docs/choosing.md"
SUITE = "camvid"
ENGINES = {"keras": "Keras", "openvino": "OpenVINO", "onnxruntime": "ONNX Runtime"}
COMPARED = "openvino"
"""The engine whose time decides which networks are worth their time."""


def networks() -> dict[str, dict[str, Any]]:
    """Returns `{net: builder and its arguments}` of the networks in the leaderboard, each once."""
    found: dict[str, dict[str, Any]] = {}
    for row in _board().to_dict("records"):
        section = suite.load(SUITE, row["budget"]).recipes[row["name"]].model
        known = zoo.BUILDERS[section.builder].defaults
        free = {"encoder_weights": None} if "encoder_weights" in known else {}
        encoder = {"encoder": section.encoder} if "encoder" in known else {}
        found[row["net"]] = {"builder": section.builder, "num_classes": 11, **encoder, **free, **section.options}
    return found


def measure_net(net: str, engine: str, size: tuple[int, int], repeats: int) -> dict[str, Any]:
    """Labels an image several times in this process; memory is what that adds to the start of the process."""
    before = training.process_peak()
    predictor = Predictor(zoo.build(**networks()[net]), engine=engine)
    image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype("uint8")
    (seconds,) = machine.median_seconds(lambda: predictor(image), repeats=repeats)
    return {"net": net, "engine": engine, "seconds": round(seconds, 4), "memory_mb": memory_raised(before)}


def measure(
    *,
    only: Annotated[list[str] | None, typer.Option(help="Only this network; may be repeated.")] = None,
    size: Annotated[tuple[int, int], typer.Option(help="Height and width of the image.")] = (360, 480),
    repeats: Annotated[int, typer.Option(min=1, help="Images after the first.")] = 9,
) -> Iterator[pd.DataFrame]:
    """Time every network of the CamVid leaderboard on one image with each engine."""
    for net in only or networks():
        rows = pd.DataFrame([apart(measure_net, net, engine, size, repeats) for engine in ENGINES])
        yield rows.assign(size="x".join(map(str, size)), processor=machine.processor_model())


def shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Joins the times with the scores and the cost, the most accurate network of each budget first."""
    times = {engine: rows[rows["engine"] == engine].set_index("net")["seconds"] for engine in ENGINES}
    memory = rows[rows["engine"] == COMPARED].set_index("net")["memory_mb"]
    board = _board()
    board = board[board["net"].isin(memory.index)].assign(worth=lambda found: _worth(found, times[COMPARED]))
    nets = board["net"]
    table = pd.DataFrame(
        {
            "network": [f"**{net}**" if worth else net for net, worth in zip(nets, board["worth"], strict=True)],
            "trained": [f"{budget}, {epochs:.0f} epochs" for budget, epochs in board[["budget", "epochs"]].to_numpy()],
            "mIoU": [tables.with_spread(*each) for each in board[["miou", "seeds", "spread"]].to_numpy()],
            "flips, scales": board["miou_test_time"].map(tables.percent),
            "multiply-adds": [f"{value / 1e9:.1f} G" for value in board["multiply_adds"]],
            "parameters": [f"{value / 1e6:.1f} M" for value in board["parameters"]],
            **{title: [f"{1000 * times[engine][net]:.0f} ms" for net in nets] for engine, title in ENGINES.items()},
            "memory": [f"{memory[net]:.0f} MB" for net in nets],
        }
    )
    title, sizes, processors = ENGINES[COMPARED], set(rows["size"]), set(rows["processor"])
    table.attrs["notes"] = [
        f"**Bold**: no other network of the same training is both more accurate and faster with {title}.",
        f"Times are of one image of {', '.join(sorted(sizes))} on {', '.join(sorted(processors))}, the median of "
        f"several; memory is that of {title}, beyond what Python and kseg take.",
    ]
    return table


def _board() -> pd.DataFrame:
    """Returns the ranked rows of kseg's own networks, each network once per budget, those of the GPU first."""
    rows = tables.ranked(leaderboard.read(leaderboard.LEADERBOARDS / f"{SUITE}.csv"))
    rows = rows[rows["peer"].isna() & ~rows["outside"]]
    rows = rows.assign(net=[f"{row.model}, {row.encoder}" for row in rows.itertuples()])
    rows = rows.sort_values(["budget", "miou"], ascending=[False, False], kind="stable")
    return rows.drop_duplicates(["net", "parameters"]).reset_index(drop=True)


def _worth(board: pd.DataFrame, seconds: pd.Series) -> list[bool]:
    time = board["net"].map(seconds)
    return [
        not ((board["budget"] == budget) & (board["miou"] > miou) & (time < own)).any()
        for budget, miou, own in zip(board["budget"], board["miou"], time, strict=True)
    ]
