"""Baselines without an encoder and a decoder: classification of patches, and convolution at full resolution."""

import os
from collections.abc import Sequence
from typing import Any

import keras

from kseg import encoders
from kseg.layers import Conv2D, ConvNormAct, SegmentationHead
from kseg.zoo._builder import builder


@builder
def patch_classifier(
    num_classes: int,
    *,
    patch_size: int = 33,
    filters: Sequence[int] = (32, 64),
    units: int = 128,
    weights: str | os.PathLike | None = None,
    channels: int = 3,
) -> keras.Model:
    """Builds a small classifier of the center pixel of a patch.

    Each level has two convolutions and a pooling; two dense layers follow. The model is not in `BUILDERS`;
    `convolutionalize` turns it into a segmentation model. Save it with `model.save`.

    Args:
        patch_size: Height and width of the patch in pixels, odd.
        filters: Number of channels of the levels.
        units: Number of units of the hidden dense layer.
        channels: Number of channels of the image.

    Returns:
        A model from patches `(N, patch_size, patch_size, C)`, 0 to 255, to logits `(N, num_classes)`.

    Raises:
        ValueError: If `patch_size` is even or too small for the levels.

    Reference:
        Ciresan, Giusti, Gambardella, Schmidhuber: Deep Neural Networks Segment Neuronal Membranes in Electron
        Microscopy Images, 2012

    Example:
        >>> patch_classifier(5).output_shape
        (None, 5)
    """
    if patch_size % 2 == 0:
        raise ValueError(f"patch_size must be odd to have a center, got {patch_size}")
    image = keras.Input((patch_size, patch_size, channels), name="image")
    x = encoders.channels.IMAGENET.layer(channels)(image)
    for level, width in enumerate(filters, start=1):
        if x.shape[1] < 6:
            raise ValueError(f"patch_size={patch_size} is too small for {len(filters)} levels: nothing is left")
        for index in (1, 2):
            x = Conv2D(width, 3, activation="relu", kernel_initializer="he_normal", name=f"conv{level}_{index}")(x)
        x = keras.layers.MaxPooling2D(2, name=f"pool{level}")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dense(units, activation="relu", kernel_initializer="he_normal", name="hidden")(x)
    logits = keras.layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name="patch_classifier")


def convolutionalize(model: keras.Model, *, padding: str = "valid") -> keras.Model:
    """Turns a classifier of patches into a model that classifies every patch of an image at once.

    Strides become dilation of the layers after them, and the dense layer on the flattened feature becomes a convolution
    of the size of that feature. The output equals the outputs of the classifier on a sliding window.

    Args:
        model: A chain of convolutions without padding, 2x2 pooling, Flatten, Dense, activations and dropout, e.g.
            `patch_classifier`. Its weights are copied.
        padding: `"valid"`, or `"same"` to pad the image with zeros, so that every pixel is the center of a patch.

    Returns:
        A model from images `(N, H, W, C)` to `(N, H - P + 1, W - P + 1, num_classes)` for patches of P x P pixels, or
        to `(N, H, W, num_classes)` with `padding="same"`.

    Raises:
        ValueError: If a layer cannot be converted; the message names it.

    Reference:
        Sermanet et al.: OverFeat, 2013, https://arxiv.org/abs/1312.6229. For the dilation: Giusti et al.: Fast Image
        Scanning with Deep Max-Pooling Convolutional Neural Networks, 2013, https://arxiv.org/abs/1302.1700

    Example:
        >>> convolutionalize(patch_classifier(5)).compute_output_shape((1, 40, 50, 3))
        (1, 8, 18, 5)
    """
    if padding not in ("valid", "same"):
        raise ValueError(f'padding is "valid" or "same", got {padding!r}')
    _, *side, channels = model.input_shape
    image = keras.Input((None, None, channels), name="image")
    x, rate = image, 1
    if padding == "same":
        x = keras.layers.ZeroPadding2D([(n // 2, n - 1 - n // 2) for n in side], name="surround")(x)
    flat: tuple[int, ...] = ()  # shape of the flattened feature that the next dense layer takes
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer):  # a Sequential lists none
            continue
        if isinstance(layer, keras.layers.Flatten):
            flat = tuple(layer.input.shape[1:])
            continue
        x = _dense_form(layer, rate, flat)(x)
        if isinstance(layer, keras.layers.MaxPooling2D | keras.layers.AveragePooling2D):
            x = keras.layers.Cropping2D(((0, rate), (0, rate)), name=f"{layer.name}_crop", dtype=x.dtype)(x)
        if isinstance(layer, keras.layers.Dense):
            flat = (1, 1)
        rate *= getattr(layer, "strides", (1, 1))[0]
    found = keras.Model(image, x).compute_output_shape((1, *side, channels))[1:3]
    wanted = side if padding == "same" else (1, 1)
    margin = [(0, more - size) for more, size in zip(found, wanted, strict=True)]
    if any(after for _, after in margin):  # pixels of the patch that no output uses, because sizes were rounded down
        x = keras.layers.Cropping2D(margin, name="crop", dtype=x.dtype)(x)
    dense = keras.Model(image, x, name=f"{model.name}_convolutional")
    for layer in model.layers:
        if layer.weights:
            target = dense.get_layer(layer.name)
            shapes = [variable.shape for variable in target.weights]
            target.set_weights([w.reshape(shape) for w, shape in zip(layer.get_weights(), shapes, strict=True)])
    return dense


def _dense_form(layer: keras.layers.Layer, rate: int, flat: tuple[int, ...]) -> keras.layers.Layer:
    config: dict[str, Any] = layer.get_config()
    if isinstance(layer, keras.layers.MaxPooling2D | keras.layers.AveragePooling2D):
        if layer.padding == "valid" and tuple(layer.pool_size) == (2, 2) and len(set(layer.strides)) == 1:
            return encoders.atrous.AtrousPooling2D(
                "max" if isinstance(layer, keras.layers.MaxPooling2D) else "average", rate, name=layer.name
            )
    elif isinstance(layer, keras.layers.Conv2D) and not isinstance(layer, keras.layers.DepthwiseConv2D):
        if layer.padding == "valid" and len(set(layer.strides)) == len(set(layer.dilation_rate)) == 1:
            return Conv2D.from_config(config | {"strides": 1, "dilation_rate": layer.dilation_rate[0] * rate})
    elif isinstance(layer, keras.layers.Dense):
        if flat:
            names = ("name", "dtype", "activation", "use_bias")
            kept = {name: config[name] for name in names}
            return Conv2D.from_config(kept | {"filters": layer.units, "kernel_size": flat[:2], "dilation_rate": rate})
    elif isinstance(
        layer,
        keras.layers.Rescaling
        | keras.layers.BatchNormalization
        | keras.layers.Activation
        | keras.layers.ReLU
        | keras.layers.Dropout,
    ):
        return layer.__class__.from_config(config)
    raise ValueError(
        f"{layer.name!r} ({layer.__class__.__name__}) cannot be converted: the layers must be Conv2D without "
        "padding and with square strides, 2x2 pooling, Flatten, Dense, BatchNormalization, Activation, ReLU or Dropout"
    )


@builder
def full_resolution(
    num_classes: int,
    *,
    filters: Sequence[int] = (64, 64, 64, 64, 64, 64),
    activation: str | None = None,
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] = (None, None, 3),
) -> keras.Model:
    """Builds a stack of 3x3 convolutions at full resolution, as a baseline for the cost of models with an encoder.

    Args:
        filters: Number of channels of the convolutions; each adds 2 pixels to the receptive field.

    Example:
        >>> full_resolution(3, filters=(8, 8), input_shape=(33, 40, 3)).output_shape
        (None, 33, 40, 3)
    """
    pixels = keras.Input(input_shape, name="image")
    x = encoders.channels.IMAGENET.layer(pixels.shape[-1])(pixels)
    for index, width in enumerate(filters, start=1):
        x = ConvNormAct(width, name=f"conv{index}")(x)
    image = keras.Input(input_shape, name="image")
    feature = keras.Model(pixels, x, name="encoder")(image)
    logits = SegmentationHead(num_classes, activation=activation, name="head")(feature)
    return keras.Model(image, logits, name="full_resolution")
