"""Training logs as curves."""

import csv

import numpy as np
import pytest

from kseg.visualize import OKABE_ITO, curves


def log(epochs=10, every=5, best=0.6):
    """Rows as a run writes them: validated every few epochs."""
    rows = []
    for epoch in range(1, epochs + 1):
        row = {"epoch": epoch, "step": 3 * epoch, "loss": 2.0 / epoch}
        if epoch % every == 0:
            row |= {"val_miou": best * epoch / epochs, "val_iou_sky": float("nan")}
        rows.append(row)
    return rows


def has(picture, color):
    return (picture == np.array(color)).all(axis=-1).any()


@pytest.fixture
def run_folder(tmp_path):
    with (tmp_path / "log.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, ["epoch", "step", "loss", "val_miou", "val_iou_sky"])
        table.writeheader()
        table.writerows(log())
    return tmp_path


def test_a_folder_its_log_and_the_rows_give_one_picture(run_folder):
    expected = curves({"unet": log()})
    assert np.array_equal(curves({"unet": run_folder}), expected)
    assert np.array_equal(curves({"unet": str(run_folder / "log.csv")}), expected)


def test_several_runs_share_a_picture(run_folder):
    alone = curves({"unet": log()})
    both = curves({"unet": run_folder, "fcn": log(20, best=0.3)})
    assert both.shape[0] > alone.shape[0]  # one more line in the legend
    assert [has(alone, color) for color in OKABE_ITO[:2]] == [True, False]
    assert [has(both, color) for color in OKABE_ITO[:2]] == [True, True]


def test_each_column_has_its_chart():
    one = curves({"unet": log()}, columns=["loss"])
    two = curves({"unet": log()})
    three = curves({"unet": log()}, columns=["loss", "val_miou", "step"])
    assert one.shape[1] < two.shape[1] < three.shape[1]


def test_columns_without_numbers_are_left_out():
    without = [{"epoch": row["epoch"], "loss": row["loss"]} for row in log()]
    empty = [row | {"val_miou": ""} for row in without]
    assert np.array_equal(curves({"unet": without}), curves({"unet": without}, columns=["loss"]))
    assert np.array_equal(curves({"unet": empty}), curves({"unet": without}))
    absent = curves({"unet": log()}, columns=["loss", "val_iou_sky"])
    assert np.array_equal(absent, curves({"unet": log()}, columns=["loss"]))


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
    assert has(picture, OKABE_ITO[0])


def test_each_of_many_runs_has_its_color():
    picture = curves({f"run {index}": log(3, 1) for index in range(40)}, columns=["loss"], size=(100, 50))
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 40


def test_what_cannot_be_drawn_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"log\.csv does not exist: name a run folder"):
        curves({"unet": tmp_path})
    with pytest.raises(ValueError, match="no numbers in loss or val_miou of 'unet': no epoch is over"):
        curves({"unet": []})
    with pytest.raises(ValueError, match="of no runs"):
        curves({})
    with pytest.raises(ValueError, match="unet: loss and epoch of a log must be numbers, got 'much' in epoch 1"):
        curves({"unet": [{"epoch": 1, "loss": "much"}]})
