"""`model.fit` accepts all common loaders with kseg's loss and scores."""

import keras
import numpy as np
import pytest

from kseg import data, losses, metrics
from tests.data.folders import Pairs

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 16, 24, 3)).astype("uint8")
LABELS = np.where(IMAGES[..., 1] > 250, 255, IMAGES[..., 0] // 86).astype("uint8")


def _tf_data():
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(2)


def _torch():
    import torch

    pairs = torch.utils.data.TensorDataset(torch.from_numpy(IMAGES), torch.from_numpy(LABELS))
    return torch.utils.data.DataLoader(pairs, batch_size=2)


LOADERS = {
    "numpy": lambda: (IMAGES, LABELS),
    "tf.data": _tf_data,
    "torch": _torch,
    "grain": lambda: data.loader(Pairs(zip(IMAGES, LABELS, strict=True)), batch_size=2),  # infinite
}


@pytest.mark.parametrize("kind", LOADERS)
def test_fit_accepts_the_loader(kind):
    image = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 255)(image)
    model = keras.Model(image, keras.layers.Conv2D(3, 1, kernel_initializer="zeros")(x))
    model.compile(keras.optimizers.SGD(0.0), losses.CrossEntropy(), metrics=[metrics.SegmentationScores(3)])
    loader = LOADERS[kind]()
    arrays = {"x": loader[0], "y": loader[1], "batch_size": 2} if isinstance(loader, tuple) else {"x": loader}
    logs = model.fit(**arrays, steps_per_epoch=3, shuffle=False, verbose=0).history
    # Zero logits: every pixel costs log 3 and is predicted as class 0.
    assert logs["loss"][0] == pytest.approx(np.log(3), rel=1e-5)
    assert logs["pixel_accuracy"][0] == pytest.approx((LABELS == 0).sum() / (LABELS != 255).sum(), rel=1e-5)
