"""What tests need that differs between the backends: gradients, compilers, sizes that are unknown until run time."""

from collections.abc import Callable

import keras
import numpy as np


def gradient(function: Callable, *inputs: np.ndarray) -> np.ndarray:
    """The gradient of sum(function(*inputs)) with respect to the first input."""
    first, *rest = (keras.ops.convert_to_tensor(value) for value in inputs)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(first)
            total = tf.reduce_sum(function(first, *rest))
        return tape.gradient(total, first).numpy()
    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.grad(lambda x: function(x, *rest).sum())(first))
    first = first.detach().clone().requires_grad_()
    function(first, *rest).sum().backward()
    return first.grad.cpu().numpy()


def at_unknown_size(function: Callable, *inputs: np.ndarray) -> np.ndarray:
    """Call the function so that it does not know heights and widths, where the backend has such a thing."""
    if keras.backend.backend() == "tensorflow":  # JAX and PyTorch always know the sizes when a layer runs
        import tensorflow as tf

        specs = [tf.TensorSpec((None, None, None, x.shape[-1]), x.dtype) for x in inputs]
        function = tf.function(function, input_signature=specs)
    result = function(*(keras.ops.convert_to_tensor(x) for x in inputs))
    return keras.tree.map_structure(keras.ops.convert_to_numpy, result)


def compiled(function: Callable) -> Callable:
    """A function as XLA computes it, where the backend has XLA: TensorFlow on a GPU, JAX everywhere."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=True)
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    return function
