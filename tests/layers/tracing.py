"""What differs between the backends in tests: gradients, compilers, sizes that are unknown until run time."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np


def value_and_gradient(function: Callable, *inputs: np.ndarray) -> tuple[float, np.ndarray]:
    """The sum of `function(*inputs)` and its gradient with respect to the first input."""
    first, *rest = (keras.ops.convert_to_tensor(value) for value in inputs)

    def total(x):
        return keras.ops.sum(function(x, *rest))

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(first)
            value = total(first)
        slope = tape.gradient(value, first)
    elif keras.backend.backend() == "jax":
        import jax

        value, slope = jax.value_and_grad(total)(first)
    else:
        first = first.detach().clone().requires_grad_()
        value = total(first)
        value.backward()
        slope = first.grad
    return float(keras.ops.stop_gradient(value)), keras.ops.convert_to_numpy(slope)


def gradient(function: Callable, *inputs: np.ndarray) -> np.ndarray:
    """The gradient of the sum of `function(*inputs)` with respect to the first input."""
    return value_and_gradient(function, *inputs)[1]


def at_unknown_size(function: Callable, *inputs: np.ndarray) -> np.ndarray:
    """Calls a function without static heights and widths, if the backend supports that."""
    if keras.backend.backend() == "tensorflow":  # JAX and PyTorch always have static sizes
        import tensorflow as tf

        specs = [tf.TensorSpec((None, None, None, x.shape[-1]), x.dtype) for x in inputs]
        function = tf.function(function, input_signature=specs)
    result = function(*(keras.ops.convert_to_tensor(x) for x in inputs))
    return keras.tree.map_structure(keras.ops.convert_to_numpy, result)


def computed(model: keras.Model, images: np.ndarray) -> Any:
    """The outputs of a model, by what its backend does with least tracing and compilation."""
    if keras.backend.backend() == "jax":
        return model.predict_on_batch(images)
    return keras.tree.map_structure(keras.ops.convert_to_numpy, model(images, training=False))


def compiled(function: Callable) -> Callable:
    """A function compiled by XLA, if the backend uses it: TensorFlow on a GPU, JAX everywhere."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=True)
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    return function
