"""Fixtures for the examples in docstrings, which lie outside this folder."""

import keras
import numpy as np
import pytest


@pytest.fixture(scope="module")
def numpy_initializers():
    """Draws initial weights with NumPy: JAX compiles its initializers for each shape, which takes longer than tests."""
    rng = np.random.default_rng(0)

    def draw(self, shape, dtype=None):
        fan_in = np.prod(shape[:-1]) if len(shape) > 1 else 1
        return keras.ops.convert_to_tensor(rng.normal(0, fan_in**-0.5, shape).astype("float32"), dtype=dtype)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.initializers.VarianceScaling, "__call__", draw)
        yield


@pytest.fixture(autouse=True)
def fast_examples(request):
    """Draws the initial weights of examples with NumPy."""
    if isinstance(request.node, pytest.DoctestItem):
        request.getfixturevalue("numpy_initializers")
