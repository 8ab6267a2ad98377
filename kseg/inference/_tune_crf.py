"""Search for the parameters of a CRF that suit a model."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kseg.data import Dataset
from kseg.inference._dense_crf import dense_crf
from kseg.inference.labeling import predictions
from kseg.inference.predictor import Predictor
from kseg.metrics import scores

if TYPE_CHECKING:
    import keras

GRID: dict[str, Sequence[float]] = {
    "appearance_rgb": (3, 5, 10, 20),
    "appearance_xy": (10, 30, 67, 100),
    "appearance": (0, 1, 2, 4, 10),
    "smoothness": (0, 1, 3),
    "smoothness_xy": (1, 3),
}
"""DeepLab's ranges, and weaker kernels for networks whose predictions are sharp already."""


def tune_crf(
    model: "keras.Model | Predictor",
    dataset: Dataset,
    *,
    count: int = 20,
    grid: Mapping[str, Sequence[float]] = GRID,
    refine: Callable[..., np.ndarray] = dense_crf,
) -> dict[str, Any]:
    """Finds the parameters of a CRF that give a model the highest mIoU, one parameter after the other.

    Each parameter is tried at all its values while the others stay fixed, and keeps the best value. Use images that
    the model was not trained on, because it is overconfident on its training images.

    Args:
        model: A model, or a predictor without a CRF.
        dataset: Images and labels, e.g. the validation split.
        count: Number of images to use, spread evenly over the data set; their probabilities are kept in memory as
            float16.
        grid: Values to try for each parameter, the most important parameter first. Other parameters keep the defaults
            of `refine`.
        refine: Function from an image, its probabilities and parameters to refined probabilities.

    Returns:
        `options`, for `dense_crf(image, p, **options)`; `miou` with them and `miou_before` without a CRF, both on
        these images.

    Raises:
        ValueError: If the data set or the grid is empty, or the predictor has a CRF already.

    Example:
        >>> from kseg import data
        >>> import keras
        >>> image = keras.Input((None, None, 3))
        >>> model = keras.Model(image, keras.layers.Conv2D(8, 1)(image))
        >>> streets = data.load("streets", "val", count=1, size=(32, 32))
        >>> found = tune_crf(model, streets, grid={"appearance": (0, 4), "smoothness": (0, 3)})
        >>> sorted(found["options"]), 0 <= found["miou"] <= 1
        (['appearance', 'smoothness'], True)
    """
    if len(dataset) == 0 or count < 1 or not grid or not all(map(len, grid.values())):
        raise ValueError(
            f"{dataset.name} has {len(dataset)} images, count={count}, and the grid has {len(grid)} parameters: "
            "each must be 1 or more, and each parameter needs a value"
        )
    predictor = model if isinstance(model, Predictor) else Predictor(model)
    if predictor.crf is not None:
        raise ValueError("the predictor has a CRF already: build it without crf")
    indices = np.unique(np.linspace(0, len(dataset) - 1, count).astype(int)).tolist()
    kept: dict[bytes, np.ndarray] = {}  # the probabilities of each image: each value of each parameter needs them

    def probabilities(image: np.ndarray) -> np.ndarray:
        if (key := image.tobytes()) not in kept:
            p = predictor.probabilities(image)
            kept[key] = (np.concatenate([1 - p, p], axis=-1) if p.shape[-1] == 1 else p).astype("float16")
        return kept[key].astype("float32")

    def refined(image: np.ndarray, options: Mapping[str, float]) -> np.ndarray:
        rgb = np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image
        rgb = np.rint(rgb).astype("uint8")
        return refine(rgb, probabilities(image), **options).argmax(axis=-1)

    def mious(ways: Sequence[Callable[[np.ndarray], np.ndarray]]) -> list[float]:
        found = predictions(dataset, ways, batch_size=1, indices=indices)
        matrices = sum((each.matrices(dataset) for each in found), np.zeros(1, "int64"))
        return [float(scores(matrix)["miou"]) for matrix in matrices]

    (before,) = mious([lambda image: probabilities(image).argmax(axis=-1)])
    options: dict[str, float] = {}
    for name, values in grid.items():
        ways = [functools.partial(refined, options=options | {name: value}) for value in values]
        reached = dict(zip(values, mious(ways), strict=True))
        options[name] = max(reached, key=reached.__getitem__)
    return {"options": options, "miou": max(reached.values()), "miou_before": before}
