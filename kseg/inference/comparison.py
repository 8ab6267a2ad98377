"""Comparison of two models: on how many pixels they differ, and a picture of where."""

import dataclasses

import numpy as np

from kseg import data, visualize
from kseg.inference.labeling import Model, predictions
from kseg.progress import Reporter

OUTCOMES = ("only A is right", "only B is right", "neither is right")
OUTCOME_COLORS = ((0, 160, 255), (255, 140, 0), (255, 0, 160))


@dataclasses.dataclass(frozen=True)
class Difference:
    """One image: its index in the data set, the share of labeled pixels that differ, and both predicted label maps."""

    index: int
    share: float
    a: np.ndarray
    b: np.ndarray


@dataclasses.dataclass
class Comparison:
    """Two models on one data set; void pixels are ignored.

    Attributes:
        matrix_a: Confusion matrix of A, int64 `(C, C)`, rows true, columns predicted; see `kseg.metrics.scores`.
        matrix_b: Confusion matrix of B.
        outcomes: Number of pixels on which the models disagree and only A, only B, or neither is right.
        most: The images on which the models disagree most, by descending share.
    """

    matrix_a: np.ndarray
    matrix_b: np.ndarray
    outcomes: np.ndarray
    most: list[Difference]

    @property
    def disagreement(self) -> float:
        """Share of the labeled pixels on which the models disagree, 0 to 1."""
        return float(self.outcomes.sum() / max(self.matrix_a.sum(), 1))

    def picture(self, dataset: data.Dataset, *, cell_width: int = 480) -> np.ndarray:
        """Draws the images with the greatest disagreement: image, label, A, B, and where A and B differ.

        Args:
            dataset: The data set on which the models were compared.
            cell_width: Largest width of one cell of the grid, in pixels.

        Returns:
            uint8 `(H, W, 3)`.

        Raises:
            ValueError: If the models agree on every pixel.
        """
        if not self.most:
            raise ValueError("the models agree on every labeled pixel: there is nothing to show")
        rows, names = [], []
        for difference in self.most:
            image, label = dataset[difference.index]
            gray = np.repeat(visualize.rgb(image).mean(axis=-1, keepdims=True), 3, axis=-1)
            maps = [visualize.colorize(ids, dataset.palette) for ids in (label, difference.a, difference.b)]
            outcome = _outcome(label, difference.a, difference.b, dataset.ignore_class)
            rows.append([image, *maps, visualize.overlay(gray, outcome, OUTCOME_COLORS, opacity=0.7, contours=0)])
            names.append(f"{dataset.identifier(difference.index)}  {difference.share:.1%}")
        outcomes = visualize.legend(OUTCOMES, OUTCOME_COLORS, columns=1)

        def legends(width: int) -> np.ndarray:
            classes = visualize.legend(dataset.classes, dataset.palette, width=width - outcomes.shape[1])
            return visualize.grid([[classes, outcomes]], gap=0)

        return visualize.grid(
            rows,
            titles=["image", "label", "A", "B", "where they differ"],
            names=names,
            footer=legends,
            cell_width=min(cell_width, max(row[0].shape[1] for row in rows)),
        )


def compare(
    a: Model,
    b: Model,
    dataset: data.Dataset,
    *,
    count: int = 5,
    batch_size: int = 1,
    progress: bool = False,
) -> Comparison:
    """Labels a data set with two models and counts the pixels on which they differ.

    Args:
        a: A model, a predictor, or a function from an image to class ids.
        b: Another one with the same classes.
        dataset: The images and their labels.
        count: Largest number of images to keep for the picture.
        batch_size: As in `predictions`.
        progress: Whether to show a bar on stderr, if that is a terminal.

    Returns:
        The counts, and the images on which the models disagree most.

    Raises:
        ValueError: If the models have other classes than the data set, or there are no images.

    Example:
        >>> import keras
        >>> image = keras.Input((None, None, 3))
        >>> model = keras.Model(image, keras.layers.Conv2D(8, 1)(image))
        >>> streets = data.load("streets", "val", count=2, size=(32, 32))
        >>> compare(model, model, streets).disagreement
        0.0
    """
    ignored, outcomes = dataset.ignore_class, np.zeros(3, "int64")
    matrices = np.zeros((2, len(dataset.classes), len(dataset.classes)), "int64")
    most: list[Difference] = []
    reporter = Reporter(quiet=not progress)
    for found in predictions(dataset, [a, b], batch_size=batch_size, reporter=reporter, task="comparing"):
        label, (x, y) = found.label, found.predicted
        matrices += found.matrices(dataset)
        counts = np.bincount(_outcome(label, x, y, ignored).reshape(-1), minlength=3)[:3]
        outcomes += counts
        if counts.any():
            share = float(counts.sum() / (label != ignored).sum())
            most = sorted([*most, Difference(found.index, share, x, y)], key=lambda each: -each.share)[:count]
    return Comparison(matrices[0], matrices[1], outcomes, most)


def _outcome(label: np.ndarray, a: np.ndarray, b: np.ndarray, ignore_class: int) -> np.ndarray:
    """uint8 `(H, W)`: an index of `OUTCOMES` where the models differ on a labeled pixel, else 255."""
    outcome = np.where(a == label, 0, np.where(b == label, 1, 2))
    return np.where((a != b) & (label != ignore_class), outcome, 255).astype("uint8")
