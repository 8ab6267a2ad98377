"""What kseg set out to reach in its leaderboards, beside the best rows."""

from collections.abc import Iterator

import pandas as pd

from benchmarks import tables

STEPS = ["fcn32", "fcn16", "fcn8"]
"""Networks of which each should score higher than the one before."""


def reached(camvid: pd.DataFrame, nuclei: pd.DataFrame) -> pd.DataFrame:
    """Compares two leaderboards with the goals: columns of text. Scores are the means over the seeds of a row."""
    camvid, nuclei = tables.ranked(camvid), tables.ranked(nuclei)
    own, peers = camvid[camvid["peer"].isna()], camvid[camvid["peer"].notna()]
    others = tables.published()["camvid"].set_index("model")["mIoU"].astype(float) / 100
    single = own["miou"].max()
    goals = [
        ("CamVid: above FC-DenseNet103, the best published at this size", others["FC-DenseNet103"], single),
        ("CamVid: with flips and scales", 0.69, own["miou_test_time"].max()),
        ("CamVid: `unet` on EfficientNet-Lite0", 0.65, own["miou"][own["name"] == "unet"].max()),
        ("CamVid: the best network", 0.70, single),
        ("CamVid: above VideoGCRF, which also uses video", others["VideoGCRF"], single),
        ("Nuclei: Dice", 0.93, nuclei["dice"][nuclei["peer"].isna()].max()),
    ]
    rows = [(goal, f"above {wanted:.2%}", f"{found:.2%}", found > wanted) for goal, wanted, found in goals]
    rows += [*_beside_peers(own, peers), *_steps(own)]
    table = pd.DataFrame(rows, columns=["goal", "wanted", "best row", "reached"])
    return table.assign(reached=["yes" if each else "no" for each in table["reached"]])


def _beside_peers(own: pd.DataFrame, peers: pd.DataFrame) -> Iterator[tuple[str, str, str, bool]]:
    """Compares each peer with the U-Net of the same recipe."""
    for _, peer in peers.iterrows():
        found = own["miou"][(own["name"] == "unet") & (own["family"] == peer["family"])].max()
        goal = f"CamVid, budget `{peer['budget']}`: `unet` at least the peer's U-Net"
        yield goal, f"{peer['miou']:.2%}", f"{found:.2%}", found >= peer["miou"]


def _steps(own: pd.DataFrame) -> Iterator[tuple[str, str, str, bool]]:
    """Compares the gaps between FCN-32s, 16s and 8s of the same training with the largest spread of their seeds.

    Unless all three have several seeds, only their order is compared.
    """
    for (budget, *_), rows in own[own["name"].isin(STEPS)].groupby(tables.TRAINED):
        steps = rows.set_index("name").reindex(STEPS)
        if steps["miou"].isna().any():
            continue
        gap, spread = steps["miou"].diff().min(), steps["spread"].max() if (steps["seeds"] > 1).all() else 0.0
        wanted = f"gaps above {spread:.2%}, the spread of seeds" if spread else "this order"
        yield (
            f"CamVid, budget `{budget}`: {' < '.join(STEPS)}",
            wanted,
            " < ".join(map("{:.2%}".format, steps["miou"])),
            gap > spread,
        )
