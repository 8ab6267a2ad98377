"""Training logs as curves."""

import numpy as np
import pandas as pd
import pytest

from kseg.visualize import OKABE_ITO, curves


def log(epochs=10, every=5, best=0.6):
    """Rows as a run writes them: validated every few epochs."""
    rows = []
    for epoch in range(1, epochs + 1):
        row = {"epoch": epoch, "step": 3 * epoch, "loss": 2.0 / epoch}
        if epoch % every == 0:
            row |= {"val_miou": best * epoch / epochs}
        rows.append(row)
    return rows


def test_a_folder_its_log_and_the_rows_give_one_picture(tmp_path):
    pd.DataFrame(log()).to_csv(tmp_path / "log.csv", index=False)
    expected = curves({"unet": log()})
    assert np.array_equal(curves({"unet": tmp_path}), expected)
    assert np.array_equal(curves({"unet": str(tmp_path / "log.csv")}), expected)
    assert np.array_equal(curves({"caf\udce9": log()}), curves({"caf?": log()}))  # the name of a folder in Latin-1


def test_each_column_has_its_chart_and_columns_without_numbers_are_left_out():
    one = curves({"unet": log()}, columns=["loss"])
    two = curves({"unet": log()}, columns=["loss", "step"])
    assert one.shape[1] < two.shape[1] < curves({"unet": log()}, columns=["loss", "step", "val_miou"]).shape[1]
    without = [{"epoch": row["epoch"], "loss": row["loss"]} for row in log()]
    for rows in (without, [row | {"val_miou": ""} for row in without], [row | {"val_miou": np.nan} for row in without]):
        assert np.array_equal(curves({"unet": rows}), one)


def test_values_are_drawn_where_they_belong_and_the_best_has_a_ring():
    rows = [{"epoch": epoch, "val_miou": value} for epoch, value in enumerate([0.2, 0.9, 0.4, 0.5, 0.3], 1)]
    width, height = 400, 200
    picture = curves({"unet": rows}, size=(width, height))
    dark = (picture < 60).all(axis=-1)
    left = np.flatnonzero(dark.sum(axis=0) > 0.9 * height)[0]
    top = np.flatnonzero(dark.sum(axis=1) > 0.9 * width)[0]
    blue = np.argwhere((picture == OKABE_ITO[0]).all(axis=-1)[top : top + height, left : left + width])
    # Epoch 2 of 1 to 5, the highest value; there are 5 % of room on each side.
    x, y = width * (0.05 + 0.25) / 1.1, height * 0.05 / 1.1
    ring = blue[np.abs(blue - (y, x)).max(axis=1) < 6]
    assert ring.mean(axis=0) == pytest.approx((y, x), abs=2)  # with some pixels of the line
    assert picture[top + round(y), left + round(x)].tolist() == [255, 255, 255]
    lowest = blue[blue[:, 1] < 0.06 * width]
    assert lowest[:, 0].max() == pytest.approx(height * 1.05 / 1.1, abs=2)


@pytest.mark.parametrize("epochs", [1, 2, 3000])
def test_short_and_long_runs_can_be_drawn(epochs):
    picture = curves({"unet": log(epochs, every=1)})
    assert picture.dtype == np.uint8
    assert (picture == np.array(OKABE_ITO[0])).all(axis=-1).any()


def test_each_of_many_runs_has_its_color_and_a_line_of_the_legend():
    few, many = (
        curves({f"run {index}": log(3, 1) for index in range(count)}, columns=["loss"], size=(100, 50))
        for count in (2, 40)
    )
    assert len(np.unique(many.reshape(-1, 3), axis=0)) > 40
    assert many.shape[0] > few.shape[0]


def test_missing_and_invalid_logs_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"log\.csv does not exist: name a run folder"):
        curves({"unet": tmp_path})
    with pytest.raises(ValueError, match="no numbers in loss or val_miou of 'unet': no epoch is over"):
        curves({"unet": []})
    with pytest.raises(ValueError, match="of no runs"):
        curves({})
    with pytest.raises(ValueError, match="unet: loss and epoch of a log must be numbers, got 'much' in epoch 1"):
        curves({"unet": [{"epoch": 1, "loss": "much"}]})


def test_the_loss_of_validation_is_a_dashed_line_beside_the_loss():
    rows = [{"epoch": epoch, "loss": 0.1 * epoch, "val_loss": 1.0} for epoch in range(1, 6)]
    width, height = 400, 200
    picture = curves({"unet": rows}, columns=["loss"], size=(width, height))
    dark = (picture < 60).all(axis=-1)
    left = np.flatnonzero(dark.sum(axis=0) > 0.9 * height)[0]
    top = np.flatnonzero(dark.sum(axis=1) > 0.9 * width)[0]
    y = top + round(height * 0.05 / 1.1)
    blue = (picture[y, left : left + width] == OKABE_ITO[0]).all(axis=-1)
    assert 0.4 < blue.mean() < 0.85
    assert np.abs(np.diff(blue.astype(int))).sum() > 20
    own = curves({"unet": rows}, columns=["loss", "val_loss"], size=(width, height))
    assert own.shape[1] > 1.8 * picture.shape[1]
