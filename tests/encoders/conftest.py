"""Random weights drawn by NumPy: JAX compiles its own initializers once a shape, which takes longer than the tests."""

import keras
import numpy as np
import pytest


@pytest.fixture(autouse=True)
def numpy_initializers(monkeypatch):
    rng = np.random.default_rng(0)

    def draw(self, shape, dtype=None):
        fan_in = np.prod(shape[:-1]) if len(shape) > 1 else 1
        return keras.ops.convert_to_tensor(rng.normal(0, fan_in**-0.5, shape).astype("float32"), dtype=dtype)

    monkeypatch.setattr(keras.initializers.VarianceScaling, "__call__", draw)
