"""The same weights give the same logits and the same training step on every backend.

Each run compares the backend under test with PyTorch, and PyTorch with TensorFlow, so all three agree if the suite
passes on all three. `python -m tests.test_backends FOLDER` computes the results of the other backend in a new process,
unless a backend that `python -m tests` tested before has left them in RESULTS.
"""

import os
import pathlib
import subprocess
import sys
import zlib

import keras
import numpy as np
import pytest

from kseg import losses, pretrained, zoo
from kseg.zoo.measure import layers_of
from tests.zoo.cheap import CHEAP

ROOT = pathlib.Path(__file__).parents[1]
RESULTS = os.environ.get("KSEG_TEST_RESULTS")
CLASSES = 5
# In float32 the gradients of SegNet's 26 normalized layers agree to about 1 % of the largest gradient; those of PIDNet,
# which normalizes maps of a few pixels, to about as much.
LEARNING_RATE = {"segnet": 1e-3, "pidnet": 1e-3}


# Without dropout, whose random numbers differ between backends.
ARGUMENTS = {
    builder: arguments | ({"dropout": 0.0} if "dropout" in zoo.BUILDERS[builder].options else {})
    for builder, arguments in CHEAP.items()
}
RUNS = ("logits", "step", "compiled step with frozen norm")


def draw(key, shape):
    """Returns random values for a variable that depend only on its name."""
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    if key.endswith(("gamma", "moving_variance")):
        return rng.uniform(0.5, 1.5, shape).astype("float32")
    fan_in = np.prod(shape[:-1]) if len(shape) > 1 else 100
    return rng.normal(0, fan_in**-0.5, shape).astype("float32")


def compute(builder, file=None):
    """Returns the logits of a builder's model, and the loss and weights after one step of SGD."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 65, 97, 3)).astype("float32")
    labels = rng.integers(0, CLASSES, (2, 65, 97)).astype("uint8")
    labels[:, :3] = 255
    found = {}
    for run in RUNS:
        model = zoo.build(builder, CLASSES, **ARGUMENTS[builder])
        if file is not None and file.exists():
            pretrained.load(model, file)
        else:
            pretrained.load(model, {k: draw(k, tuple(v.shape)) for k, v in pretrained.weight_keys(model).items()})
            if file is not None:
                pretrained.save(model, file)
        if run == "logits":
            found[run] = model.predict_on_batch(images)
            continue
        norms = [part for part in layers_of(model) if isinstance(part, keras.layers.BatchNormalization)]
        for norm in norms:
            norm.trainable = run == "step"
        # One of the steps uses XLA, as Keras does for all steps on a GPU. PyTorch has no compiler by default.
        jit = True if run == "compiled step with frozen norm" and keras.backend.backend() != "torch" else "auto"
        optimizer = keras.optimizers.SGD(LEARNING_RATE.get(builder, 1e-2))
        model.compile(optimizer, losses.CrossEntropy(), jit_compile=jit)
        found[f"{run}: loss"] = np.asarray(float(model.train_on_batch(images, labels)))
        for key, variable in pretrained.weight_keys(model).items():
            found[f"{run}: {key}"] = keras.ops.convert_to_numpy(variable)
    return found


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Returns the results of every builder on this backend, and on another one with the same weight files."""
    folder = pathlib.Path(RESULTS or tmp_path_factory.mktemp("results"))
    main(folder)
    here = keras.backend.backend()
    other = "tensorflow" if here == "torch" else "torch"
    if not all(stored(folder, builder, other).exists() for builder in ARGUMENTS):
        command = [sys.executable, "-m", "tests.test_backends", str(folder)]
        subprocess.run(command, cwd=ROOT, env=os.environ | {"KERAS_BACKEND": other}, check=True)
    found = {}
    for builder in ARGUMENTS:
        with np.load(stored(folder, builder, here)) as ours, np.load(stored(folder, builder, other)) as theirs:
            found[builder] = dict(ours), dict(theirs)
    return found


def test_every_builder_is_compared():
    assert ARGUMENTS.keys() == zoo.BUILDERS.keys()


@pytest.mark.parametrize("builder", ARGUMENTS)
def test_the_same_weight_file_gives_the_same_logits(builder, both):
    here, there = (results["logits"] for results in both[builder])
    assert np.ptp(here) > 0
    assert np.abs(here - there).max() < 1e-4 * np.ptp(here)


@pytest.mark.parametrize("run", RUNS[1:])
@pytest.mark.parametrize("builder", ARGUMENTS)
def test_one_training_step_gives_the_same_loss_and_weights(builder, run, both):
    here, there = both[builder]
    assert here[f"{run}: loss"] == pytest.approx(there[f"{run}: loss"], rel=1e-4)
    moved = 0.0
    for key in (key for key in here if key.startswith(f"{run}: ") and key != f"{run}: loss"):
        start = draw(key.removeprefix(f"{run}: "), here[key].shape)
        moved = max(moved, np.abs(here[key] - start).max())
        # Rounding of the weights, and of the change: as precise as the logits, on which it depends.
        allowed = 1e-5 * max(1, np.abs(start).max()) + 1e-4 * np.abs(here[key] - start).max()
        assert np.abs(here[key] - there[key]).max() < allowed, key
        if "frozen" in run and f"{key.rpartition('/')[0]}/moving_mean" in here:
            np.testing.assert_array_equal(here[key], start)
    assert moved > 1e-2 * LEARNING_RATE.get(builder, 1e-2)


def stored(folder, builder, backend):
    return folder / f"{builder}-{backend}.npz"


def main(folder):
    for builder in ARGUMENTS:
        found = compute(builder, folder / f"{builder}.safetensors")
        np.savez(stored(folder, builder, keras.backend.backend()), **found)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
