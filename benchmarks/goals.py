"""What kseg set out to reach in its leaderboards, beside the best rows."""

import pandas as pd

from benchmarks import tables

STEPS = ("fcn32", "fcn16", "fcn8")
"""Networks of which each should score higher than the one before."""


def reached(camvid: pd.DataFrame, nuclei: pd.DataFrame) -> pd.DataFrame:
    """Compares the best rows of two leaderboards with the goals: columns of text.

    The smallest gap between the mean scores of FCN-32s, 16s and 8s is compared with the largest spread of their seeds,
    once each of them has several in a budget.
    """
    own, peers = camvid[camvid["peer"].isna()], camvid[camvid["peer"].notna()]
    best = own.groupby("name")["miou"].max()
    others = tables.published()["camvid"].set_index("model")["mIoU"].astype(float) / 100
    single, averaged = own["miou"].max(), own["miou_test_time"].max()
    goals = [
        ("CamVid: above FC-DenseNet103, the best published at this size", others["FC-DenseNet103"], single),
        ("CamVid: with flips and scales", 0.69, averaged),
        ("CamVid: `unet` on EfficientNet-Lite0", 0.65, best["unet"]),
        ("CamVid: `unet` above the peer's U-Net", peers["miou"].max(), best["unet"]),
        ("CamVid: the best network", 0.70, single),
        ("CamVid: above VideoGCRF, which also uses video", others["VideoGCRF"], single),
        ("Nuclei: Dice", 0.93, nuclei["dice"].max()),
    ]
    rows = [(goal, f"{wanted:.2%}", f"{found:.2%}", found > wanted) for goal, wanted, found in goals]
    order = " < ".join(f"{best[name]:.2%}" for name in STEPS)
    rows.append((f"CamVid: {' < '.join(STEPS)}", "", order, best[list(STEPS)].is_monotonic_increasing))
    for (budget, *_), steps in own[own["name"].isin(STEPS)].groupby(["budget", "backend", "device"]):
        means = tables.ranked(steps).set_index("name").reindex(STEPS)
        if (means["seeds"] > 1).all():
            gap, spread = means["miou"].diff().min(), means["spread"].max()
            goal = f"CamVid, budget `{budget}`: the smallest gap between these, above the largest spread of seeds"
            rows.append((goal, f"{spread:.2%}", f"{gap:.2%}", gap > spread))
    table = pd.DataFrame(rows, columns=["goal", "more than", "best row", "reached"])
    return table.assign(reached=["yes" if each else "no" for each in table["reached"]])
