"""The confusion matrix as a Keras metric, counted inside compiled functions and exact on every backend."""

import warnings
from typing import Any

import keras
import numpy as np
from keras import ops

from kseg.classes import check_names, is_one_hot, refuse_probabilities

# A count is high * CARRY + low, two int32: Keras on JAX has no int64, and float32 is exact only up to 2**24. A carry at
# 2**24 instead of 2**30 leaves room to add the low words of 128 replicas.
CARRY = 2**24


def classes_of(y: Any, *, from_logits: bool = True) -> Any:
    """The predicted classes.

    Args:
        y: Scores `(..., C)`, a tensor; one channel is binary.
        from_logits: Whether the scores are logits. It sets the threshold of a single channel: 0 for logits, 0.5 for
            probabilities.

    Returns:
        int32 tensor `(...)`.
    """
    if y.shape[-1] == 1:
        return ops.cast(ops.squeeze(y, -1) > (0.0 if from_logits else 0.5), "int32")
    return _argmax(y)


def _argmax(y: Any) -> Any:
    """Index of the largest channel, `(..., C)` to int32 `(...)`; the first of equal ones on every backend.

    On a CPU, a running maximum over the channels takes a third of the time of Keras's argmax on TensorFlow (which also
    orders -0 below 0), and XLA fuses it. PyTorch's argmax is faster than that if the channels are contiguous, which
    concatenating a single tensor makes them.
    """
    channels = y.shape[-1]
    if keras.backend.backend() == "torch" or channels > 64:  # above 64 the graph would grow large
        return ops.argmax(ops.concatenate([y], axis=-1), axis=-1)
    first, *rest = ops.unstack(ops.moveaxis(y, -1, 0), channels, axis=0)
    best, index = first, ops.zeros_like(first, dtype="uint8")  # a quarter of the memory traffic
    for channel, score in enumerate(rest, start=1):
        index = ops.where(score > best, ops.cast(channel, "uint8"), index)
        best = ops.maximum(score, best)
    return ops.cast(index, "int32")


def _count(values: Any, length: int) -> Any:
    """The number of occurrences of each of 0..length-1 in int32 `values`: int32 `(length,)`, in compiled functions."""
    values = ops.reshape(values, (-1,))
    if keras.backend.backend() == "torch":  # its segment_sum adds in float32
        return ops.bincount(values, minlength=length)
    # The shape of bincount depends on the values, which JAX and XLA do not allow.
    return ops.segment_sum(ops.ones_like(values), values, num_segments=length)


@keras.saving.register_keras_serializable(package="kseg")
class SegmentationScores(keras.metrics.Metric):
    """Mean IoU, pixel accuracy, mean accuracy and frequency-weighted IoU from one confusion matrix.

    `result()` is a dict, so that `fit` and `evaluate` log `miou`, `val_miou` and so on. The counts are exact up to
    2**55 pixels on every backend. The definitions are those of `scores`.

    A label that is neither a class nor `ignore_class`, a fraction, or one-hot with a sum other than 0 or 1 is an error
    in the data, but a compiled function cannot raise it: all scores become NaN, and `stray_pixels` is the number of
    such pixels. If 255, which means void, is the only label above 0, it is probably the foreground: all scores become
    NaN. A warning says so at the end of the epoch.

    Args:
        num_classes: Number of classes. 1 is a binary task: labels 0 and 1, one channel, and two classes in the scores,
            background and foreground.
        ignore_class: Label of void pixels, which do not count. None if there are none.
        class_names: One name per class (two for a binary task), for `iou_<name>`. None uses the class ids.
        per_class: Whether to report `iou_<name>` of each class, NaN while the class is absent.
        from_logits: Whether the model outputs logits. It sets the threshold of a single channel: 0 for logits, 0.5 for
            probabilities.
        name: Name of the metric. The logs contain the names of the scores instead.
        dtype: Accepted for compatibility with Keras. Counts are integers, scores are float32.

    Raises:
        ValueError: If `class_names` has the wrong length, or a name is empty or occurs twice.

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
        if self.class_names is not None:
            check_names(self.class_names, "class_names")
        # The matrix, flattened, then the numbers of void pixels, of pixels of weight 0 and of stray pixels.
        shape = (self.size**2 + 3,)
        self.low = self.add_variable(shape, "zeros", dtype="int32", name="low")
        self.high = self.add_variable(shape, "zeros", dtype="int32", name="high")
        self.read = self.warned = False  # whether `result` was called since the last batch; whether it has warned

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Counts a batch.

        Args:
            y_true: Integers `(N, H, W)` or `(N, H, W, 1)`, or one-hot `(N, H, W, C)` that is all zero at void pixels.
                Soft labels count as their largest class.
            y_pred: Logits or probabilities `(N, H, W, num_classes)`.
            sample_weight: None, or a mask `(N,)`, `(N, H, W)` or `(N, H, W, 1)`. Pixels of weight 0 are ignored; all
                others count once, whatever their weight.

        Raises:
            ValueError: If the shapes do not fit, or the single channel, whose threshold depends on it, comes from
                sigmoid and `from_logits` is True; JAX cannot tell.
        """
        if self.from_logits and self.num_classes == 1:
            refuse_probabilities(y_pred, self.name)
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

        void, ignored, stray = range(self.size**2, self.size**2 + 3)
        cell = ops.where((true >= 0) & (true < self.size), true * self.size + predicted, stray)
        if self.ignore_class is not None:
            cell = ops.where(true == self.ignore_class, void, cell)
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
        self.read = False

    def _labels(self, y_true: Any) -> Any:
        """Labels as int32 `(N, H, W)`; void pixels of one-hot labels become `ignore_class`, invalid ones strays."""
        stray = -1 if self.ignore_class != -1 else -2
        if len(y_true.shape) == 4 and y_true.shape[-1] > 1:
            target = ops.cast(y_true, "float32")
            void = stray if self.ignore_class is None else self.ignore_class
            label = ops.where(ops.sum(target, axis=-1) < 0.5, void, _argmax(target))
            return ops.where(is_one_hot(target), label, stray)
        y_true = ops.squeeze(y_true, -1) if len(y_true.shape) == 4 else y_true
        label = ops.cast(y_true, "int32")
        if "float" not in keras.backend.standardize_dtype(y_true.dtype):
            return label
        label = ops.where(ops.equal(label, y_true), label, stray)
        if self.num_classes > 1:
            return label
        soft = (y_true > 0.0) & (y_true < 1.0)  # the probability of class 1
        return ops.where(soft, ops.cast(y_true > 0.5, "int32"), label)

    def _add(self, counts: Any) -> None:
        low = self.low + counts % CARRY  # < 2**25, however large the batch
        self.high.assign(self.high + counts // CARRY + low // CARRY)
        self.low.assign(low % CARRY)

    def result(self) -> dict[str, Any]:
        """The scores so far: a dict of float32 scalars."""
        counts = ops.cast(self.high, "float32") * CARRY + ops.cast(self.low, "float32")
        matrix = ops.reshape(counts[:-3], (self.size, self.size))
        hit, true, predicted = ops.diagonal(matrix), ops.sum(matrix, axis=1), ops.sum(matrix, axis=0)
        union = true + predicted - hit
        total = ops.sum(true)
        broken = counts[-1] > 0
        if self.ignore_class == 255:  # probably the foreground, if it is the only label above 0
            broken = broken | ((counts[-3] > 0) & (true[0] > 0) & (ops.sum(true[1:]) == 0))
        broken = ops.where(broken, float("nan"), 0.0)
        if self.read:  # Keras reads the result after each batch, and again at the end of an epoch
            self._warn()
        self.read = True
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

    def _warn(self) -> None:
        """Warns once of labels for which the scores are NaN, unless a compiled function is being traced."""
        if self.warned:
            return
        try:
            totals = self._totals()
        except Exception:  # each backend has its own error for values that do not exist yet
            return
        background, *others = totals[:-3].reshape(self.size, self.size).sum(axis=1).tolist()
        void, stray = int(totals[-3]), int(totals[-1])
        if stray:
            ids = f"classes 0 to {self.size - 1}" + ("" if self.ignore_class is None else f" or {self.ignore_class}")
            text = f"{stray} pixels have labels that are not {ids} (nor one-hot): correct them"
        elif self.ignore_class == 255 and background and void and not any(others):
            text = "255, which means void, is the only label above 0: if it is a class, train with labels // 255"
        else:
            return
        self.warned = True
        warnings.warn(f"the scores are nan, because {text}", stacklevel=3)

    def _totals(self) -> Any:
        high, low = (ops.convert_to_numpy(v).astype("int64") for v in (self.high, self.low))
        return high * CARRY + low

    def confusion_matrix(self) -> np.ndarray:
        """The counts so far, int64 `(C, C)`; rows are the true classes. Not for use inside a compiled function."""
        return np.reshape(self._totals()[:-3], (self.size, self.size))

    @property
    def ignored_pixels(self) -> int:
        """Number of pixels left out so far because of their label or their weight."""
        return int(self._totals()[-3:-1].sum())

    @property
    def stray_pixels(self) -> int:
        """Number of pixels so far whose label is neither a class nor `ignore_class`."""
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
