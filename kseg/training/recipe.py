"""The recipe: every setting of a training run, validated before anything is built."""

import difflib
import hashlib
import json
import os
import pathlib
import tomllib
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

try:
    import pydantic
except ModuleNotFoundError as error:
    if error.name != "pydantic":
        raise
    raise ModuleNotFoundError("recipes need pydantic, which is not installed: pip install 'kseg[train]'") from None

Positive = Annotated[int, pydantic.Field(gt=0)]
Share = Annotated[float, pydantic.Field(ge=0, lt=1)]
NotNegative = Annotated[float, pydantic.Field(ge=0)]


class Section(pydantic.BaseModel):
    """A table of the recipe. Unknown keys are errors; values are immutable."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class Data(Section):
    """`[data]`: a data set by `name`, or your own `folder` with its `classes`; batches and augmentation."""

    name: str | None = None
    folder: str | None = None
    classes: tuple[str, ...] | None = None
    palette: tuple[tuple[int, int, int], ...] | None = None
    ignore: int | tuple[int | tuple[int, int, int], ...] = ()
    """Values of masks, or colors of RGB masks, to ignore besides 255."""
    batch_size: Positive = 8
    augment: str = "street"
    crop: tuple[Positive, Positive] | None = None
    scale: tuple[float, float] | None = None
    """None for the default of the augmentation, e.g. 0.5 to 2 for `"street"`."""
    options: dict[str, Any] = {}

    @pydantic.model_validator(mode="after")
    def _name_or_folder(self) -> Self:
        if (self.name is None) == (self.folder is None):
            raise ValueError("give either name (a data set of kseg) or folder (your own data)")
        if self.folder is not None and not self.classes:
            raise ValueError("folder needs classes, the names in the order of their ids")
        if self.name is not None and (self.classes, self.palette, self.ignore) != (None, None, ()):
            raise ValueError("classes, palette and ignore belong to folder; a named data set has its own")
        if self.scale is not None and not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale must be (smallest, largest), both above 0, got {list(self.scale)}")
        return self


class Model(Section):
    """`[model]`: a builder of `kseg.zoo`, its encoder, and its other keyword arguments as `options`."""

    builder: str
    encoder: str = "efficientnet_lite0"
    encoder_weights: str = "imagenet"
    """`"imagenet"`, a file, or `"none"` (TOML has no null)."""
    options: dict[str, Any] = {}
    start: str | None = pydantic.Field(default=None, exclude_if=lambda start: start is None)
    """A weight file of kseg to start from, e.g. of a coarser FCN. A warning lists the tensors that do not fit."""


class Loss(Section):
    """`[loss]`: a `name` in `kseg.losses.LOSSES`, or a sum such as `"cross_entropy + 0.5 * dice"`; class weights."""

    name: str = "cross_entropy"
    class_weights: Literal["none", "median", "inverse", "effective"] | tuple[NotNegative, ...] = "none"
    """`"median"`, `"inverse"` and `"effective"` (frequency) compute the weights from the training labels."""
    class_weights_power: NotNegative = 1.0
    """The exponent of the weights: 0.5 reduces their differences, 0 makes them equal."""
    options: dict[str, Any] = {}


class Optimizer(Section):
    """`[optimizer]`: AdamW or SGD, the polynomial schedule, and the learning-rate factor of the encoder."""

    name: Literal["adamw", "sgd"] = "adamw"
    learning_rate: Annotated[float, pydantic.Field(gt=0)] = 1e-3
    weight_decay: NotNegative = 1e-2
    decay_norm: bool = False
    """Whether weight decay includes biases and the scales and shifts of normalization, as in PyTorch."""
    encoder_factor: NotNegative = 1.0
    """The learning-rate factor of the encoder. 0 freezes it, including its BatchNorm statistics."""
    warmup_steps: Annotated[int, pydantic.Field(ge=0)] = 0
    warmup_epochs: NotNegative = 0.0
    power: NotNegative = 0.9
    momentum: Share = 0.9
    """The momentum of SGD."""
    global_clipnorm: Annotated[float, pydantic.Field(gt=0)] | None = None
    """The maximum norm of the whole gradient; larger gradients are scaled down to it."""
    ema: Share | None = None
    """The momentum of a moving average of the weights. If given, the average is validated and saved."""

    @pydantic.model_validator(mode="after")
    def _one_warmup(self) -> Self:
        if self.warmup_steps and self.warmup_epochs:
            raise ValueError("give warmup_steps or warmup_epochs, not both")
        return self


class Selection(Section):
    """`[selection]`: the epoch whose weights are kept."""

    every: Annotated[int, pydantic.Field(ge=0)] = 1
    """Epochs between validations; the last epoch is always validated. 0 keeps the weights of the last epoch."""
    metric: Literal["miou", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou"] = "miou"


class Recipe(Section):
    """Every setting of a training run; `Recipe.from_toml` reads it from a file.

    Example:
        >>> recipe = Recipe.from_dict({"epochs": 2, "data": {"name": "streets"}, "model": {"builder": "unet"}})
        >>> recipe.optimizer.name, recipe.data.batch_size, len(recipe.hash())
        ('adamw', 8, 12)
        >>> Recipe.from_dict({"epochs": 2, "data": {"name": "streets", "bach_size": 4}, "model": {"builder": "unet"}})
        Traceback (most recent call last):
        ValueError: recipe: [data] has no key 'bach_size': did you mean 'batch_size'?
    """

    data: Data
    model: Model
    loss: Loss = Loss()
    optimizer: Optimizer = Optimizer()
    selection: Selection = Selection()
    epochs: Positive
    seed: Annotated[int, pydantic.Field(ge=0, lt=2**31)] = 0
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    deterministic: bool = False
    """Whether to use only operations with reproducible results, bit for bit. They are slower on a GPU, where JAX also
    requires the environment variable `XLA_FLAGS=--xla_gpu_deterministic_ops=true`."""
    tensorboard: bool | None = None
    """Whether to write TensorBoard logs; requires TensorFlow and TensorBoard. None: if TensorFlow is the backend."""

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], *, source: str = "recipe") -> Self:
        """Validates the tables of a recipe, as returned by `tomllib`; `source` is its name in messages.

        Raises:
            ValueError: If a key is unknown or missing, or a value is invalid. The message describes the first error.
        """
        try:
            return cls.model_validate(content)
        except pydantic.ValidationError as error:
            raise ValueError(f"{source}: {_first_fault(error)}") from None

    @classmethod
    def from_toml(cls, path: str | os.PathLike) -> Self:
        """Reads and validates a recipe file.

        Raises:
            FileNotFoundError: If the file does not exist.
            ValueError: If it is not TOML or not a recipe.
        """
        path = pathlib.Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"no recipe at {path}")
        try:
            content = tomllib.loads(path.read_text("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is not TOML: {error}") from None
        return cls.from_dict(content, source=str(path))

    def to_json(self) -> str:
        """Returns the recipe as JSON, with all defaults and sorted keys; `from_dict(json.loads(...))` reads it."""
        return json.dumps(self.model_dump(mode="json"), indent=2, sort_keys=True)

    def hash(self) -> str:
        """Returns 12 hexadecimal digits that depend on every value of the recipe."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    def differences(self, other: "Recipe") -> list[str]:
        """Lists the values that differ in another recipe, as `"optimizer.learning_rate: 0.001 -> 0.01"`."""
        mine, theirs = (_flat(recipe.model_dump(mode="json")) for recipe in (self, other))
        keys = sorted(mine.keys() | theirs.keys())
        return [f"{key}: {mine.get(key)} -> {theirs.get(key)}" for key in keys if mine.get(key) != theirs.get(key)]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        leaves |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return leaves


def _first_fault(error: pydantic.ValidationError) -> str:
    """Returns the first error in one line. Unknown keys come first: a misspelled key also causes a missing one."""
    sections: dict[Any, list[str]] = {
        name: list(getattr(field.annotation, "model_fields", ())) for name, field in Recipe.model_fields.items()
    }
    fault = min(error.errors(include_url=False), key=lambda fault: fault["type"] != "extra_forbidden")
    place = list(fault["loc"])
    known, table = list(Recipe.model_fields), "the top level"
    if place and sections.get(place[0]):
        known, table = sections[place[0]], f"[{place.pop(0)}]"
    key = str(place[0]) if place else ""
    if fault["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, known, n=1)
        elsewhere = [name for name, keys in sections.items() if key in keys]
        if near:
            return f"{table} has no key {key!r}: did you mean {near[0]!r}?"
        if elsewhere:
            return f"{table} has no key {key!r}: it belongs to [{elsewhere[0]}]"
        return f"{table} has no key {key!r}: there are {', '.join(known)}"
    if fault["type"] == "missing":
        return f"{table} is missing {key!r}" if key else f"the section {table} is missing"
    where = f"{table} {key}".strip() + f": {fault['msg'].removeprefix('Value error, ')}"
    return where if fault["type"] == "value_error" else f"{where}, got {fault['input']!r}"
