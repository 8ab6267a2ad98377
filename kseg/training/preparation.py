"""From a recipe to data sets, a model, its loss and its optimizer; contradictions are refused here, before any step."""

import difflib
import inspect
import math
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import numpy as np

from kseg import data, losses, pretrained, zoo
from kseg.metrics import gives_logits
from kseg.training import optimizer as optimizers
from kseg.training.recipe import Recipe

CHECKED = 16
"""Label maps of a split that are looked at before training starts."""


def datasets(recipe: Recipe, root: str | os.PathLike | None) -> tuple[data.Dataset, data.Dataset | None]:
    """Opens the training and the validation split.

    Args:
        recipe: Says which data set.
        root: Where data sets of a name lie.

    Returns:
        Both; the second is None if the user's own folder has none and nothing is to be selected on it.

    Raises:
        FileNotFoundError: The data are not there.
        ValueError: The data set is unknown, empty, or has labels outside its classes.
    """
    train = open_split(recipe, "train", root)
    try:
        return train, open_split(recipe, "val", root)
    except FileNotFoundError:
        if recipe.selection.every:
            raise
        return train, None


def open_split(recipe: Recipe, split: str, root: str | os.PathLike | None) -> data.Dataset:
    """Opens one split of a recipe's data set and looks for faults before any step.

    Args:
        recipe: `[data]` is read.
        split: `"train"`, `"val"` or `"test"`.
        root: Where data sets of a name lie; a recipe's `folder` is relative to the working directory.

    Returns:
        The split.

    Raises:
        FileNotFoundError: The data are not there.
        ValueError: The data set is unknown, empty, lacks masks, or has labels outside its classes.
    """
    found = dataset(recipe, split, root)
    if len(found) == 0:
        raise ValueError(f"{found.name} has no images in its {split} split")
    if isinstance(found, data.FolderDataset) and (alone := [path for path, mask in found.mask_of.items() if not mask]):
        raise ValueError(f"{alone[0]} has no mask, and {len(alone) - 1} more: `kseg datasets check` lists them")
    for place in np.unique(np.linspace(0, len(found) - 1, CHECKED).astype(int)):
        found[int(place)]  # reading refuses labels outside the classes: better now than in an hour
    return found


def dataset(recipe: Recipe, split: str | None, root: str | os.PathLike | None) -> data.Dataset:
    """Opens one split of a recipe's data set and looks at no file.

    Args:
        recipe: `[data]` is read.
        split: `"train"`, `"val"` or `"test"`; None for all images of a folder.
        root: As in `open_split`.

    Returns:
        The split.
    """
    section = recipe.data
    if section.folder is None:
        if section.name in data.DATASETS:
            _refuse_unknown("[data] options", section.options, data.DATASETS[str(section.name)])
        return data.load(str(section.name), str(split), root=root, **section.options)
    _refuse_unknown("[data] options", section.options, data.FolderDataset)
    options: dict[str, Any] = {"classes": section.classes, "palette": section.palette, "ignore": section.ignore}
    return data.FolderDataset(str(section.folder), split, **options, **section.options)


def steps_per_epoch(recipe: Recipe, train: data.Dataset) -> int:
    """Returns the steps of an epoch: the images by the batch size, rounded, at least 1."""
    return max(1, round(len(train) / recipe.data.batch_size))


def batches(recipe: Recipe, train: data.Dataset, start_step: int) -> Iterable:
    """The training batches from a step on, without end.

    Args:
        recipe: Augmentation, batch size and seed.
        train: The training split.
        start_step: Batches to leave out, counted from the run's first.

    Returns:
        What `model.fit` accepts: uint8 images `(B, H, W, C)` and labels `(B, H, W)`.
    """
    section = recipe.data
    if section.crop is None and section.batch_size > 1:
        sizes = {train.size(index) for index in range(len(train))}
        if len(sizes) > 1:
            raise ValueError(f"[data] images of {len(sizes)} sizes cannot share a batch: give a crop = [height, width]")
    augment = data.augment.pipeline(
        section.augment, crop=section.crop, scale=section.scale, ignore_class=train.ignore_class
    )
    return data.loader(train, batch_size=section.batch_size, augment=augment, seed=recipe.seed, start_step=start_step)


def arguments(recipe: Recipe, train: data.Dataset) -> dict[str, Any]:
    """The builder's arguments that rebuild the model, without its weights.

    Args:
        recipe: `[model]` is read.
        train: Says how many classes and channels.

    Returns:
        Keyword arguments, JSON types only.

    Raises:
        ValueError: The builder or an option is unknown, or an option contradicts the data.
    """
    section = recipe.model
    if section.builder not in zoo.BUILDERS:
        raise ValueError(f"[model] unknown builder {section.builder!r}{_near(section.builder, zoo.BUILDERS)}")
    _refuse_unknown(
        "[model] options", section.options, zoo.BUILDERS[section.builder], without=("encoder", "encoder_weights")
    )
    told = section.options.get("num_classes", train.num_classes)
    if told != train.num_classes:
        raise ValueError(f"[model] num_classes = {told}, but {train.name} has {train.num_classes}: leave it out")
    parameters = inspect.signature(zoo.BUILDERS[section.builder]).parameters
    if "padding" in parameters and section.options.get("padding", parameters["padding"].default) != "same":
        raise ValueError(f'[model] recipes need a label for every pixel: give {section.builder} padding = "same"')
    channels = np.asarray(train[0][0]).shape[-1]
    shape = {} if channels == parameters["input_shape"].default[-1] else {"input_shape": [None, None, channels]}
    if "encoder" not in parameters and "encoder" in section.model_fields_set:
        raise ValueError(f"[model] encoder: {section.builder} has its own: leave it out")
    encoder = {"encoder": section.encoder} if "encoder" in parameters else {}
    return {"num_classes": train.num_classes, **encoder, **shape, **section.options}


def model(recipe: Recipe, built_with: Mapping[str, Any]) -> keras.Model:
    """Builds the model, its encoder frozen if the recipe says so.

    Args:
        recipe: `[model]` and `[optimizer]` are read.
        built_with: What `arguments` returned.

    Returns:
        The model, not compiled.

    Raises:
        FileNotFoundError: The file to start from is not there.
        ValueError: The model has several outputs, or the file to start from is of another model.
    """
    weights = None if recipe.model.encoder_weights == "none" else recipe.model.encoder_weights
    options = dict(built_with)
    if "encoder_weights" in inspect.signature(zoo.BUILDERS[recipe.model.builder]).parameters:
        options = {"encoder_weights": weights, **options}
    built = zoo.build(recipe.model.builder, **options)
    if isinstance(built.output, dict):
        raise ValueError(f"[model] recipes train one output, but {built.name} gives {', '.join(built.output)}")
    pretrained.load(built, recipe.model.start, strict=False)
    if recipe.optimizer.encoder_factor == 0:
        built.get_layer("encoder").trainable = False  # freezes the BatchNorm statistics too
    return built


def loss(recipe: Recipe, train: data.Dataset, built: keras.Model) -> keras.losses.Loss:
    """Builds the loss, with class weights from the training labels where they are asked for.

    Args:
        recipe: `[loss]` is read.
        train: The training split.
        built: The model that it is for.

    Returns:
        The loss.

    Raises:
        ValueError: The loss or an option is unknown, the class weights do not fit, or logits meet a loss of
            probabilities or the other way round.
    """
    section = recipe.loss
    options = {"ignore_class": train.ignore_class, **section.options}
    if section.class_weights != "none":
        options["class_weights"] = class_weights(recipe, train)
    try:
        made = losses.get(section.name, **options)
    except ValueError as error:
        raise ValueError(f"[loss] {error}") from None
    logits = gives_logits(built)
    if made.from_logits != logits:
        outputs, wanted = ("logits", "probabilities") if logits else ("probabilities", "logits")
        raise ValueError(
            f"the model ends in {outputs}, the loss expects {wanted}: "
            f"set from_logits = {str(logits).lower()} in [loss.options], or change activation in [model.options]"
        )
    return made


def class_weights(recipe: Recipe, train: data.Dataset) -> list[float]:
    """The recipe's class weights, from the training labels where it says how.

    Args:
        recipe: `[loss]` is read.
        train: The training split.

    Returns:
        One a class.
    """
    method = recipe.loss.class_weights
    if isinstance(method, str):
        weights = losses.class_weights(train, train.num_classes, method=method)
    else:
        weights = np.asarray(method, "float64")
        if len(weights) != (count := len(train.classes)):
            raise ValueError(f"[loss] {len(weights)} class_weights for the {count} classes of {train.name}")
    return [float(weight) for weight in np.asarray(weights) ** recipe.loss.class_weights_power]


def schedule(recipe: Recipe, steps: int) -> optimizers.PolynomialDecay:
    """Builds the learning-rate schedule.

    Args:
        recipe: `[optimizer]` and `epochs` are read.
        steps: Steps an epoch.

    Returns:
        The schedule, over all epochs.
    """
    section = recipe.optimizer
    warmup = section.warmup_steps or math.ceil(section.warmup_epochs * steps)
    return optimizers.PolynomialDecay(
        section.learning_rate, recipe.epochs * steps, power=section.power, warmup_steps=warmup
    )


def optimizer(
    recipe: Recipe, built: keras.Model, learning_rate: optimizers.PolynomialDecay
) -> keras.optimizers.Optimizer:
    """Builds the optimizer.

    Args:
        recipe: `[optimizer]` is read.
        built: The model, frozen already where it shall be.
        learning_rate: The schedule.

    Returns:
        The optimizer.
    """
    section = recipe.optimizer
    factors = None
    if section.encoder_factor not in (0, 1):
        factors = optimizers.factors_of(built, built.get_layer("encoder"), section.encoder_factor)
    options: dict[str, Any] = {"global_clipnorm": section.global_clipnorm}
    if section.ema is not None:
        options |= {"use_ema": True, "ema_momentum": section.ema}
    if section.name == "sgd":
        options["momentum"] = section.momentum
    kind = {"adamw": optimizers.AdamW, "sgd": optimizers.SGD}[section.name]
    decay = {"weight_decay": section.weight_decay, "decay_norm": section.decay_norm}
    return kind(learning_rate, factors=factors, **decay, **options)


def _refuse_unknown(
    place: str, options: Mapping[str, Any], function: Callable, *, without: tuple[str, ...] = ()
) -> None:
    known = [name for name in inspect.signature(function).parameters if name not in {"self", "weights", *without}]
    for name in options:
        if name not in known:
            raise ValueError(f"{place}: {function.__name__} has no option {name!r}{_near(name, known)}")


def _near(name: str, known: Iterable[str]) -> str:
    known = list(known)
    near = difflib.get_close_matches(name, known, n=2, cutoff=0.5) or known
    return f": did you mean {' or '.join(near)}?"
