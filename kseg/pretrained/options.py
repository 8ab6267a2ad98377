"""Options change what a net computes, not its tensors: weights bring theirs, and never take others silently."""

import functools
import inspect
import json
import os
import warnings
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec

import keras

from kseg.pretrained import source
from kseg.pretrained.file import describe
from kseg.pretrained.model import SegmentationModel
from kseg.pretrained.release import RELEASES, Release

Arguments = ParamSpec("Arguments")
FREE = ("num_classes", "encoder_weights", "weights", "input_shape")
"""Parameters of builders that are no options: they are checked elsewhere, or may differ."""


def builder(build: Callable[Arguments, keras.Model]) -> Callable[Arguments, keras.Model]:
    """Makes a builder take from its `weights` the options that it was called without, and warn of others.

    A DeepLabV3 at stride 8 and one at stride 16 have the same tensors, and so have nets with another activation.

    Args:
        build: A function with the parameter `weights` that returns the model filled with them.

    Returns:
        The function. Its warning names the options, and how to have the model that was trained.

    Example:
        >>> @builder
        ... def score(num_classes=None, *, weights=None):
        ...     image = keras.Input((8, 8, 3))
        ...     return keras.Model(image, keras.layers.Conv2D(num_classes, 1)(image))
        >>> score(2).output_shape
        (None, 8, 8, 2)
    """
    signature = inspect.signature(build)
    defaults = {name: each.default for name, each in signature.parameters.items() if name not in FREE}

    @functools.wraps(build)
    def built(*arguments: Arguments.args, **options: Arguments.kwargs) -> keras.Model:
        called = signature.bind(*arguments, **options).arguments
        weights: str | os.PathLike | None = called.get("weights")
        if weights is None or os.fspath(weights).endswith(".weights.h5"):  # Keras's files do not tell their options
            return _described(build(*arguments, **options), called)
        given = {name: value for name, value in called.items() if name in defaults}
        weights, trained = _chosen(weights, build.__name__, defaults, given)
        taken = {name: value for name, value in trained.items() if name in defaults and name not in given}
        model = build(*arguments, **{**options, **taken, "weights": weights})
        if other := _differences({**defaults, **taken, **given}, {**defaults, **trained}):
            cure = "call the builder so, or take the model as it was trained by kseg.zoo.load"
            warnings.warn(f"{weights} was trained with {', '.join(other)}: {cure}", stacklevel=2)
        return _described(model, {**called, **taken})

    def _described(model: keras.Model, called: Mapping[str, Any]) -> keras.Model:
        bound = {name: each.default for name, each in signature.parameters.items()} | {**called}
        bound["num_classes"] = (model.output["logits"] if isinstance(model.output, dict) else model.output).shape[-1]
        arguments = {name: value for name, value in bound.items() if name not in ("weights", "encoder_weights")}
        return SegmentationModel.of(model, builder=build.__name__, arguments=arguments)

    return built


def _chosen(
    weights: str | os.PathLike, builder: str, defaults: Mapping[str, Any], given: Mapping[str, Any]
) -> tuple[str | os.PathLike, dict[str, Any]]:
    """The weights that are meant, and the arguments of their training.

    Among those of a data set: whose training comes nearest to the given options, then to the builder's own.
    """
    releases = source.named(weights)
    if not releases:
        return weights, describe(source.locate(weights))["arguments"]
    if weights in RELEASES:
        return weights, releases[0].arguments
    mine = [release for release in releases if release.builder == builder]
    if not mine:
        names = ", ".join(release.name for release in releases)
        raise ValueError(f"no weights of {builder!r} on {weights!r} are released: there are {names}")

    def far(release: Release) -> tuple[int, int]:
        options = {**defaults, **release.arguments}
        asked = {name: options[name] for name in given}
        return len(_differences(given, asked)), len(_differences({**defaults, **given}, options))

    near = source.plainest([release for release in mine if far(release) == min(map(far, mine))])
    if len(near) > 1:
        names = ", ".join(release.name for release in near)
        raise ValueError(f"several weights of {builder!r} on {weights!r} are released: name one of {names}")
    return near[0].name, near[0].arguments


def _differences(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """`"output_stride=8 (here 16)"` for each option that differs; lists and tuples are one here, as in JSON."""
    found = []
    for name in sorted((mine.keys() | theirs.keys()) - set(FREE)):
        here, there = _plain(mine.get(name)), _plain(theirs.get(name))
        if here != there:
            found.append(f"{name}={there!r} (here {here!r})")
    return found


def _plain(value: Any) -> Any:
    """A value as JSON gives it back: what is no JSON, an encoder of one's own, stays as it is."""
    try:
        return json.loads(json.dumps(value))
    except TypeError:
        return value
