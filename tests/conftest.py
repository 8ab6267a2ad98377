"""Fixtures that several folders share."""

import sys

import keras
import numpy as np
import pytest

# PyTorch's builds for GPUs bring triton, whose library crashes a process that has loaded TensorFlow. PyTorch imports
# triton with its compiler, which the tests' reference networks load but do not use. Under Keras's PyTorch backend
# triton is already imported here, before TensorFlow, which does no harm.
sys.modules.setdefault("triton", None)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def numpy_initializers():
    """Random weights drawn by NumPy: JAX compiles its own initializers once a shape, longer than the tests take."""
    rng = np.random.default_rng(0)

    def draw(self, shape, dtype=None):
        fan_in = np.prod(shape[:-1]) if len(shape) > 1 else 1
        return keras.ops.convert_to_tensor(rng.normal(0, fan_in**-0.5, shape).astype("float32"), dtype=dtype)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.initializers.VarianceScaling, "__call__", draw)
        yield


@pytest.fixture(scope="session")
def torchvision():
    """torchvision, which timm and segmentation-models-pytorch import too: ask for this fixture before they do."""
    from benchmarks.peers import torchvision

    return torchvision.load()


@pytest.fixture
def without_memory():
    """Lets models be built whose weights would take gigabytes: they never get values."""
    with keras.StatelessScope(initialize_variables=False):
        yield
    keras.utils.clear_session()  # forgets the variables that wait for values
