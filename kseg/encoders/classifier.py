"""The fully connected layers of an ImageNet classifier, as convolutions."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np


@dataclass(frozen=True)
class Classifier:
    """The two hidden fully connected layers of VGG, which FCN and DeepLab V1 and V2 turn into convolutions.

    Attributes:
        network: Builds the classifier, `keras.applications.VGG16` or `VGG19`.
        width: Number of filters of both.
        kernel_size: Height and width of the feature that the first one takes.
    """

    network: Callable[..., keras.Model]
    width: int = 4096
    kernel_size: int = 7

    def weights(
        self, *, kernel_size: int | None = None, width: int | None = None
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Returns the ImageNet weights of both layers as weights of convolutions, optionally decimated.

        Decimation keeps every k-th position of the first kernel and every k-th filter of both layers, without
        rescaling. DeepLab V1 and V2 use `kernel_size=3, width=1024`.

        Args:
            kernel_size: Height and width of the first kernel; None for all positions.
            width: Number of filters of both layers; None for all filters.

        Returns:
            Kernel and bias of fc6, `(kernel_size, kernel_size, C, width)` and `(width,)`, then of fc7,
            `(1, 1, width, width)` and `(width,)`.

        Raises:
            ValueError: If positions or filters cannot be chosen at equal distances.

        Reference:
            Chen, Papandreou, Kokkinos, Murphy, Yuille: Semantic Image Segmentation with Deep Convolutional Nets and
            Fully Connected CRFs, 2014, section 3.2, https://arxiv.org/abs/1412.7062
        """
        kernel_size, width = kernel_size or self.kernel_size, width or self.width
        apart, rest = divmod(self.kernel_size - 1, max(1, kernel_size - 1))
        if rest or kernel_size > self.kernel_size or self.width % width:
            raise ValueError(
                f"{self.kernel_size}x{self.kernel_size}x{self.width} cannot be decimated to "
                f"{kernel_size}x{kernel_size}x{width} at equal distances"
            )
        network = self.network(weights="imagenet", include_top=True)
        (fc6, fc6_bias), (fc7, fc7_bias) = (network.get_layer(name).get_weights() for name in ("fc1", "fc2"))
        fc6 = fc6.reshape(self.kernel_size, self.kernel_size, -1, self.width)
        every = self.width // width
        return [
            (fc6[::apart, ::apart, :, ::every], fc6_bias[::every]),
            (fc7[None, None, ::every, ::every], fc7_bias[::every]),
        ]
