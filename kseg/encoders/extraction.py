"""From an image to its features, by an encoder of the table or by one that the user brings."""

import dataclasses
import difflib
import inspect
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import keras

from kseg import pretrained
from kseg.encoders import timm
from kseg.encoders.classifier import Classifier
from kseg.encoders.features import Features
from kseg.encoders.own import outputs_line, wrapped
from kseg.encoders.stages import load
from kseg.encoders.table import ENCODERS, Encoder

EncoderLike: TypeAlias = (
    str | Mapping[str, Any] | keras.Model | Callable[[keras.KerasTensor], Mapping[int, keras.KerasTensor]]
)


def extract(
    image: keras.KerasTensor,
    encoder: EncoderLike,
    *,
    weights: str | os.PathLike | None = "imagenet",
    depth: int = 5,
    output_stride: int = 32,
    multi_grid: Sequence[int] | None = None,
    penultimate: bool = False,
) -> Features:
    """Builds an encoder and calls it on an image.

    Args:
        image: `(N, H, W, C)`, values 0 to 255, any H, W and C. If C is not 3, the first convolution is adapted, see
            `kseg.encoders.channels`.
        encoder: A name in `ENCODERS`; a dictionary of such a `"name"` and options of that encoder; a `keras.Model` from
            an image to several features, whose strides are computed from their sizes; a model with `pyramid_outputs`,
            such as KerasHub's backbones; or a function `image -> {stride: feature}`. The last three must normalize the
            image, 0 to 255, themselves: build MobileNetV2 of `keras.applications` with
            `input_tensor=keras.layers.Rescaling(1 / 127.5, -1)(keras.Input((None, None, 3)))`.
        weights: `"imagenet"`, another name in the encoder's `weights`, `"timm/NAME"` or `"timm/NAME@COMMIT"` for the
            repository of timm on the Hugging Face hub (`"timm/resnet50.a1_in1k"`), which also sets the normalization of
            the image, None for random weights, or a file for `kseg.pretrained.load`. For an encoder of your own, only a
            file is loaded.
        depth: 3, 4 or 5: how often the stages that are used halve the size. The later stages are left out.
        output_stride: 8, 16 or 32: the greatest stride. Strides beyond it become dilation.
        multi_grid: Factors for the dilation rates of the last spatial convolutions, e.g. DeepLabV3's (1, 2, 4); those
            of stages that `depth` leaves out are counted.
        penultimate: Whether to return the output of the last stage but one. It has the stride of the last stage if that
            one is dilated. For an encoder of your own, it is the second-coarsest feature.

    Returns:
        The features. The sub-model that computes them is named `encoder`.

    Raises:
        ValueError: If the encoder or its weights do not exist, if the encoder does not support the output stride, or
            if the image is too small.
        TypeError: If the encoder is not of the kinds above.

    Example:
        >>> image = keras.Input((65, 97, 3))
        >>> features = extract(image, "mobilenet_v2", weights=None, output_stride=16)
        >>> {stride: tuple(feature.shape[1:]) for stride, feature in features.by_stride.items()}
        {2: (33, 49, 16), 4: (17, 25, 24), 8: (9, 13, 32), 16: (5, 7, 320)}
    """
    layers: dict[int, str] = {}
    if isinstance(encoder, str | Mapping):
        model = build(
            encoder,
            input_shape=tuple(image.shape[1:]),
            weights=weights,
            depth=depth,
            output_stride=output_stride,
            multi_grid=multi_grid,
        )
        outputs = model(image)
        strides = [min(stride, output_stride) for stride in known(encoder).strides if stride <= 2**depth]
        features = dict(zip(strides, outputs, strict=True))  # of stages that share a stride, the last
    else:
        _check_depth(depth)
        if multi_grid:
            raise ValueError("multi_grid applies only to encoders by name: dilate your own encoder yourself")
        model, strides, layers = wrapped(encoder, image.shape[1:])
        if min(strides) <= 2**depth < max(strides):
            strides = [stride for stride in strides if stride <= 2**depth]
            model = keras.Model(model.input, model.outputs[: len(strides)], name="encoder")
        if max(strides) > output_stride:
            kept = {stride: name for stride, name in layers.items() if stride <= output_stride}
            cure = (
                outputs_line(kept)
                if output_stride in kept
                else f": leave out the features beyond stride {output_stride}"
            )
            raise ValueError(f"output_stride={output_stride}, but your encoder ends at stride {max(strides)}{cure}")
        if weights not in (None, "imagenet"):
            pretrained.load(model, _file(weights, ()))
        outputs = model(image)
        features = dict(zip(strides, outputs, strict=True))
    if penultimate and len(features) == 1:
        raise ValueError("penultimate=True needs an encoder with at least two features")
    return Features(features, outputs[-2] if penultimate else None, outputs, layers)


def build(
    name: str | Mapping[str, Any],
    *,
    input_shape: Sequence[int | None] = (None, None, 3),
    weights: str | os.PathLike | None = "imagenet",
    depth: int = 5,
    output_stride: int = 32,
    multi_grid: Sequence[int] | None = None,
) -> keras.Model:
    """Builds an encoder of the table as a separate model.

    Args:
        name: A name in `ENCODERS`, or a dictionary of such a `"name"` and options of that encoder.
        input_shape: Height, width and channels of the image, None where the size varies.
        weights: As in `extract`.
        depth: As in `extract`.
        output_stride: As in `extract`.
        multi_grid: As in `extract`.

    Returns:
        A functional model named `encoder` from images, 0 to 255, to the list of the outputs of all stages, finest
        first. Where strides become dilation, several have the same stride, and the weights are the same.

    Raises:
        ValueError: As in `extract`.

    Example:
        >>> [tuple(feature.shape) for feature in build("resnet18", weights=None, input_shape=(64, 64, 1)).outputs][:2]
        [(None, 32, 32, 64), (None, 16, 16, 64)]
    """
    if output_stride not in (8, 16, 32):
        raise ValueError(f"output_stride must be 8, 16 or 32, got {output_stride!r}")
    _check_depth(depth)
    entry, name = known(name), resolved(name, weights)
    weights = _address(entry, weights)
    greatest = min(output_stride, 2**depth)
    output_stride = output_stride if greatest < 2**depth else 32  # stages that are left out need no dilation
    if not entry.reaches(output_stride):
        allowed = "only 16 and 32" if entry.reaches(16) else "only 32"
        raise ValueError(f"{_name(name)} has no output stride {output_stride}, {allowed}: choose another encoder")
    if 2**depth < min(entry.strides):
        raise ValueError(
            f"{_name(name)} with encoder_depth={depth} ends at stride {2**depth}, not {entry.strides[0]}: leave it out"
        )
    options = {} if isinstance(name, str) else {key: name[key] for key in name if key != "name"}
    for option in options.keys() - set(entry.options):
        has = f"it has {', '.join(entry.options)}" if entry.options else "give only its name"
        raise ValueError(f"the encoder {_name(name)} has no option {option!r}: {has}")
    smallest = entry.smallest(greatest)
    model = entry.build(
        input_shape=tuple(input_shape),
        weights="imagenet" if weights == "imagenet" else None,
        output_stride=output_stride,
        multi_grid=multi_grid or (),
        **({"smallest": smallest} if smallest > 1 else {}),
        **options,
    )
    if special := entry.weights.get(weights) if isinstance(weights, str) else None:
        special(model)
    elif timm.is_address(weights) and entry.convert:
        load(model, timm.read(str(weights), entry.convert), str(weights))
    elif weights not in (None, "imagenet"):
        pretrained.load(model, _file(weights, entry.weights))
    kept = sum(stride <= 2**depth for stride in entry.strides)
    return keras.Model(model.input, model.outputs[:kept], name="encoder") if kept < len(model.outputs) else model


def resolved(encoder: str | Mapping[str, Any], weights: Any) -> str | dict[str, Any]:
    """Adds the options that weights of timm need to an encoder: how they normalize images, and other ones.

    Args:
        encoder: As in `build`; its own options come first.
        weights: As in `extract`. Other weights than those of timm need no options.

    Returns:
        The encoder, a name if all its options have their default values.

    Raises:
        OSError: If the hub has no such repository, or cannot be reached.
        ValueError: If the weights belong to another network.
    """
    entry, given = known(encoder), {} if isinstance(encoder, str) else dict(encoder)
    options: dict[str, Any] = {}
    if timm.is_address(weights := _address(entry, weights)):
        found = timm.describe(weights)
        if found.architecture not in entry.timm:
            others = [name for name, each in ENCODERS.items() if found.architecture in each.timm]
            fits = ", ".join(entry.timm)
            cure = f"pass encoder={others[0]!r}" if others else f"choose weights of {fits or 'another encoder'}"
            raise ValueError(f"{weights} holds a {found.architecture}, which does not fit {_name(encoder)}: {cure}")
        options = {**entry.timm[found.architecture], "mean": list(found.mean), "std": list(found.std)}
        defaults = {key: value.default for key, value in inspect.signature(entry.build).parameters.items()}
        options = {key: value for key, value in options.items() if value != _listed(defaults[key])}
    return {"name": _name(encoder), **options, **given} if options or given.keys() - {"name"} else _name(encoder)


def _address(entry: Encoder, weights: Any) -> Any:
    return entry.imagenet if weights == "imagenet" and entry.imagenet else weights


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _check_depth(depth: int) -> None:
    if depth not in (3, 4, 5):
        raise ValueError(f"encoder_depth must be 3, 4 or 5, got {depth!r}")


def known(encoder: str | Mapping[str, Any]) -> Encoder:
    """Returns the entry of an encoder in `ENCODERS`, with the strides that its options set.

    Raises:
        ValueError: If there is no such encoder; the message names similar ones.
    """
    name = _name(encoder)
    if name not in ENCODERS:
        near = difflib.get_close_matches(name, ENCODERS, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(ENCODERS)}"
        raise ValueError(f"unknown encoder {name!r}; {hint}")
    entry = ENCODERS[name]
    if isinstance(encoder, Mapping) and "patch" in entry.options:
        blocks, patch = encoder.get("blocks", 1), encoder.get("patch", entry.strides[0])
        count = blocks if isinstance(blocks, int) else len(blocks)
        count += bool(encoder.get("queries"))  # whose features are an output, too
        return dataclasses.replace(entry, strides=(patch,) * max(count, 1))
    return entry


def _name(encoder: str | Mapping[str, Any]) -> str:
    if isinstance(encoder, str):
        return encoder
    if not isinstance(name := encoder.get("name"), str):
        raise ValueError(f'an encoder given as a dictionary needs the key "name", got {list(encoder)}')
    return name


def classifier_of(encoder: EncoderLike) -> Classifier | None:
    """Returns the ImageNet classifier's fully connected layers for an encoder that has them.

    Args:
        encoder: As in `extract`.

    Returns:
        The `classifier` of the encoder's entry in `ENCODERS`; None for other encoders.

    Raises:
        ValueError: If no encoder has that name.

    Example:
        >>> classifier_of({"name": "vgg16"}).width, classifier_of("resnet50")
        (4096, None)
    """
    return known(encoder).classifier if isinstance(encoder, str | Mapping) else None


def _file(weights: str | os.PathLike, names: Iterable[str]) -> str | os.PathLike:
    if not os.path.exists(weights):
        allowed = ", ".join(f'"{name}"' for name in ("imagenet", *names, "timm/NAME"))
        raise ValueError(
            f'encoder weights must be {allowed}, None (in a recipe "none") or a file; there is no file '
            f"{os.fspath(weights)!r}"
        )
    if pathlib.Path(weights).suffix in (".pth", ".pt", ".ckpt", ".bin"):
        raise ValueError(
            f'{weights} is a PyTorch file: encoder weights have names, as "timm/NAME", or are a file of Keras, as '
            'encoder.save_weights("encoder.weights.h5") writes it; PyTorch files of whole models are read by '
            "kseg.zoo.smp.load and kseg.zoo.torchvision.load"
        )
    return weights
