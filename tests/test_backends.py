"""The promise on the front page: the same weights give the same logits on every backend."""

import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

from kseg import pretrained, zoo

ROOT = pathlib.Path(__file__).parents[1]
IMAGE = np.random.default_rng(0).integers(0, 256, (1, 65, 97, 3)).astype("uint8")
ARGUMENTS = {
    "fcn8": {"encoder": "efficientnet_lite0"},
    "unet": {"encoder": "efficientnet_lite0"},
    "deeplabv3": {"encoder": "efficientnet_lite0"},
}
ELSEWHERE = """
import sys, numpy as np
from kseg import zoo
image, *files = sys.argv[1:]
for file in files:
    np.save(file + ".npy", zoo.load(file).predict_on_batch(np.load(image)))
"""


@pytest.fixture(scope="module")
def logits(numpy_initializers, tmp_path_factory):
    """Of each builder: here, and in a process of another backend that reads the weight file."""
    folder = tmp_path_factory.mktemp("weights")
    np.save(folder / "image.npy", IMAGE)
    here, files = {}, []
    for builder, arguments in ARGUMENTS.items():
        model = zoo.build(builder, 5, encoder_weights=None, **arguments)
        file = folder / f"{builder}.safetensors"
        pretrained.save(model, file, builder=builder, arguments={"num_classes": 5, **arguments})
        here[builder] = model.predict_on_batch(IMAGE)
        files.append(str(file))
    other = "tensorflow" if keras.backend.backend() == "torch" else "torch"
    command = [sys.executable, "-c", ELSEWHERE, str(folder / "image.npy"), *files]
    subprocess.run(command, cwd=ROOT, env=os.environ | {"KERAS_BACKEND": other}, check=True)
    return {builder: (here[builder], np.load(folder / f"{builder}.safetensors.npy")) for builder in ARGUMENTS}


@pytest.mark.parametrize("builder", ARGUMENTS)
def test_the_same_weights_give_the_same_logits_on_another_backend(builder, logits):
    here, there = logits[builder]
    assert np.ptp(here) > 0
    assert np.abs(here - there).max() < 1e-4 * np.ptp(here)
