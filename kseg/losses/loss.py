"""What every loss has in common: pixel weights, sums, configuration."""

import difflib
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops


class SegmentationLoss(keras.losses.Loss):
    """A pure function `(y_true, y_pred, *, sample_weight, **options)` as a loss for `compile`: one number a batch.

    `sample_weight` given to `fit` may be one number a pixel. There is no `reduction`: the normaliser is part of the
    loss. Under `tf.distribute` each replica normalises by its own pixels. Losses can be weighted and added:
    `CrossEntropy() + 0.5 * Dice()`.

    Args:
        name: name of the loss; None for the function's.
        **options: the function's keyword arguments; the class's signature shows them.

    Raises:
        TypeError: the function has no such argument.
    """

    function: Callable[..., Any]

    def __init_subclass__(cls) -> None:
        """Shows the function's options as the constructor's, for `help` and for recipes."""
        super().__init_subclass__()
        if "function" in vars(cls):
            given = inspect.signature(cls.function).parameters.values()
            options = [option for option in given if option.kind is option.KEYWORD_ONLY]
            name = inspect.Parameter("name", inspect.Parameter.KEYWORD_ONLY, default=None)
            options = [option for option in options if option.name != "sample_weight"]
            cls.__signature__ = inspect.Signature([*options, name])

    def __init__(self, *, name: str | None = None, **options: Any):
        known = inspect.signature(type(self)).parameters
        for option in options:
            if option not in known:
                near = difflib.get_close_matches(option, known, n=1) or [key for key in known if key != "name"]
                told = f"{type(self).__name__} has no option {option!r}: did you mean {' or '.join(near)}?"
                raise TypeError(told)
        super().__init__(name=name or self.function.__name__, dtype="float32")
        defaults = {key: option.default for key, option in known.items() if key != "name"}
        if options.get("class_weights") is not None:
            options["class_weights"] = [float(weight) for weight in options["class_weights"]]
        self.options = defaults | options

    @property
    def from_logits(self) -> bool:
        """Whether the model's output is logits."""
        return self.options["from_logits"]

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Loss of a batch, a float32 scalar; arguments as in the function."""
        # Keras would multiply by the weights after `call`, too late for the normaliser: they travel with the labels.
        labels = {"labels": y_true} if sample_weight is None else {"labels": y_true, "weights": sample_weight}
        return super().__call__(labels, y_pred)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The batch's loss, shape `(1,)`: Keras divides anything but scalars by the number of replicas."""
        return ops.reshape(self.compute(y_true["labels"], y_pred, y_true.get("weights")), (1,))

    def compute(self, y_true: Any, y_pred: Any, sample_weight: Any) -> Any:
        """The function with this loss's options."""
        return self.function(y_true, y_pred, sample_weight=sample_weight, **self.options)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {**self.options, "name": self.name}

    def __mul__(self, factor: float) -> "WeightedSum":
        """The loss times a number."""
        return WeightedSum([self], [factor])

    __rmul__ = __mul__

    def __add__(self, other: "SegmentationLoss") -> "WeightedSum":
        """The sum of two losses, of weighted ones too."""
        return _as_sum(self) + other


@keras.saving.register_keras_serializable(package="kseg")
class WeightedSum(SegmentationLoss):
    """A sum of losses with weights; written `CrossEntropy() + 0.5 * Dice()`.

    Args:
        terms: the losses.
        factors: one number a loss.
        name: name of the loss.

    Raises:
        ValueError: some of the losses expect logits and some probabilities.

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
            raise ValueError(f"{names} cannot be added: some expect logits, some probabilities; set from_logits alike")
        pairs = zip(self.factors, self.terms, strict=True)
        # TensorFlow makes a scope of it, in which neither blanks nor signs may stand.
        told = "_plus_".join(term.name if factor == 1 else f"{factor:g}_{term.name}" for factor, term in pairs)
        super().__init__(name=name or told)

    def compute(self, y_true: Any, y_pred: Any, sample_weight: Any) -> Any:
        """The sum."""
        pairs = zip(self.factors, self.terms, strict=True)
        return sum(factor * term.compute(y_true, y_pred, sample_weight) for factor, term in pairs)

    @property
    def from_logits(self) -> bool:
        """Whether the model's output is logits."""
        return self.terms[0].from_logits

    def __mul__(self, factor: float) -> "WeightedSum":
        """The sum times a number."""
        return WeightedSum(self.terms, [factor * own for own in self.factors])

    __rmul__ = __mul__

    def __add__(self, other: SegmentationLoss) -> "WeightedSum":
        """The sum with one more loss, or with another sum."""
        other = _as_sum(other)
        return WeightedSum([*self.terms, *other.terms], [*self.factors, *other.factors])

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        terms = [keras.saving.serialize_keras_object(term) for term in self.terms]
        return {"terms": terms, "factors": self.factors, "name": self.name}


def _as_sum(loss: SegmentationLoss) -> WeightedSum:
    return loss if isinstance(loss, WeightedSum) else WeightedSum([loss], [1.0])
