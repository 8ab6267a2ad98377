"""From a recipe to a model, its loss and its optimizer; contradictions are errors before the first step."""

import math
import pathlib
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from kseg import data, losses, pretrained, zoo
from kseg.metrics import gives_logits
from kseg.training import optimizer as optimizers
from kseg.training.options import near, refuse_misplaced, refuse_mistyped, refuse_unknown
from kseg.training.recipe import Recipe
from kseg.training.rematerialization import rematerialize


def arguments(recipe: Recipe, train: data.Dataset) -> dict[str, Any]:
    """Returns the arguments of the builder that rebuild the model without its weights, JSON types only."""
    section = recipe.model
    if section.builder not in zoo.BUILDERS:
        raise ValueError(f"[model] unknown builder {section.builder!r}{near(section.builder, zoo.BUILDERS)}")
    builder = zoo.BUILDERS[section.builder]
    options = {name: value for name, value in section.options.items() if name != "crf"}  # an option of zoo.build
    known = [name for name in ("num_classes", *builder.options, "input_shape") if name != "encoder"]
    refuse_misplaced("[model]", options, type(section))
    refuse_unknown("[model] options", options, section.builder, known)
    refuse_mistyped("[model] options", section.options, builder)
    given = section.options.get("num_classes", train.num_classes)
    if given != train.num_classes:
        raise ValueError(f"[model] num_classes = {given}, but {train.name} has {train.num_classes}: leave it out")
    if {"padding": "same", **builder.defaults, **section.options}["padding"] != "same":
        raise ValueError(f'[model] recipes need a label for every pixel: give {section.builder} padding = "same"')
    channels = np.asarray(train[0][0]).shape[-1]
    shape = {} if channels == builder.defaults["input_shape"][-1] else {"input_shape": [None, None, channels]}
    if "encoder" not in builder.defaults and "encoder" in section.model_fields_set:
        raise ValueError(f"[model] encoder: {section.builder} has its own: leave it out")
    encoder = {"encoder": section.encoder} if "encoder" in builder.defaults else {}
    return {"num_classes": train.num_classes, **encoder, **shape, **section.options}


def model(recipe: Recipe, built_with: Mapping[str, Any], *, resumes: bool = False) -> keras.Model:
    """Builds the model; if the run `resumes`, a checkpoint replaces all weights, so that no weight file is read."""
    weights = None if recipe.model.encoder_weights == "none" else recipe.model.encoder_weights
    if resumes and weights is not None and pathlib.Path(weights).suffix in (".safetensors", ".h5"):
        weights = None
    options = dict(built_with)
    if "encoder_weights" in zoo.BUILDERS[recipe.model.builder].defaults:
        options = {"encoder_weights": weights, **options}
    built = zoo.build(recipe.model.builder, **options)
    if isinstance(built.output, dict):
        raise ValueError(f"[model] recipes train one output, but {built.name} gives {', '.join(built.output)}")
    if not resumes:
        pretrained.load(built, recipe.model.start, strict=False)
    if recipe.optimizer.encoder_factor == 0:
        built.get_layer("encoder").trainable = False  # freezes the BatchNorm statistics too
    if recipe.rematerialize:
        rematerialize(built)
    return built


def loss(recipe: Recipe, train: data.Dataset, built: keras.Model | None = None) -> keras.losses.Loss:
    """Builds the loss; its `class_weights` may be computed from the training labels.

    The loss must take what `built` gives; None is a net of another library, which gives logits.
    """
    section = recipe.loss
    options = {"ignore_class": train.ignore_class, **section.options}
    if section.class_weights != "none":
        options["class_weights"] = class_weights(recipe, train)
    try:
        for name, _ in losses.terms(section.name):
            refuse_mistyped("options", section.options, losses.LOSSES[name])
        made = losses.get(section.name, **options)
    except ValueError as error:
        raise ValueError(f"[loss] {error}") from None
    logits = built is None or gives_logits(built)
    if made.from_logits != logits:
        outputs, wanted = ("logits", "probabilities") if logits else ("probabilities", "logits")
        raise ValueError(
            f"the model ends in {outputs}, the loss expects {wanted}: "
            f"set from_logits = {str(logits).lower()} in [loss.options], or change activation in [model.options]"
        )
    return made


def class_weights(recipe: Recipe, train: data.Dataset) -> list[float]:
    """Returns one weight per class, computed from the training labels unless the recipe lists them."""
    method = recipe.loss.class_weights
    if isinstance(method, str):
        weights = losses.class_weights(train, train.num_classes, method=method)
    else:
        weights = np.asarray(method, "float64")
        if len(weights) != (count := len(train.classes)):
            raise ValueError(f"[loss] {len(weights)} class_weights for the {count} classes of {train.name}")
    return [float(weight) for weight in np.asarray(weights) ** recipe.loss.class_weights_power]


def schedule(recipe: Recipe, steps: int) -> optimizers.PolynomialDecay:
    """Builds the learning-rate schedule over all epochs."""
    section = recipe.optimizer
    warmup = section.warmup_steps or math.ceil(section.warmup_epochs * steps)
    return optimizers.PolynomialDecay(
        section.learning_rate,
        recipe.epochs * steps,
        power=section.power,
        warmup_steps=warmup,
        parts=section.accumulate,
    )


def optimizer(
    recipe: Recipe, built: keras.Model, learning_rate: optimizers.PolynomialDecay
) -> keras.optimizers.Optimizer:
    """Builds the optimizer for a model whose encoder is frozen already if it has to be."""
    section = recipe.optimizer
    if section.accumulate > 1 and recipe.precision == "mixed_float16":  # whose loss scale skips single parts
        raise ValueError("accumulate does not work with precision mixed_float16: choose mixed_bfloat16")
    factors = None
    if section.encoder_factor not in (0, 1):
        factors = optimizers.factors_of(built, built.get_layer("encoder"), section.encoder_factor)
    options: dict[str, Any] = {"global_clipnorm": section.global_clipnorm}
    if section.ema is not None:
        options |= {"use_ema": True, "ema_momentum": section.ema}
    if section.accumulate > 1:
        options["gradient_accumulation_steps"] = section.accumulate
    if section.name == "sgd":
        options["momentum"] = section.momentum
    kind = {"adamw": optimizers.AdamW, "sgd": optimizers.SGD}[section.name]
    decay = {"weight_decay": section.weight_decay, "decay_norm": section.decay_norm}
    return kind(learning_rate, factors=factors, **decay, **options)
