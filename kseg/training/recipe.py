"""The recipe: everything that decides what a training run does, validated before anything is built."""

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
    """A table of the recipe: unknown keys are refused, values cannot be changed later."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class Data(Section):
    """`[data]`: a data set by `name`, or a `folder` of one's own with its `classes`; batches and augmentation."""

    name: str | None = None
    folder: str | None = None
    classes: tuple[str, ...] | None = None
    palette: tuple[tuple[int, int, int], ...] | None = None
    ignore: int | tuple[int | tuple[int, int, int], ...] = ()
    """Mask values, or colours of RGB masks, that count for nothing, beside 255."""
    batch_size: Positive = 8
    augment: str = "street"
    crop: tuple[Positive, Positive] | None = None
    scale: tuple[float, float] | None = None
    """None takes the augmentation's own, e.g. 0.5 to 2 for `"street"`."""
    options: dict[str, Any] = {}

    @pydantic.model_validator(mode="after")
    def _name_or_folder(self) -> Self:
        if (self.name is None) == (self.folder is None):
            raise ValueError("give either name (a data set of kseg) or folder (your own data)")
        if self.folder is not None and not self.classes:
            raise ValueError("folder needs classes, the names in the order of their ids")
        if self.name is not None and (self.classes, self.palette, self.ignore) != (None, None, ()):
            raise ValueError("classes, palette and ignore belong to folder; a named data set brings its own")
        if self.scale is not None and not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale must be (smallest, largest), both above 0, got {list(self.scale)}")
        return self


class Model(Section):
    """`[model]`: a builder of `kseg.zoo`, its encoder, and `options`, the builder's other keyword arguments."""

    builder: str
    encoder: str = "efficientnet_lite0"
    encoder_weights: str = "imagenet"
    """`"imagenet"`, a file, or `"none"` (TOML has no null)."""
    options: dict[str, Any] = {}
    start: str | None = pydantic.Field(default=None, exclude_if=lambda start: start is None)
    """A weight file of kseg to start from, e.g. a coarser FCN's; what does not fit starts fresh and is reported."""


class Loss(Section):
    """`[loss]`: `name`, in `kseg.losses.LOSSES` or a sum: `"cross_entropy + 0.5 * dice"`; weights; `options`."""

    name: str = "cross_entropy"
    class_weights: Literal["none", "median", "inverse", "effective"] | tuple[NotNegative, ...] = "none"
    """`"median"`, `"inverse"` and `"effective"` frequency are computed from the training labels."""
    class_weights_power: NotNegative = 1.0
    """The weights are raised to this power: 0.5 softens them, 0 makes them equal."""
    options: dict[str, Any] = {}


class Optimizer(Section):
    """`[optimizer]`: AdamW or SGD, the polynomial schedule, and the encoder's share of the learning rate."""

    name: Literal["adamw", "sgd"] = "adamw"
    learning_rate: Annotated[float, pydantic.Field(gt=0)] = 1e-3
    weight_decay: NotNegative = 1e-2
    decay_norm: bool = False
    """Whether weight decay also shrinks biases and the scales and shifts of normalisation, as PyTorch's does."""
    encoder_factor: NotNegative = 1.0
    """The encoder learns with this share of the learning rate; 0 freezes it, BatchNorm statistics included."""
    warmup_steps: Annotated[int, pydantic.Field(ge=0)] = 0
    warmup_epochs: NotNegative = 0.0
    power: NotNegative = 0.9
    momentum: Share = 0.9
    """Of SGD."""
    global_clipnorm: Annotated[float, pydantic.Field(gt=0)] | None = None
    """Largest norm of the whole gradient; longer ones are scaled down."""
    ema: Share | None = None
    """Momentum of an average of the weights, which is then validated and saved in their place."""

    @pydantic.model_validator(mode="after")
    def _one_warmup(self) -> Self:
        if self.warmup_steps and self.warmup_epochs:
            raise ValueError("give warmup_steps or warmup_epochs, not both")
        return self


class Selection(Section):
    """`[selection]`: which epoch's weights are kept."""

    every: Annotated[int, pydantic.Field(ge=0)] = 1
    """Validate every so many epochs, and after the last; 0 keeps the last epoch without looking."""
    metric: Literal["miou", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou"] = "miou"


class Recipe(Section):
    """All that decides what a training run does; read it with `Recipe.from_toml`.

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
    """Only operations that give the same bits each time; slower on a GPU, where JAX also needs the environment variable
    `XLA_FLAGS=--xla_gpu_deterministic_ops=true`."""
    tensorboard: bool | None = None
    """Also write TensorBoard logs, by TensorFlow and tensorboard; None does so where TensorFlow is the backend."""

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], *, source: str = "recipe") -> Self:
        """Validates a recipe.

        Args:
            content: The tables, as `tomllib` reads them.
            source: What to call it in an error.

        Returns:
            The recipe.

        Raises:
            ValueError: A key is unknown or missing or a value is wrong; the first fault, in one line.
        """
        try:
            return cls.model_validate(content)
        except pydantic.ValidationError as error:
            raise ValueError(f"{source}: {_first_fault(error)}") from None

    @classmethod
    def from_toml(cls, path: str | os.PathLike) -> Self:
        """Reads and validates a recipe file.

        Args:
            path: A TOML file.

        Returns:
            The recipe.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It is not TOML, or not a recipe.
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
        """Returns the recipe with every default written out, keys sorted; `from_dict(json.loads(...))` reads it."""
        return json.dumps(self.model_dump(mode="json"), indent=2, sort_keys=True)

    def hash(self) -> str:
        """Returns 12 hex digits that change with any value of the recipe."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    def differences(self, other: "Recipe") -> list[str]:
        """Returns the values in which another recipe differs, as `"optimizer.learning_rate: 0.001 -> 0.01"`."""
        mine, theirs = (_flat(recipe.model_dump(mode="json")) for recipe in (self, other))
        keys = sorted(mine.keys() | theirs.keys())
        return [f"{key}: {mine.get(key)} -> {theirs.get(key)}" for key in keys if mine.get(key) != theirs.get(key)]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        leaves |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return leaves


def _first_fault(error: pydantic.ValidationError) -> str:
    """Turns pydantic's report into one line; a misspelt key comes before the missing one that it stands for."""
    faults = sorted(error.errors(include_url=False), key=lambda fault: fault["type"] != "extra_forbidden")
    fault = faults[0]
    section: type[pydantic.BaseModel] = Recipe
    place = list(fault["loc"])
    table = "the top level"
    if place and place[0] in Recipe.model_fields:
        annotation = Recipe.model_fields[str(place[0])].annotation
        if isinstance(annotation, type) and issubclass(annotation, Section):
            section, table = annotation, f"[{place.pop(0)}]"
    key = str(place[0]) if place else ""
    if fault["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, section.model_fields, n=1)
        elsewhere = [name for name, field in Recipe.model_fields.items() if _has(field.annotation, key)]
        if near:
            return f"{table} has no key {key!r}: did you mean {near[0]!r}?"
        if elsewhere:
            return f"{table} has no key {key!r}: it belongs to [{elsewhere[0]}]"
        return f"{table} has no key {key!r}: there are {', '.join(section.model_fields)}"
    if fault["type"] == "missing":
        return f"{table} is missing {key!r}" if key else f"the section {table} is missing"
    where = f"{table} {key}".strip() + f": {fault['msg'].removeprefix('Value error, ')}"
    return where if fault["type"] == "value_error" else f"{where}, got {fault['input']!r}"


def _has(annotation: Any, key: str) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section) and key in annotation.model_fields
