import keras
import numpy as np
import pytest
import torch

from kseg.layers import Conv2D
from kseg.training import SGD, AdamW, PolynomialDecay
from kseg.training.optimizer import factors_of
from tests.reference import optimizers as reference

STEPS, BATCH = 5, 4
X = np.random.default_rng(0).normal(size=(STEPS * BATCH, 3)).astype("float32")
GRADIENTS = [X[step * BATCH : (step + 1) * BATCH].mean(0)[:, None] for step in range(STEPS)]


def two_parts():
    """A model x @ part + x @ rest + bias, so that the gradient of a mean of y is the mean of x for both kernels."""
    x = keras.Input((3,))
    part = keras.layers.Dense(1, use_bias=False, name="part")
    rest = keras.layers.Dense(1, name="rest", bias_initializer="ones")
    return keras.Model(x, keras.layers.add([part(x), rest(x)]))


def fitted(optimizer):
    model = optimizer.model
    model.compile(optimizer, loss=lambda y_true, y_pred: keras.ops.mean(y_pred))
    before = [np.array(value) for value in model.get_weights()]
    model.fit(X, np.zeros((len(X), 1), "float32"), batch_size=BATCH, epochs=1, shuffle=False, verbose=0)
    return before, model.get_weights()


def scaled(kind, factor, **options):
    model = two_parts()
    optimizer = kind(factors=factors_of(model, model.get_layer("part"), factor), **options)
    optimizer.model = model
    return optimizer


@pytest.mark.parametrize(("factor", "decay_norm"), [(0.1, True), (1.0, False), (0.0, True)])
def test_adamw_with_a_factor_is_adamw_with_the_rate_scaled(factor, decay_norm):
    """Biases decay only with `decay_norm`; a factor of 0 changes no bit."""
    schedule = PolynomialDecay(0.05, STEPS, power=0.9, warmup_steps=2)
    rates = [float(schedule(step)) for step in range(STEPS)]
    optimizer = scaled(AdamW, factor, learning_rate=schedule, weight_decay=0.3, decay_norm=decay_norm)
    (part, rest, bias), after = fitted(optimizer)
    slower, ones, decay = [factor * rate for rate in rates], [1.0] * STEPS, 0.3 * decay_norm
    np.testing.assert_allclose(after[0], reference.adamw(part, GRADIENTS, slower, weight_decay=0.3), atol=2e-6)
    np.testing.assert_allclose(after[1], reference.adamw(rest, GRADIENTS, rates, weight_decay=0.3), atol=2e-6)
    np.testing.assert_allclose(after[2], reference.adamw(bias, ones, rates, weight_decay=decay), atol=2e-6)
    assert factor or np.array_equal(after[0], part)


def test_sgd_with_a_factor_is_sgd_with_the_rate_scaled():
    rates = [0.1] * STEPS
    optimizer = scaled(SGD, 0.2, learning_rate=0.1, weight_decay=0.3, momentum=0.9)
    (part, rest, bias), after = fitted(optimizer)
    options = {"weight_decay": 0.3, "momentum": 0.9}
    np.testing.assert_allclose(after[0], reference.sgd(part, GRADIENTS, [0.02] * STEPS, **options), atol=2e-6)
    np.testing.assert_allclose(after[1], reference.sgd(rest, GRADIENTS, rates, **options), atol=2e-6)
    plain = reference.sgd(bias, [1.0] * STEPS, rates, weight_decay=0.0, momentum=0.9)
    np.testing.assert_allclose(after[2], plain, atol=2e-6)


def stepped(optimizer, steps=4):
    """The weights and the optimizer's variables after steps along random gradients, given as plain arrays."""
    rng = np.random.default_rng(1)
    kernel = Conv2D(4, 3)  # whose kernel is not stored row by row on PyTorch
    kernel.build((None, None, None, 5))
    variables = [kernel.kernel, kernel.bias, keras.Variable(np.zeros((2, 3), "float32"))]
    for variable in variables:
        variable.assign(rng.normal(size=variable.shape))
    optimizer.build(variables)
    for _ in range(steps):
        optimizer.apply([keras.ops.convert_to_tensor(rng.normal(size=v.shape), dtype="float32") for v in variables])
    return [np.array(keras.ops.convert_to_numpy(v)) for v in (*variables, *optimizer.variables)]


def one_by_one(kind):
    """A class of optimizers that updates the variables one after the other on every backend."""

    class OneByOne(kind):
        def _backend_update_step(self, grads, trainable_variables, learning_rate):
            for gradient, variable in zip(grads, trainable_variables, strict=True):
                self.update_step(gradient, variable, learning_rate)

    return OneByOne


OPTIONS = [
    {"factors": [0.1, 1.0, 0.0], "use_ema": True, "ema_momentum": 0.5},
    {"decay_norm": True, "clipnorm": 0.5, "gradient_accumulation_steps": 2},
    {"global_clipnorm": 0.5, "loss_scale_factor": 8.0, "use_ema": True, "ema_overwrite_frequency": 3},
    {"learning_rate": PolynomialDecay(0.1, 4), "special": True},  # its last step is short
    {"weight_decay": 0.0, "clipvalue": 0.1, "special": True, "factors": [1.0, 0.5, 0.5]},
]


@pytest.mark.parametrize("kind", [AdamW, SGD])
@pytest.mark.parametrize("options", OPTIONS if keras.backend.backend() == "torch" else OPTIONS[:1])
def test_a_step_equals_the_steps_of_the_variables_one_by_one(kind, options):
    options = {"learning_rate": 0.1, "weight_decay": 0.3} | options
    if options.pop("special", False):
        options |= {"amsgrad": True} if kind is AdamW else {"nesterov": True, "momentum": 0.9}
    for got, expected in zip(stepped(kind(**options)), stepped(one_by_one(kind)(**options)), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [AdamW, SGD])
def test_pytorch_updates_the_variables_together(kind, monkeypatch):
    """Keras calls a private method, which may change."""
    calls, single = [], kind.update_step
    monkeypatch.setattr(kind, "update_step", lambda *given: (calls.append(given), single(*given))[1])
    stepped(kind(), steps=1)
    assert len(calls) == (0 if keras.backend.backend() == "torch" else 3)


def test_adamw_is_that_of_pytorch():
    """With an epsilon that does not count, since Keras adds it before the bias correction and PyTorch after it."""
    own = {"factors": [0.1, 1.0, 0.5], "epsilon": 1e-30, "weight_decay": 0.3}
    start, after = stepped(AdamW(0.05, **own), steps=0)[:3], stepped(AdamW(0.05, **own), steps=4)[:3]
    weights = [torch.nn.Parameter(torch.tensor(array)) for array in start]
    groups = [
        {"params": [weight], "lr": 0.05 * factor, "weight_decay": 0.3 * (weight.ndim > 1)}
        for weight, factor in zip(weights, own["factors"], strict=True)
    ]
    reference, rng = torch.optim.AdamW(groups, eps=1e-30), np.random.default_rng(1)
    for array in start:
        rng.normal(size=array.shape)  # the first draws are the weights
    for _ in range(4):
        for weight in weights:
            weight.grad = torch.tensor(rng.normal(size=weight.shape), dtype=torch.float32)
        reference.step()
    for got, weight in zip(after, weights, strict=True):
        np.testing.assert_allclose(got, weight.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_factors_are_matched_by_identity_not_by_name():
    x = keras.Input((3,))
    twins = [keras.Sequential([keras.layers.Dense(1, name="same")], name=name) for name in ("one", "two")]
    model = keras.Model(x, keras.layers.add([twin(x) for twin in twins]))
    assert factors_of(model, twins[1], 0.1) == [1.0, 1.0, 0.1, 0.1]


def test_factors_of_another_model_are_refused():
    optimizer = AdamW(factors=[1.0])
    with pytest.raises(ValueError, match="1 factors for 3 trainable variables"):
        optimizer.build(two_parts().trainable_variables)


@pytest.mark.parametrize("kind", [AdamW, SGD])
def test_optimizers_and_schedule_survive_serialization(kind):
    schedule = PolynomialDecay(0.05, 10, power=0.5, warmup_steps=2)
    optimizer = kind(schedule, weight_decay=0.3, factors=[0.5, 1.0], decay_norm=True, global_clipnorm=1.0)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert type(again) is kind
    assert again.get_config() == optimizer.get_config()
    assert float(again.learning_rate) == float(optimizer.learning_rate)


def test_the_schedule_rises_linearly_and_falls_to_zero():
    schedule = PolynomialDecay(2.0, 100, power=0.9, warmup_steps=9)
    steps = np.arange(101)
    expected = 2.0 * np.minimum((steps + 1) / 10, 1) * (1 - steps / 100) ** 0.9
    np.testing.assert_allclose([float(schedule(step)) for step in steps], expected, rtol=1e-5)
    assert float(schedule(1000)) == 0.0
