import keras
import numpy as np
import pytest

from kseg import layers
from kseg.layers import FoldedModel


class Halved(keras.layers.Conv2D):
    def call(self, x):
        return super().call(x) / 2


class Raised(keras.layers.BatchNormalization):
    def call(self, x, training=None):
        return super().call(x, training=training) + 1


class Own(keras.Model):
    def __init__(self, inner, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner

    def call(self, x):
        return self.inner(x) * 2


class Doubled(keras.layers.Layer):
    """A layer without a complete configuration, as users write them."""

    def __init__(self, factor=1, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x):
        return x * self.factor


@pytest.fixture(scope="module")
def model():
    image = keras.Input((None, None, 3), name="image")
    part = keras.Input((None, None, 4))
    submodel = keras.Model(part, normed(layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2)(part)))
    x = submodel(normed(keras.layers.Conv2D(4, 3, use_bias=False, name="folded")(image)))
    x = layers.ASPP(4, (1, 2))(x)
    x = Doubled(2, name="foreign")(x)
    x = normed(keras.layers.Conv2D(4, 1, activation="relu")(x))
    y = keras.layers.Conv2D(4, 1)(x)
    shared = keras.layers.BatchNormalization()
    model = keras.Model(image, keras.layers.Add()([normed(y), y, shared(shared(x))]))
    randomize(model, 1)
    return model


def normed(x):
    return keras.layers.ReLU()(keras.layers.BatchNormalization()(x))


def randomize(model, seed):
    rng = np.random.default_rng(seed)
    model.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in model.weights])


def test_a_folded_model_computes_the_same(model):
    x = np.random.default_rng(2).normal(size=(1, 9, 10, 3)).astype("float32")
    folded = FoldedModel(model)
    for seed in (1, 2):
        randomize(model, seed)
        before = [w.copy() for w in model.get_weights()]
        folded.refresh()
        y = keras.ops.convert_to_numpy(model(x))
        np.testing.assert_allclose(keras.ops.convert_to_numpy(folded.net(x)), y, atol=1e-5 * np.abs(y).max())
        np.testing.assert_equal(model.get_weights(), before)


def test_only_normalization_after_a_convolution_is_folded(model):
    left = [weight for weight in FoldedModel(model).net.weights if "moving_mean" in weight.path]
    assert len(left) == 3  # after an activation, after a convolution that is used twice, called twice


def test_a_model_without_batch_normalization_is_not_copied():
    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.Conv2D(2, 1)(image))
    assert FoldedModel(model).net is model


def test_a_convolution_that_a_submodel_shares_is_not_folded():
    convolution, image = keras.layers.Conv2D(3, 1), keras.Input((None, None, 3))
    part = keras.Input((None, None, 3))
    submodel = keras.Model(part, normed(convolution(part)))
    model = keras.Model(image, submodel(convolution(image)))
    randomize(model, 3)
    x = np.random.default_rng(2).normal(size=(1, 4, 5, 3)).astype("float32")
    y = keras.ops.convert_to_numpy(model(x))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(FoldedModel(model).net(x)), y, atol=1e-5 * np.abs(y).max())


def test_subclasses_of_the_user_compute_what_they_computed():
    image, part = keras.Input((None, None, 3)), keras.Input((None, None, 3))
    inner = keras.Model(part, normed(keras.layers.Conv2D(3, 1)(part)))
    x = normed(keras.layers.Conv2D(3, 1)(Own(inner)(image)))
    x = keras.layers.BatchNormalization()(Halved(3, 1)(x))
    model = keras.Model(image, Raised()(keras.layers.Conv2D(3, 1)(x)))
    randomize(model, 4)
    x = np.random.default_rng(2).normal(size=(1, 4, 5, 3)).astype("float32")
    y = keras.ops.convert_to_numpy(model(x))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(FoldedModel(model).net(x)), y, atol=1e-5 * np.abs(y).max())
