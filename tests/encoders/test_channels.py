"""Numbers of channels other than three."""

import keras
import numpy as np
import pytest

from kseg import encoders

pytestmark = pytest.mark.usefixtures("numpy_initializers")


def features(name: str, image: np.ndarray, weights: str | None = "imagenet") -> list[np.ndarray]:
    inputs = keras.Input(image.shape[1:])
    model = keras.Model(inputs, list(encoders.extract(inputs, name, weights=weights).by_stride.values()))
    return model.predict(image, verbose=0)


@pytest.mark.parametrize(("channels", "repeats"), [(1, 3), (3, 2), (3, 3)])
def test_repeated_channels_give_the_same_features(channels, repeats):
    image = np.random.default_rng(0).uniform(0, 255, (1, 65, 64, channels)).astype("float32")
    repeated = np.tile(image, (1, 1, 1, repeats))
    for once, often in zip(
        features("efficientnet_lite0", image), features("efficientnet_lite0", repeated), strict=True
    ):
        np.testing.assert_allclose(once, often, atol=1e-4)
