"""Time the networks of the suite `camvid` on one image with each engine, to be read beside their scores."""

from collections.abc import Iterator
from typing import Annotated, Any

import keras
import numpy as np
import pandas as pd
import typer

from benchmarks import leaderboard, machine, suite, tables
from benchmarks.experiments import memory_raised
from benchmarks.process import apart
from kseg import training, zoo
from kseg.inference import Predictor

KEY = ["name", "engine"]
PAGE = "docs/choosing.md"
SUITE = "camvid"
OWN_RECIPE = ("unet-plain",)
"""Models that the suite trains by another recipe than the others."""
ENGINES = {"keras": "Keras", "openvino": "OpenVINO", "onnxruntime": "ONNX Runtime"}
COMPARED = "openvino"
"""The engine whose time decides which networks are worth their time."""
SAME_TIME = 0.05
"""Times that differ by a smaller share are the same, since measurements vary."""
THIN = ("pole", "sign", "pedestrian")
"""The classes of the thinnest and smallest objects."""


def networks() -> dict[str, dict[str, Any]]:
    """Returns `{name in the suite: builder and its arguments}` of the networks that are trained on a CPU, too."""
    found: dict[str, dict[str, Any]] = {}
    for name, recipe in suite.load(SUITE, "cpu").recipes.items():
        section = recipe.model
        known = zoo.BUILDERS[section.builder].defaults
        free = {"encoder_weights": None} if "encoder_weights" in known else {}
        encoder = {"encoder": section.encoder} if "encoder" in known else {}
        found[name] = {"builder": section.builder, "num_classes": 11, **encoder, **free, **section.options}
    return found


def measure_network(name: str, engine: str, size: tuple[int, int], repeats: int) -> dict[str, Any]:
    """Returns the median time of an image and the memory that this process needed beyond its start."""
    before = training.process_peak()
    predictor = Predictor(zoo.build(**networks()[name]), engine=engine)
    image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype("uint8")
    (seconds,) = machine.median_seconds(lambda: predictor(image), repeats=repeats)
    return {"name": name, "engine": engine, "seconds": round(seconds, 4), "memory_mb": memory_raised(before)}


def measure(
    *,
    only: Annotated[list[str] | None, typer.Option(help="Only the network of this name; may be repeated.")] = None,
    size: Annotated[tuple[int, int], typer.Option(help="Height and width of the image.")] = (360, 480),
    repeats: Annotated[int, typer.Option(min=1, help="Images after the first.")] = 9,
) -> Iterator[pd.DataFrame]:
    """Time the networks of the suite `camvid` on one image with each engine; those without a row wait for it."""
    for name in only or [name for name in networks() if name not in OWN_RECIPE]:
        rows = pd.DataFrame([apart(measure_network, name, engine, size, repeats) for engine in ENGINES])
        yield rows.assign(
            size="x".join(map(str, size)), backend=keras.backend.backend(), processor=machine.processor_used()
        )


def shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Joins the times with the scores and the cost, the most accurate network of each training first."""
    shared = ["size", "backend", "processor"]
    if len(rows[shared].drop_duplicates()) > 1:
        raise ValueError(
            f"choosing.csv mixes values of {', '.join(shared)}: run `python -m benchmarks choosing` for all"
        )
    times = rows.pivot(index="name", columns="engine", values="seconds")
    memory = rows[rows["engine"] == COMPARED].set_index("name")["memory_mb"]
    board = _board()
    untimed = board["name"][~board["name"].isin(times.index)].unique()
    board = board[board["name"].isin(times.index)].reset_index(drop=True)
    board["seconds"] = board["name"].map(times[COMPARED])
    names = board["name"]
    table = pd.DataFrame(
        {
            "network": [f"**{name}**" if worth else name for name, worth in zip(names, _worth(board), strict=True)],
            "trained": [f"{row.budget}, {row.epochs:.0f} epochs" for row in board.itertuples()],
            "mIoU": [tables.with_spread(*each) for each in zip(board.miou, board.seeds, board.spread, strict=True)],
            "flips, scales": board["miou_test_time"].map(tables.percent),
            "multiply-adds": [f"{value / 1e9:.1f} G" for value in board["multiply_adds"]],
            "parameters": [f"{value / 1e6:.1f} M" for value in board["parameters"]],
            **{title: [f"{1000 * times[engine][name]:.0f} ms" for name in names] for engine, title in ENGINES.items()},
            "memory": [f"{memory[name]:.0f} MB" for name in names],
        }
    )
    title, (size, backend, processor) = ENGINES[COMPARED], rows.iloc[-1][shared]
    table.attrs["notes"] = [
        f"**Bold**: no other network of the same training is more accurate in the same time or less with {title}. "
        f"Times that differ by less than {SAME_TIME:.0%} count as the same.",
        f"Times: the median of one image of {size} on {processor}; Keras on {backend}. Memory: the peak with {title}, "
        "with the conversion.",
        *(_advice(same) for _, same in board.groupby(["budget", "epochs"], sort=False) if len(same) > 2),
        *_test_time(board),
        f"Small differences are within chance: most rows have one seed, the others up to {board['seeds'].max():.0f}.",
        *([f"Not timed yet: {', '.join(untimed)}."] if len(untimed) else []),
    ]
    return table


def _board() -> pd.DataFrame:
    """Returns the ranked rows of kseg's own networks on the common recipe, those of the GPU first."""
    rows = tables.ranked(leaderboard.read(leaderboard.LEADERBOARDS / f"{SUITE}.csv"))
    rows = rows[rows["peer"].isna() & ~rows["outside"] & ~rows["name"].isin(OWN_RECIPE)]
    order = rows.sort_values(["budget", "epochs", "miou"], ascending=[False, False, False], kind="stable")
    return order.reset_index(drop=True)


def _worth(board: pd.DataFrame) -> list[bool]:
    """Returns for each row whether no row of the same budget and epochs has a higher score in the same time or less."""
    rows = board[["budget", "epochs", "miou", "seconds"]].to_dict("records")
    return [
        not any(
            (other["budget"], other["epochs"]) == (row["budget"], row["epochs"])
            and other["miou"] > row["miou"]
            and other["seconds"] < (1 + SAME_TIME) * row["seconds"]
            for other in rows
        )
        for row in rows
    ]


def _advice(board: pd.DataFrame) -> str:
    """Returns which of some networks of the same training to take for which need."""
    thin = board.assign(thin=board[[f"iou_{name}" for name in THIN]].mean(axis=1))
    near = board[board["miou"] > board["miou"].max() - 0.01]
    return (
        f"With the budget `{board['budget'].iloc[0]}`, `{_first(board, 'miou')}` has the highest score, "
        f"`{_fastest(near)}` is the fastest within one point of it, `{_fastest(board)}` is the fastest, and "
        f"`{_first(thin, 'thin')}` has the highest mean IoU of {', '.join(THIN)}."
    )


def _test_time(board: pd.DataFrame) -> Iterator[str]:
    """Returns what flips and scales gain on average, and what they cost."""
    passes = suite.load(SUITE).test_time or {}
    cost = (1 + bool(passes.get("flip"))) * sum(scale**2 for scale in passes.get("scales", (1,)))
    gained = 100 * (board["miou_test_time"] - board["miou"]).mean()
    if not np.isnan(gained):
        yield f"Flips and scales change the mIoU by {gained:+.1f} points on average, at {cost:.0f} times the cost."


def _first(board: pd.DataFrame, column: str) -> str:
    """Returns the name of the network with the highest value in a column."""
    return str(board.sort_values(column, ascending=False)["name"].iloc[0])


def _fastest(board: pd.DataFrame) -> str:
    """Returns the name of the fastest network; of those that are as fast, the most accurate."""
    return _first(board[board["seconds"] < (1 + SAME_TIME) * board["seconds"].min()], "miou")
