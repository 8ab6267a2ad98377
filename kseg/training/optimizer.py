"""AdamW and SGD with a learning-rate factor per variable, and the polynomial learning-rate schedule."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kseg import replicas


@keras.saving.register_keras_serializable(package="kseg")
class PolynomialDecay(keras.optimizers.schedules.LearningRateSchedule):
    """The schedule `learning_rate * (1 - step / steps) ** power`, multiplied by a linear warm-up.

    Args:
        learning_rate: The rate at step 0 without warm-up.
        steps: The step at which the rate reaches 0.
        power: The exponent; 0 keeps the rate constant.
        warmup_steps: The length of the warm-up. It multiplies the rate of step k, from 0, by
            (k + 1) / (warmup_steps + 1).
        parts: Into how many parts a step is divided, each of which Keras counts as one (gradient accumulation).

    Reference:
        The "poly" policy of Chen et al.: DeepLab, 2016, https://arxiv.org/abs/1606.00915

    Example:
        >>> schedule = PolynomialDecay(1.0, steps=4, power=1.0, warmup_steps=1)
        >>> [round(float(schedule(step)), 3) for step in range(5)]
        [0.5, 0.75, 0.5, 0.25, 0.0]
    """

    def __init__(self, learning_rate: float, steps: int, *, power: float = 0.9, warmup_steps: int = 0, parts: int = 1):
        self.learning_rate = learning_rate
        self.steps = steps
        self.power = power
        self.warmup_steps = warmup_steps
        self.parts = parts

    def __call__(self, step):
        step = ops.cast(step if self.parts == 1 else ops.floor_divide(step, self.parts), "float32")
        rest = ops.maximum(1.0 - step / float(self.steps), 0.0)
        rise = ops.minimum((step + 1.0) / (self.warmup_steps + 1.0), 1.0)
        return self.learning_rate * rise * ops.power(rest, self.power)

    def get_config(self) -> dict[str, Any]:
        return dict(vars(self))


class _Factors:
    """Learning-rate factors and weight decay, shared by both optimizers; Keras's weight decay ignores the factors."""

    def _remember(self, factors: Sequence[float] | None, weight_decay: float, decay_norm: bool) -> None:
        self.factors = None if factors is None else tuple(float(factor) for factor in factors)
        self.decay = float(weight_decay)
        self.decay_norm = decay_norm
        self.slots: dict[int, tuple[int, str]] = {}  # id of a moment or average: id of its model variable, and its name

    def add_variable_from_reference(self, reference_variable, name=None, initializer="zeros"):
        made = super().add_variable_from_reference(reference_variable, name=name, initializer=initializer)  # type: ignore[misc]
        self.slots[id(made)] = (id(reference_variable), name)  # ids, since Keras would track variables twice
        return made

    def build(self, variables) -> None:
        if self.factors is not None and len(self.factors) != len(variables):
            raise ValueError(
                f"{len(self.factors)} factors for {len(variables)} trainable variables: compute them after freezing"
            )
        super().build(variables)  # type: ignore[misc]

    def apply(self, grads, trainable_variables=None):
        super().apply(replicas.add_gradients(list(grads)), trainable_variables)  # type: ignore[misc]

    def _all_reduce_sum_gradients(self, grads_and_vars):
        # Private to Keras, which adds the gradients of TensorFlow's replicas after clipping those of each.
        return list(grads_and_vars)

    def _update_model_variables_moving_average(self, trainable_variables) -> None:
        # Private to Keras, which with accumulated gradients also averages after parts that changed no weight, and which
        # on PyTorch copies three numbers per variable to the GPU and waits for each.
        parts = self.gradient_accumulation_steps or 1  # type: ignore[attr-defined]
        averages = self._model_variables_moving_average  # type: ignore[attr-defined]
        momentum = ops.where(self.iterations > 0, self.ema_momentum, 0.0)  # type: ignore[attr-defined]
        if parts > 1:
            last = (self._iterations + 1) % parts == 0  # type: ignore[attr-defined]
            momentum = ops.where(last, momentum, 1.0)
        if keras.backend.backend() == "torch":
            from kseg.training import torch_steps

            values = [[each.value for each in variables] for variables in (averages, trainable_variables)]
            torch_steps.average(values[0], values[1], momentum)
            return
        for variable, average in zip(trainable_variables, averages, strict=True):
            average.assign(momentum * average + (1 - momentum) * variable)

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        # Private to Keras, which calls it once per step. On PyTorch, Keras's own optimizers override it to update all
        # variables by a few operations, but subclasses get the loop over `update_step`.
        if keras.backend.backend() != "torch":
            super()._backend_update_step(grads, trainable_variables, learning_rate)  # type: ignore[misc]
            return
        from kseg.training.torch_steps import ordered

        groups: dict[tuple[Any, ...], list[Any]] = {}
        for gradient, variable in zip(grads, trainable_variables, strict=True):
            kind = self._factor(variable), self._decays(variable), variable.dtype
            gradient = ordered(gradient.to(variable.value.dtype), variable.value)
            groups.setdefault(kind, []).append((gradient, variable))
        for (factor, decays, dtype), pairs in groups.items():
            gradients, variables = zip(*pairs, strict=True)
            rate = ops.cast(learning_rate, dtype) * factor
            self._torch_step(gradients, variables, rate, self.decay if decays else 0.0)

    def _torch_step(self, gradients, variables, rate, decay: float) -> None:
        raise NotImplementedError

    def _values(self, slots, variables) -> list[Any]:
        """The tensors of the moments of some variables, each with its values in the order of the variable's."""
        from kseg.training.torch_steps import ordered

        found = [slots[self._get_variable_index(variable)].value for variable in variables]  # type: ignore[attr-defined]
        for moment, variable in zip(found, variables, strict=True):
            moment.data = ordered(moment.data, variable.value.data)
        return found

    def _factor(self, variable) -> float:
        # By identity: inside a step, TensorFlow passes its own variables, which have no path.
        return 1.0 if self.factors is None else self.factors[self._get_variable_index(variable)]  # type: ignore[attr-defined]

    def _rate(self, variable, learning_rate):
        return ops.cast(learning_rate, variable.dtype) * self._factor(variable)

    def _decays(self, variable) -> bool:
        return self.decay > 0 and (self.decay_norm or len(variable.shape) > 1)

    def get_config(self) -> dict[str, Any]:
        factors = None if self.factors is None else list(self.factors)
        own = {"factors": factors, "weight_decay": self.decay, "decay_norm": self.decay_norm}
        return super().get_config() | own  # type: ignore[misc]


@keras.saving.register_keras_serializable(package="kseg")
class AdamW(_Factors, keras.optimizers.Adam):
    """Adam with decoupled weight decay and a learning-rate factor per variable.

    Each step computes `variable -= rate * weight_decay * variable`, then the step of Adam, where `rate` is the learning
    rate times the factor of the variable.

    Args:
        learning_rate: A float or a schedule.
        weight_decay: The coefficient of the decay, relative to the rate.
        factors: One float per trainable variable, in the order of `model.trainable_variables`, as returned by
            `factors_of`. None for 1 everywhere.
        decay_norm: Whether biases and the scales and shifts of normalization (variables with one axis) decay too.
        **options: Other options of `keras.optimizers.Adam`.

    Reference:
        Loshchilov, Hutter: Decoupled Weight Decay Regularization, 2019, https://arxiv.org/abs/1711.05101
    """

    def __init__(self, learning_rate=1e-3, *, weight_decay=1e-2, factors=None, decay_norm=False, **options):
        super().__init__(learning_rate, **options)
        self._remember(factors, weight_decay, decay_norm)

    def update_step(self, gradient, variable, learning_rate):
        rate = self._rate(variable, learning_rate)
        if self._decays(variable):
            self.assign_sub(variable, ops.multiply(variable, rate * self.decay))
        if keras.backend.backend() == "tensorflow" and not self.amsgrad:
            self._tensorflow_step(gradient, variable, rate)
        else:
            super().update_step(gradient, variable, rate)

    def _tensorflow_step(self, gradient, variable, rate):
        """Computes Keras's step in one operation instead of twelve, each of which reads all weights from memory."""
        import tensorflow

        index = self._get_variable_index(variable)
        dtype = variable.dtype
        step = tensorflow.cast(self.iterations, dtype) + 1
        betas = [tensorflow.cast(beta, dtype) for beta in (self.beta_1, self.beta_2)]
        tensorflow.raw_ops.ResourceApplyAdam(
            var=(variable.value if isinstance(variable, keras.Variable) else variable).handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=betas[0] ** step,
            beta2_power=betas[1] ** step,
            lr=rate,
            beta1=betas[0],
            beta2=betas[1],
            epsilon=tensorflow.cast(self.epsilon, dtype),
            grad=tensorflow.cast(gradient, dtype),
        )

    def _torch_step(self, gradients, variables, rate, decay: float) -> None:
        from kseg.training import torch_steps

        torch_steps.adam(
            [*gradients],
            [variable.value for variable in variables],
            self._values(self._momentums, variables),
            self._values(self._velocities, variables),
            self._values(self._velocity_hats, variables) if self.amsgrad else None,
            rate=rate,
            step=ops.cast(self.iterations + 1, variables[0].dtype),
            decay=decay,
            betas=(self.beta_1, self.beta_2),
            epsilon=self.epsilon,
        )


@keras.saving.register_keras_serializable(package="kseg")
class SGD(_Factors, keras.optimizers.SGD):
    """Gradient descent with momentum and a learning-rate factor per variable.

    Weight decay is L2 regularization, as in papers that use SGD: it adds `weight_decay * variable` to the gradient.

    Args:
        learning_rate: A float or a schedule.
        weight_decay: The coefficient of the decay.
        factors: As in `AdamW`.
        decay_norm: As in `AdamW`.
        **options: Other options of `keras.optimizers.SGD`, e.g. `momentum`.
    """

    def __init__(self, learning_rate=1e-2, *, weight_decay=0.0, factors=None, decay_norm=False, **options):
        super().__init__(learning_rate, **options)
        self._remember(factors, weight_decay, decay_norm)

    def update_step(self, gradient, variable, learning_rate):
        if self._decays(variable):
            gradient = ops.cast(gradient, variable.dtype) + ops.multiply(variable, self.decay)
        super().update_step(gradient, variable, self._rate(variable, learning_rate))

    def _torch_step(self, gradients, variables, rate, decay: float) -> None:
        from kseg.training import torch_steps

        torch_steps.sgd(
            [*gradients],
            [variable.value for variable in variables],
            self._values(self.momentums, variables) if self.momentum else None,
            rate=rate,
            decay=decay,
            momentum=self.momentum,
            nesterov=self.nesterov,
        )


def factors_of(model: keras.Model, part: keras.layers.Layer, factor: float) -> list[float]:
    """Returns one factor per trainable variable of a model: `factor` within one part of it, 1 elsewhere."""
    inside = {id(variable) for variable in part.trainable_variables}
    return [factor if id(variable) in inside else 1.0 for variable in model.trainable_variables]


@contextlib.contextmanager
def averaged(model: keras.Model) -> Iterator[None]:
    """Replaces the weights of a model by the averages of its optimizer, if there are any, within the block."""
    variables = model.trainable_variables
    raw = [np.array(ops.convert_to_numpy(variable)) for variable in variables]
    model.optimizer.finalize_variable_values(variables)
    for variable in variables:  # a copy, since JAX assigns the arrays of the optimizer, which the next step deletes
        variable.assign(np.array(ops.convert_to_numpy(variable)))
    try:
        yield
    finally:
        for variable, value in zip(variables, raw, strict=True):
            variable.assign(value)
