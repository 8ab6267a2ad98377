"""What all builders share: the decorator that handles `weights` and the documentation."""

import functools
import inspect
import os
import re
import textwrap
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Concatenate, ParamSpec, Protocol, cast

import keras

from kseg import encoders, pretrained
from kseg.zoo._crf import with_crf
from kseg.zoo._options import unknown_option

Options = ParamSpec("Options")

NOT_COMPARED = ("encoder_weights", "weights", "input_shape")
"""Parameters of builders that may differ from those of the weights without a warning."""

ARGUMENTS = {
    "num_classes": "Number of classes; 1 is binary segmentation (one logit). Optional if `weights` is given.",
    "encoder": "A name in `kseg.encoders.ENCODERS`, a dictionary of such a name and options of that encoder, such as "
    '`{"name": "mit_b0", "depths": (1, 1, 1, 1)}`, a `keras.Model` with several outputs or with `pyramid_outputs` '
    "(KerasHub), or a function `image -> {stride: feature}`. An encoder of your own gets images from 0 to 255 and must "
    "normalize them itself; see `kseg.encoders.extract`.",
    "encoder_weights": '`"imagenet"`, another name in the weights of the encoder, `"timm/NAME"` for a repository of '
    "timm on the Hugging Face hub, a file, or None for random initialization. Not used if `weights` is given.",
    "encoder_depth": "3, 4 or 5: how often the stages of the encoder that are used halve the size. The later ones are "
    "left out.",
    "dropout": "Fraction of the features before the scores to drop during training.",
    "activation": 'None for logits, `"softmax"` or `"sigmoid"` for probabilities.',
    "weights": "Trained weights: a file, its address, or the name of released weights or of their data set. Loading "
    "them also restores the options that they were trained with; a conflicting option raises a warning.",
    "input_shape": "Height, width and channels of the image; None where the size varies.",
}
RETURNS = "A model from images `(N, H, W, C)`, 0 to 255, to float32 logits `(N, H, W, num_classes)`."
RAISES = (
    "ValueError: If an argument is invalid, if `num_classes` is missing, or if it contradicts `weights`.",
    "TypeError: If there is no such option, or an option has the wrong type.",
    "OSError: If `weights` do not exist (FileNotFoundError) or cannot be downloaded.",
)


class Builder(Protocol[Options]):
    """A function that builds a model.

    Attributes:
        defaults: The keyword parameters and their default values.
        options: The parameters that change the model: all but `encoder_weights`, `weights` and `input_shape`.
    """

    __name__: str
    defaults: Mapping[str, Any]
    options: tuple[str, ...]

    def __call__(
        self, num_classes: int | None = None, *args: Options.args, **kwargs: Options.kwargs
    ) -> pretrained.SegmentationModel: ...


def builder(net: Callable[Concatenate[int, Options], keras.Model]) -> Builder[Options]:
    """Makes a builder from a function that builds a net.

    The builder resolves `weights`, takes from them the class count and the options that it was called without, builds
    the net and loads them. It adds the parameters that all builders share to the docstring.

    Args:
        net: A function of `num_classes` and keyword-only options with defaults, among them `weights`, which it ignores.

    Returns:
        The builder. Its models are `kseg.pretrained.SegmentationModel`s, which store how they were built. It loads
        their files by `weights=`; `kseg.zoo.load` loads them once the builder is in `kseg.zoo.BUILDERS`.

    Raises:
        TypeError: If the function has no parameter `weights`, or a parameter after the first that is not keyword-only.

    Example:
        >>> @builder
        ... def score(num_classes, *, kernel_size=1, weights=None):
        ...     image = keras.Input((8, 8, 3))
        ...     return keras.Model(image, keras.layers.Conv2D(num_classes, kernel_size)(image))
        >>> score(2).arguments
        {'num_classes': 2, 'kernel_size': 1}
        >>> score.options
        ('kernel_size',)
    """
    signature = inspect.signature(net)
    count, *parameters = signature.parameters.values()
    defaults = {parameter.name: parameter.default for parameter in parameters}
    name = net.__name__
    if "weights" not in defaults or any(parameter.kind is not parameter.KEYWORD_ONLY for parameter in parameters):
        raise TypeError(f"{name}(num_classes, *, ...) must have keyword-only options, among them weights=None")

    @functools.wraps(net)
    def built(num_classes: int | None = None, **given: Any) -> pretrained.SegmentationModel:
        for unknown in given.keys() - defaults.keys():
            raise TypeError(unknown_option(f"{name}()", unknown, defaults))
        if isinstance(encoder := given.get("encoder"), Mapping) and encoder.keys() == {"name"}:
            given["encoder"] = encoder["name"]
        weights = pretrained.meant(given.pop("weights", None), name, given=given, defaults=defaults)
        description = pretrained.described(weights)
        if other := pretrained.another_builder(weights, description["builder"], name):
            raise ValueError(other)
        trained = {key: value for key, value in description["arguments"].items() if key != "crf"}
        num_classes = _class_count(num_classes, trained.pop("num_classes", None), weights)
        taken = {key: value for key, value in trained.items() if key in defaults and key not in given}
        if "encoder" in taken and taken["encoder"] is None:
            raise ValueError(f"{weights} was trained on an encoder of your own: pass it as encoder=")
        arguments = {**defaults, **taken, **given}
        asked = None if weights is not None else arguments.get("encoder_weights")
        if asked and isinstance(encoder := arguments.get("encoder"), str | Mapping):
            arguments["encoder"] = encoders.resolved(encoder, asked)
        loaded = {"encoder_weights": None} if weights is not None and "encoder_weights" in defaults else {}
        model = pretrained.SegmentationModel.of(
            cast(Callable[..., keras.Model], net)(num_classes, **{**arguments, **loaded}),
            builder=name,
            arguments={
                "num_classes": num_classes,
                **{key: arguments[key] for key in defaults if key not in ("weights", "encoder_weights")},
            },
            classes=description["classes"],
            palette=description["palette"],
            pixels=description.get("pixels", {}),
            processor=description.get("processor", {}),
        )
        if description["arguments"].get("crf"):
            model = with_crf(model)
        pretrained.load(model, weights)
        if trained and (conflicts := pretrained.differences(arguments, {**defaults, **trained}, without=NOT_COMPARED)):
            advice = "pass these options, or rebuild the trained model with kseg.zoo.load"
            warnings.warn(f"{weights} was trained with {', '.join(conflicts)}: {advice}", stacklevel=2)
        return model

    facts = cast(Any, built)
    facts.defaults = defaults
    facts.options = tuple(key for key in defaults if key not in NOT_COMPARED)
    facts.__signature__ = signature.replace(
        parameters=[count.replace(default=None, annotation=int | None), *parameters],
        return_annotation=pretrained.SegmentationModel,
    )
    facts.__doc__ = _documented(inspect.cleandoc(net.__doc__ or ""), [count.name, *defaults])
    return cast(Builder[Options], built)


def _class_count(given: int | None, trained: int | None, weights: str | os.PathLike | None) -> int:
    if weights is not None and trained is not None and given not in (None, trained):
        raise ValueError(
            f"num_classes={given}, but {weights} was trained with {trained}: leave num_classes out; kseg.zoo.load can "
            "change it"
        )
    found = trained if given is None else given
    if found is None and weights is None:
        raise ValueError("num_classes is missing: give the number of classes, or weights that store it")
    if found is None:
        raise ValueError(f"num_classes is missing: {weights} does not store the number of classes")
    if found < 1:
        raise ValueError(f"num_classes must be 1 (binary) or more, got {found}")
    return found


def _documented(text: str, names: list[str]) -> str:
    """A docstring with the parameters in the order of the signature, and the shared texts where it has none."""
    head, *parts = re.split(r"^(Args|Returns|Raises|Reference|Example):\n", text, flags=re.MULTILINE)
    sections = {title: body.rstrip() for title, body in zip(parts[::2], parts[1::2], strict=True)}
    own = re.split(r"^ {4}(\w+): ", sections.get("Args", ""), flags=re.MULTILINE)[1:]
    texts = {**ARGUMENTS, **{name: " ".join(body.split()) for name, body in zip(own[::2], own[1::2], strict=True)}}
    sections["Args"] = "\n".join(_filled(f"{name}: {texts[name]}") for name in names if name in texts)
    sections.setdefault("Returns", _filled(RETURNS, hanging=False))
    sections["Raises"] = "\n".join(filter(None, [sections.get("Raises"), *map(_filled, RAISES)]))
    order = [title for title in ("Args", "Returns", "Raises", "Reference", "Example") if title in sections]
    return "\n\n".join([head.rstrip(), *(f"{title}:\n{sections[title]}" for title in order)]) + "\n"


def _filled(text: str, *, hanging: bool = True) -> str:
    indent = " " * 4
    return textwrap.fill(text, 116, initial_indent=indent, subsequent_indent=2 * indent if hanging else indent)
