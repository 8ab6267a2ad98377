"""The confusion matrix as a Keras metric: counted inside compiled functions, exact on every backend."""

from typing import Any

import keras
import numpy as np
from keras import ops

# Counters are pairs of int32, worth `high * CARRY + low`: JAX has no int64 here, and float32 stops counting at 2**24.
# A carry at 2**24 rather than 2**30 leaves room to add up the low words of 128 replicas.
CARRY = 2**24


def classes_of(y: Any, *, from_logits: bool = True) -> Any:
    """The classes that scores stand for.

    Args:
        y: scores `(..., C)`, a tensor; one channel is binary.
        from_logits: matters for one channel: its threshold is 0 for logits and 0.5 for probabilities.

    Returns:
        int32 `(...)`, a tensor.
    """
    if y.shape[-1] == 1:
        return ops.cast(ops.squeeze(y, -1) > (0.0 if from_logits else 0.5), "int32")
    return _argmax(y)


def _argmax(y: Any) -> Any:
    """Index of the largest channel, `(..., C)` to int32 `(...)`; the first of equal ones, on every backend.

    On a CPU a running maximum over the channels takes a third of the time of Keras's argmax on TensorFlow (which also
    orders -0 below 0), and XLA fuses it. PyTorch's own argmax is the faster one there, on channels that lie together:
    its convolutions and resizing leave them apart, and joining one tensor copies it.
    """
    channels = y.shape[-1]
    if keras.backend.backend() == "torch" or channels > 64:  # 64: keep the graph small
        return ops.argmax(ops.concatenate([y], axis=-1), axis=-1)
    first, *rest = ops.unstack(ops.moveaxis(y, -1, 0), channels, axis=0)
    best, index = first, ops.zeros_like(first, dtype="uint8")  # a quarter of the memory to move
    for channel, score in enumerate(rest, start=1):
        index = ops.where(score > best, ops.cast(channel, "uint8"), index)
        best = ops.maximum(score, best)
    return ops.cast(index, "int32")


def _count(values: Any, length: int) -> Any:
    """How often each of 0..length-1 occurs in int32 `values`: int32 `(length,)`, exact, inside compiled functions."""
    values = ops.reshape(values, (-1,))
    if keras.backend.backend() == "jax":  # its bincount has a data-dependent shape
        return ops.segment_sum(ops.ones_like(values), values, num_segments=length)
    if keras.backend.backend() == "tensorflow":  # so has Keras's here, and on a GPU Keras compiles with XLA
        import tensorflow

        return tensorflow.raw_ops.DenseBincount(input=values, size=length, weights=tensorflow.constant([], "int32"))
    return ops.bincount(values, minlength=length)  # PyTorch's segment_sum adds in float32


@keras.saving.register_keras_serializable(package="kseg")
class SegmentationScores(keras.metrics.Metric):
    """mIoU, pixel accuracy, mean accuracy and frequency-weighted IoU from one confusion matrix.

    `result()` is a dict, so `fit` and `evaluate` log `miou`, `val_miou` and so on. The counts are exact for up to
    2**55 pixels on every backend. See `scores` for the definitions and for classes that are absent.

    A label outside the classes that isn't `ignore_class` is an error in the data, but a compiled function cannot
    raise: every score becomes `nan`, and `stray_pixels` tells how many there were.

    Args:
        num_classes: classes, or 1 for a binary task: labels 0 and 1, one channel, and the two classes scored are
            background and foreground.
        ignore_class: label of the pixels to leave out (void); None where there are none.
        class_names: one name a class (two for a binary task), for `iou_<name>`. The default is the class's number.
        per_class: also report `iou_<name>` of each class, `nan` while the class is absent.
        from_logits: only matters for one channel: its threshold is 0 for logits and 0.5 for probabilities.
        name: name of the metric; the logs carry the names of the scores instead.
        dtype: accepted for Keras's sake; counts are integers and scores float32.

    Raises:
        ValueError: if `class_names` has the wrong length.

    Example:
        >>> import numpy as np
        >>> from kseg.metrics import SegmentationScores
        >>> metric = SegmentationScores(2)
        >>> logits = np.array([[[[0, 1], [1, 0], [1, 0]]]])              # (N, H, W, C): predicted 1, 0, 0
        >>> metric.update_state(np.array([[[1, 0, 255]]]), logits)       # (N, H, W)
        >>> metric.confusion_matrix().tolist()
        [[1, 0], [0, 1]]
        >>> sorted(metric.result())
        ['frequency_weighted_iou', 'mean_accuracy', 'miou', 'pixel_accuracy']
    """

    def __init__(
        self,
        num_classes: int,
        *,
        ignore_class: int | None = 255,
        class_names: Any = None,
        per_class: bool = False,
        from_logits: bool = True,
        name: str = "scores",
        dtype: Any = None,
    ):
        super().__init__(name=name, dtype=dtype)
        self.num_classes = num_classes
        self.ignore_class = ignore_class
        self.per_class = per_class
        self.from_logits = from_logits
        self.class_names = None if class_names is None else tuple(class_names)
        self.size = max(num_classes, 2)  # rows of the matrix
        if self.class_names is not None and len(self.class_names) != self.size:
            raise ValueError(f"class_names has {len(self.class_names)} names for {self.size} classes")
        # The matrix row by row, then a counter of ignored and one of stray pixels.
        shape = (self.size**2 + 2,)
        self.low = self.add_variable(shape, "zeros", dtype="int32", name="low")
        self.high = self.add_variable(shape, "zeros", dtype="int32", name="high")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Counts a batch.

        Args:
            y_true: integers `(N, H, W)` or `(N, H, W, 1)`, or one-hot `(N, H, W, C)` whose void pixels are all zero.
            y_pred: logits or probabilities `(N, H, W, num_classes)`.
            sample_weight: None, or a mask `(N,)`, `(N, H, W)` or `(N, H, W, 1)`:
                pixels of weight 0 are ignored, all others count once, whatever their weight.

        Raises:
            ValueError: if the shapes don't fit `num_classes` or one another.
        """
        y_pred = ops.convert_to_tensor(y_pred)
        if y_pred.shape[-1] != self.num_classes:
            raise ValueError(
                f"{self.name} counts {self.num_classes} classes, but y_pred has {y_pred.shape[-1]} channels "
                f"(shape {tuple(y_pred.shape)})"
            )
        true = self._labels(ops.convert_to_tensor(y_true))
        expected = tuple(y_pred.shape[:-1])
        if len(true.shape) != len(expected) or any(
            None not in pair and pair[0] != pair[1] for pair in zip(true.shape, expected, strict=True)
        ):
            raise ValueError(f"labels of shape {tuple(y_true.shape)} do not fit y_pred of shape {tuple(y_pred.shape)}")
        predicted = classes_of(y_pred, from_logits=self.from_logits)

        ignored, stray = self.size**2, self.size**2 + 1
        cell = ops.where((true >= 0) & (true < self.size), true * self.size + predicted, stray)
        if self.ignore_class is not None:
            cell = ops.where(true == self.ignore_class, ignored, cell)
        if sample_weight is not None:
            kept = ops.convert_to_tensor(sample_weight) != 0
            kept = ops.squeeze(kept, -1) if len(kept.shape) > len(true.shape) else kept
            given = tuple(kept.shape)
            fits = all(None in pair or pair[0] in (1, pair[1]) for pair in zip(given, expected, strict=False))
            if len(given) not in (0, 1, len(expected)) or not fits:
                raise ValueError(f"sample_weight of shape {given} does not fit labels of shape {expected}")
            kept = ops.reshape(kept, (*ops.shape(kept), *[1] * (len(true.shape) - len(kept.shape))))
            cell = ops.where(kept, cell, ignored)
        self._add(_count(cell, stray + 1))

    def _labels(self, y_true: Any) -> Any:
        """Labels of any accepted form as int32 `(N, H, W)`, one-hot void as `ignore_class`."""
        if len(y_true.shape) < 4:
            return ops.cast(y_true, "int32")
        if y_true.shape[-1] == 1:
            return ops.cast(ops.squeeze(y_true, -1), "int32")
        void = -1 if self.ignore_class is None else self.ignore_class
        return ops.where(ops.any(y_true != 0, axis=-1), _argmax(y_true), void)

    def _add(self, counts: Any) -> None:
        low = self.low + counts % CARRY  # < 2**25, however large the batch
        self.high.assign(self.high + counts // CARRY + low // CARRY)
        self.low.assign(low % CARRY)

    def result(self) -> dict[str, Any]:
        """Scores so far: a dict of float32 scalars, see the class."""
        counts = ops.cast(self.high, "float32") * CARRY + ops.cast(self.low, "float32")
        matrix = ops.reshape(counts[:-2], (self.size, self.size))
        hit, true, predicted = ops.diagonal(matrix), ops.sum(matrix, axis=1), ops.sum(matrix, axis=0)
        union = true + predicted - hit
        total = ops.sum(true)
        broken = ops.where(counts[-1] > 0, float("nan"), 0.0)  # stray labels: see the class
        iou = ops.divide_no_nan(hit, union)

        def mean(values: Any, present: Any) -> Any:
            return ops.divide_no_nan(ops.sum(values), ops.sum(ops.cast(present, "float32")))

        results = {
            "miou": mean(iou, union > 0),
            "pixel_accuracy": ops.divide_no_nan(ops.sum(hit), total),
            "mean_accuracy": mean(ops.divide_no_nan(hit, true), true > 0),
            "frequency_weighted_iou": ops.divide_no_nan(ops.sum(true * iou), total),
        }
        if self.per_class:
            each = ops.where(union > 0, iou, float("nan"))
            names = self.class_names or range(self.size)
            results |= {f"iou_{name}": each[index] for index, name in enumerate(names)}
        return {name: value + broken for name, value in results.items()}

    def _totals(self) -> Any:
        high, low = (ops.convert_to_numpy(v).astype("int64") for v in (self.high, self.low))
        return high * CARRY + low

    def confusion_matrix(self) -> np.ndarray:
        """Counts so far, int64 `(C, C)`, rows are the true classes; not for use inside a compiled function."""
        return self._totals()[:-2].reshape(self.size, self.size)

    @property
    def ignored_pixels(self) -> int:
        """Pixels left out so far, because of their label or their weight."""
        return int(self._totals()[-2])

    @property
    def stray_pixels(self) -> int:
        """Pixels so far whose label is neither a class nor `ignore_class`."""
        return int(self._totals()[-1])

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "ignore_class": self.ignore_class,
            "class_names": self.class_names,
            "per_class": self.per_class,
            "from_logits": self.from_logits,
        }
