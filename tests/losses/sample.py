"""Random labels and logits, and a loss's gradient by whichever backend runs."""

import keras
import numpy as np
from keras import ops


def sample(classes=4, shape=(2, 5, 6), seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, shape).astype("uint8")
    labels[rng.random(shape) < 0.2] = 255
    return labels, rng.normal(scale=3, size=(*shape, classes)).astype("float32")


def value_and_gradient(function, x):
    """The scalar `function(x)` and its gradient, by the backend."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        x = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = function(x)
        gradient = tape.gradient(value, x)
    elif keras.backend.backend() == "jax":
        import jax

        value, gradient = jax.value_and_grad(function)(x)
    else:
        import torch

        x = ops.convert_to_tensor(x).clone().requires_grad_()
        value = function(x)
        (gradient,) = torch.autograd.grad(value, x)
    return float(ops.stop_gradient(value)), ops.convert_to_numpy(gradient)
