"""What all losses share: documentation, weights of pixels, sums, configuration."""

import functools
import inspect
import math
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar, cast

import keras
from keras import ops

from kseg import replicas
from kseg.classes import refuse_probabilities
from kseg.losses.limits import check_options, list_of_weights

Function = TypeVar("Function", bound=Callable[..., Any])

ARGUMENTS = {
    "y_true": "Labels: integers `(N, H, W)` or `(N, H, W, 1)`, which may be stored as floats, or (soft) one-hot labels "
    "`(N, H, W, C)` with a sum of 1, all zero at void pixels. For C = 1 a label is the probability of class 1.",
    "y_pred": "Logits `(N, H, W, C)`, or probabilities if `from_logits` is False. C = 1 is a binary task.",
    "smooth": "Added to numerator and denominator.",
    "per_image": "Whether to sum over each image and average over all pairs of image and class, instead of summing "
    "over the batch.",
    "ignore_class": "Label of void pixels, which do not count. None if there are none.",
    "class_weights": "One weight per class (two for a binary task). None stands for 1.",
    "from_logits": "Whether `y_pred` contains logits.",
    "label_smoothing": "Fraction of the target that is spread evenly over all classes, 0 to 1, weighted as in PyTorch.",
    "normalizer": '"weights" divides by the sum of the weights of the pixels, as PyTorch does, so that scaling all '
    'weights changes nothing. "pixels" divides by the number of labeled pixels, as Caffe does.',
    "sample_weight": "Weights `(N,)`, `(N, H, W)` or `(N, H, W, 1)`. None stands for 1.",
}
SECTIONS = {
    "Args": "",
    "Returns": "    A float32 scalar, 0 or more; 0 with gradient 0 if all pixels are void. It is NaN if a label is "
    "neither a class\n    nor `ignore_class` nor one-hot, because a compiled function cannot raise an error.",
    "Raises": "    ValueError: If the shapes or the number of class weights do not fit, or an option is invalid.",
}


def loss_function(function: Function) -> Function:
    """Checks the options of a loss function at every call, and documents it.

    Adds to its docstring what all of them share: `Args` that it leaves out, `Returns`, `Raises`.
    """
    title = re.compile(r"\n\n(Args|Returns|Raises|Reference|Example):\n")
    summary, *parts = title.split(inspect.cleandoc(function.__doc__ or ""))
    sections = SECTIONS | dict(zip(parts[::2], parts[1::2], strict=True))
    own = {text.split(":")[0].strip(): text for text in re.split(r"\n(?=    \w+:)", sections["Args"])}
    sections["Args"] = "\n".join(
        own.get(name)
        or textwrap.fill(f"{name}: {ARGUMENTS[name]}", 116, initial_indent=" " * 4, subsequent_indent=" " * 8)
        for name in inspect.signature(function).parameters
    )

    @functools.wraps(function)
    def checked(*labels_and_predictions: Any, **options: Any) -> Any:
        check_options(options)
        return function(*labels_and_predictions, **options)

    checked.has_limits = True  # type: ignore[attr-defined]
    checked.__doc__ = "\n\n".join([summary, *(f"{name}:\n{text}" for name, text in sections.items())])
    return cast(Function, checked)


class SegmentationLoss(keras.losses.Loss):
    """A function as a Keras loss: one number per batch.

    The function takes `(y_true, y_pred, *, sample_weight, ignore_class, class_weights, from_logits, **options)`.

    `sample_weight` of `fit` may contain one number per pixel. There is no `reduction`, because the normalizer is part
    of the loss. On several devices the pixels of the whole batch count. Only `LovaszSoftmax` sorts and
    `OHEM` chooses pixels on each device by itself, except on JAX. Losses can be weighted and added:
    `CrossEntropy() + 0.5 * Dice()`.

    Args:
        function: The function. The other arguments, except `name`, are its own.
        name: Name of the loss.
        ignore_class: Label of void pixels, which do not count. None if there are none.
        class_weights: One weight per class. None stands for 1.
        from_logits: Whether the model outputs logits.
        **options: Further arguments of the function.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        name: str,
        ignore_class: int | None = 255,
        class_weights: Iterable[float] | None = None,
        from_logits: bool = True,
        **options: Any,
    ):
        super().__init__(name=name, dtype="float32")
        self.function = function
        self.from_logits = from_logits
        self.options = {
            "ignore_class": ignore_class,
            "class_weights": None if class_weights is None else list_of_weights(class_weights),
            "from_logits": from_logits,
            **options,
        }
        if hasattr(getattr(function, "func", function), "has_limits"):  # not for functions of users
            check_options(self.options)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss of a batch, a float32 scalar.

        Raises:
            ValueError: If it expects logits and `y_pred` comes from softmax or sigmoid; JAX cannot tell.
        """
        if self.from_logits:
            refuse_probabilities(y_pred, self.name)
        # Keras would multiply by the weights after `call`, too late for the normalizer: pass them with the labels.
        labels = {"labels": y_true} if sample_weight is None else {"labels": y_true, "weights": sample_weight}
        return super().__call__(labels, y_pred)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of a batch, of shape `(1,)`, because Keras divides only scalars by the number of replicas."""
        loss = self.compute(y_true["labels"], y_pred, y_true.get("weights"))
        return ops.reshape(replicas.undivided(loss), (1,))

    def compute(self, y_true: Any, y_pred: Any, sample_weight: Any) -> Any:
        """Calls the function with the options of this loss."""
        return self.function(y_true, y_pred, sample_weight=sample_weight, **self.options)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {**self.options, "name": self.name}

    def _sum(self) -> "WeightedSum":
        return self if isinstance(self, WeightedSum) else WeightedSum([self], [1.0])

    def __mul__(self, factor: float) -> "WeightedSum":
        """The loss times a number."""
        return WeightedSum(self._sum().terms, [factor * own for own in self._sum().factors])

    __rmul__ = __mul__

    def __add__(self, other: "SegmentationLoss") -> "WeightedSum":
        """The sum of two losses."""
        if not isinstance(other, SegmentationLoss):
            raise TypeError(
                f"{self.name} and {type(other).__name__} cannot be added: write the latter as a function for "
                "kseg.losses.SegmentationLoss(function, name)"
            )
        one, two = self._sum(), other._sum()
        return WeightedSum([*one.terms, *two.terms], [*one.factors, *two.factors])


@keras.saving.register_keras_serializable(package="kseg")
class WeightedSum(SegmentationLoss):
    """A weighted sum of losses, usually written `CrossEntropy() + 0.5 * Dice()`.

    Args:
        terms: The losses.
        factors: One number per loss.
        name: Name of the loss. None makes one from the terms.

    Raises:
        ValueError: If some of the losses expect logits and others expect probabilities, or a factor is not positive.

    Example:
        >>> from kseg.losses import CrossEntropy, Dice
        >>> (CrossEntropy() + 0.5 * Dice()).name
        'cross_entropy_plus_0.5_dice'
    """

    def __init__(self, terms: Sequence[Any], factors: Sequence[float], name: str | None = None):
        self.terms = [keras.saving.deserialize_keras_object(t) if isinstance(t, dict) else t for t in terms]
        self.factors = [float(factor) for factor in factors]
        if len({term.from_logits for term in self.terms}) > 1:
            names = ", ".join(term.name for term in self.terms)
            raise ValueError(
                f"{names} cannot be added, because some expect logits and others probabilities: give all of them "
                "the same from_logits"
            )
        pairs = list(zip(self.factors, self.terms, strict=True))
        for factor, term in pairs:
            if not 0 < factor < math.inf:
                raise ValueError(f"the factor of {term.name} must be above 0, got {factor:g}")
        # TensorFlow uses the name as a scope, which must not contain blanks or signs.
        default = "_plus_".join(term.name if factor == 1 else f"{factor:g}_{term.name}" for factor, term in pairs)
        super().__init__(self.compute, name or default, from_logits=self.terms[0].from_logits)

    def compute(self, y_true: Any, y_pred: Any, sample_weight: Any) -> Any:
        """The weighted sum of the losses of a batch."""
        pairs = zip(self.factors, self.terms, strict=True)
        return sum(factor * term.compute(y_true, y_pred, sample_weight) for factor, term in pairs)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        terms = [keras.saving.serialize_keras_object(term) for term in self.terms]
        return {"terms": terms, "factors": self.factors, "name": self.name}
