"""Where two models differ, in counts and in a picture."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from kseg import data, metrics, visualize
from kseg.inference.predictor import Predictor
from kseg.progress import Reporter

OUTCOMES = ("only A is right", "only B is right", "neither is right")
OUTCOME_COLORS = ((0, 160, 255), (255, 140, 0), (255, 0, 160))


@dataclasses.dataclass(frozen=True)
class Difference:
    """One image: its place in the data set, the share of labelled pixels that differ, both models' label maps."""

    index: int
    share: float
    a: np.ndarray
    b: np.ndarray


@dataclasses.dataclass
class Comparison:
    """Two models on one data set; void pixels count for nothing.

    Attributes:
        matrix_a: Confusion matrix of A, int64 `(C, C)`, rows true, columns predicted; see `kseg.metrics.scores`.
        matrix_b: That of B.
        outcomes: Of the pixels on which the models disagree: those that A alone, B alone, and neither labels right.
        most: The images on which they disagree most, the greatest share first.
    """

    matrix_a: np.ndarray
    matrix_b: np.ndarray
    outcomes: np.ndarray
    most: list[Difference]

    @property
    def disagreement(self) -> float:
        """Share of the labelled pixels on which the models disagree, 0 to 1."""
        return float(self.outcomes.sum() / max(self.matrix_a.sum(), 1))

    def picture(self, dataset: data.Dataset, *, cell_width: int = 480) -> np.ndarray:
        """The images with the greatest disagreement: image, label, A, B, and where A and B differ.

        Args:
            dataset: The data set that was compared on.
            cell_width: Width of the widest picture in the grid.

        Returns:
            uint8 `(H, W, 3)`.

        Raises:
            ValueError: The models agree on every pixel.
        """
        if not self.most:
            raise ValueError("the models agree on every labelled pixel: there is nothing to show")
        rows, names = [], []
        for difference in self.most:
            image, label = dataset[difference.index]
            gray = np.repeat(visualize.rgb(image).mean(axis=-1, keepdims=True), 3, axis=-1)
            maps = [visualize.colorize(ids, dataset.palette) for ids in (label, difference.a, difference.b)]
            outcome = _outcome(label, difference.a, difference.b, dataset.ignore_class)
            rows.append([image, *maps, visualize.overlay(gray, outcome, OUTCOME_COLORS, opacity=0.7)])
            names.append(f"{dataset.identifier(difference.index)}  {difference.share:.1%}")
        columns = min(6, len(dataset.classes))
        legends = [visualize.legend(dataset.classes, dataset.palette, columns=columns)]
        legends += [visualize.legend(OUTCOMES, OUTCOME_COLORS)]
        return visualize.grid(
            rows,
            titles=["image", "label", "A", "B", "where they differ"],
            names=names,
            footer=visualize.grid([legends], gap=0),
            cell_width=min(cell_width, max(row[0].shape[1] for row in rows)),
        )


def compare(
    a: Predictor,
    b: Predictor,
    dataset: data.Dataset,
    *,
    count: int = 5,
    batch_size: int = 1,
    progress: bool = False,
) -> Comparison:
    """Labels a data set with two models and counts where they differ.

    Args:
        a: One model.
        b: The other, of the same classes.
        dataset: The images and their labels.
        count: Images to keep for the picture, at most.
        batch_size: As in `Predictor.many`.
        progress: Whether to show a bar on stderr, if that is a terminal.

    Returns:
        The counts, and the images on which they disagree most.

    Raises:
        ValueError: The models have other numbers of classes than the data set, or there are no images.

    Example:
        >>> import keras
        >>> image = keras.Input((None, None, 3))
        >>> model = keras.Model(image, keras.layers.Conv2D(8, 1)(image))
        >>> streets = data.load("streets", "val", count=2, size=(32, 32))
        >>> compare(Predictor(model), Predictor(model), streets).disagreement
        0.0
    """
    for predictor in (a, b):
        if predictor.channels != dataset.num_classes:
            told = f"{predictor.model.name} has num_classes={predictor.channels}"
            raise ValueError(f"{told}, {dataset.name} needs {dataset.num_classes}")
    if len(dataset) == 0:
        raise ValueError(f"{dataset.name} has no images")
    classes = len(dataset.classes)
    nothing = np.zeros((classes, classes), "int64")
    found = Comparison(nothing, nothing.copy(), np.zeros(3, "int64"), [])
    streams = (predictor.many(_images(dataset), batch_size=batch_size) for predictor in (a, b))
    with Reporter(quiet=not progress).task("comparing", len(dataset)) as advance:
        for index, pair in enumerate(zip(*streams, strict=True)):
            for each in pair:
                if each.error:
                    raise each.error
            x, y = (each.label for each in pair)
            assert x is not None and y is not None
            label = dataset[index][1]
            found.matrix_a += metrics.confusion_matrix(label, x, classes, ignore_class=dataset.ignore_class)
            found.matrix_b += metrics.confusion_matrix(label, y, classes, ignore_class=dataset.ignore_class)
            outcomes = np.bincount(_outcome(label, x, y, dataset.ignore_class).reshape(-1), minlength=3)[:3]
            found.outcomes += outcomes
            if outcomes.any():
                share = float(outcomes.sum() / (label != dataset.ignore_class).sum())
                ranked = sorted([*found.most, Difference(index, share, x, y)], key=lambda d: d.share, reverse=True)
                found.most = ranked[:count]
            advance(1)
    return found


def _images(dataset: data.Dataset) -> Iterator[np.ndarray]:
    return (dataset[index][0] for index in range(len(dataset)))


def _outcome(label: np.ndarray, a: np.ndarray, b: np.ndarray, ignore_class: int) -> np.ndarray:
    """uint8 `(H, W)`: an index of `OUTCOMES` where the models differ on a labelled pixel, else 255."""
    outcome = np.where(a == label, 0, np.where(b == label, 1, 2))
    return np.where((a != b) & (label != ignore_class), outcome, 255).astype("uint8")
