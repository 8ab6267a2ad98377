"""Seeds, precision and determinism: what a run sets for the whole process, and puts back where it can."""

import contextlib
import os
from collections.abc import Iterator

import keras
import numpy as np

from kseg.training.recipe import Recipe


@contextlib.contextmanager
def settings(recipe: Recipe) -> Iterator[None]:
    """Applies a recipe's seed, precision and determinism while the block runs.

    Args:
        recipe: `seed`, `precision` and `deterministic` are read. On TensorFlow determinism stays on for the process.
    """
    policy = keras.config.dtype_policy()
    keras.utils.set_random_seed(recipe.seed)
    keras.config.set_dtype_policy(recipe.precision)
    backend = keras.backend.backend()
    if recipe.deterministic and backend == "tensorflow":
        import tensorflow

        tensorflow.config.experimental.enable_op_determinism()
    elif recipe.deterministic and backend == "torch":
        import torch

        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it PyTorch refuses to multiply on a GPU
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)
        if recipe.deterministic and backend == "torch":
            torch.use_deterministic_algorithms(False)


def begin_epoch(recipe: Recipe, epoch: int) -> None:
    """Makes what is drawn from here on depend on the seed and the epoch alone, on PyTorch.

    Dropout draws there from the backend's own generator, whose state is in no checkpoint, not from the layer's seed.

    Args:
        recipe: Its `seed` is read.
        epoch: From 0.
    """
    if keras.backend.backend() == "torch":
        import torch

        torch.manual_seed(int(np.random.SeedSequence([recipe.seed, epoch]).generate_state(1)[0]))
