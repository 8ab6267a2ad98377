"""Numbers of channels other than three."""

import keras
import numpy as np
import pytest

from kseg import encoders
from tests.layers.tracing import computed

pytestmark = pytest.mark.usefixtures("numpy_initializers")


def finest(channels: int) -> keras.Model:
    """From an image to the first feature. The layers behind it do not depend on the channels of the image."""
    inputs = keras.Input((None, None, channels))
    return keras.Model(inputs, encoders.extract(inputs, "efficientnet_lite0").by_stride[2])


@pytest.mark.parametrize(("channels", "repeats"), [(1, 3), (3, 2), (3, 3)])
def test_repeated_channels_give_the_same_features(channels, repeats):
    image = np.random.default_rng(0).uniform(0, 255, (1, 65, 64, channels)).astype("float32")
    repeated = np.tile(image, (1, 1, 1, repeats))
    once, often = (computed(finest(given.shape[-1]), given) for given in (image, repeated))
    np.testing.assert_allclose(once, often, atol=1e-4)


@pytest.mark.parametrize("channels", [2, 4, 5])
def test_imagenet_kernels_are_repeated_cyclically_and_keep_their_scale(channels):
    def first_kernel(channels):
        return keras.ops.convert_to_numpy(finest(channels).trainable_weights[0])

    expected = np.concatenate([first_kernel(3)] * 2, axis=2)[:, :, :channels] * 3 / channels
    np.testing.assert_allclose(first_kernel(channels), expected, rtol=1e-6)
