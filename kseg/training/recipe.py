"""The recipe: every setting of a training run, validated before anything is built."""

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

from kseg import data
from kseg.classes import check_names
from kseg.training.recipe_faults import first_fault
from kseg.training.recipe_section import (
    APART,
    Color,
    Distribution,
    NotNegative,
    Number,
    Positive,
    Section,
    Share,
    Switch,
    Tracking,
    Whole,
)


def _left_out() -> Any:
    """A key without a default value: recipes that leave it out have the hash that they had before it existed."""
    return pydantic.Field(default=None, exclude_if=lambda value: value is None)


class Data(Section):
    """`[data]`: a data set: one of `name`, your own `folder` with its `classes`, or `shards`; batches, augmentation."""

    name: str | None = None
    """A data set that kseg knows: `camvid`, `nuclei`, `streets`, `pets`, `voc`, `ade20k` or `cityscapes`."""
    folder: str | None = None
    """The folder of your own images and masks, relative to the working directory."""
    shards: str | None = _left_out()
    """What `kseg datasets pack` wrote, Parquet files or tar files: a folder or pattern, also `"gs://bucket/cells"`."""
    classes: tuple[str, ...] | None = None
    """The names of the classes, in the order of their ids. `folder` needs them."""
    palette: tuple[Color, ...] | None = None
    """The color of each class, red, green and blue from 0 to 255; RGB masks are decoded by them."""
    ignore: Whole | str | tuple[Whole | str | Color, ...] = ()
    """Values of masks, colors of RGB masks or names of annotated objects to ignore, besides the mask value 255."""
    values: tuple[Whole, ...] | None = _left_out()
    """The mask value of each class, e.g. `[0, 255]` for black-and-white masks; by default 0, 1, 2, ..."""
    images: str | None = _left_out()
    """The folder of the images, by default `"images"`, or a pattern such as `"{split}/{stem}.jpg"`."""
    masks: str | None = _left_out()
    """The folder of the masks, by default `"masks"`, or a pattern such as `"{split}/{stem}_mask.png"`."""
    image_suffix: str | None = _left_out()
    """What follows the part of an image's name that its mask shares, e.g. `"_image"`."""
    mask_suffix: str | None = _left_out()
    """What follows the part of a mask's name that its image shares, e.g. `"_mask"`."""
    split: str | dict[str, str] | None = _left_out()
    """Shares of train, val and test, `"80/10/10"`; or the lists: a folder, a pattern with `{split}`, a table."""
    split_seed: Whole | None = _left_out()
    """Chooses which images fall into which share, by default 0; it does not depend on `seed`."""
    annotations: str | None = _left_out()
    """A file or folder of polygons in place of masks, also for each split: `"instances_{split}.json"`."""
    range: tuple[Number, Number] | Literal["percentile"] | None = _left_out()
    """The image values that are black and white, e.g. `[0, 4095]` for a 12-bit camera; or percentiles of each image."""
    bands: tuple[Positive, ...] | None = _left_out()
    """The bands of the images to use, from 1."""
    page: Positive | None = _left_out()
    """The page of files with several, from 1."""
    channels: Positive | None = _left_out()
    """1 converts images to gray, 3 to RGB."""
    batch_size: Positive = 8
    """Images per training step."""
    augment: str = "street"
    """The random changes of training images: `none`, `flip`, `street` or `microscope`."""
    crop: tuple[Positive, Positive] | None = None
    """Height and width of the random part of an image that a step takes. Images of several sizes need it."""
    scale: tuple[Number, Number] | None = None
    """The smallest and the largest random scale, both above 0; by default those of `augment`."""
    copy_paste: tuple[str, ...] | None = _left_out()
    """Names of rare classes, whose pixels are copied from another random image into half of the training images."""
    options: dict[str, Any] = {}
    """Other arguments of the data set, e.g. `{ memory_limit = 0 }`."""

    @pydantic.model_validator(mode="after")
    def _name_or_folder(self) -> Self:
        if sum(each is not None for each in (self.name, self.folder, self.shards)) != 1:
            raise ValueError("give either name (a data set of kseg) or folder (your own data) or shards (packed data)")
        if self.folder is not None and not self.classes:
            raise ValueError("folder needs classes, the names in the order of their ids")
        check_names(self.classes or (), "classes")
        own = ("classes", "palette", "ignore", *FOLDER_KEYS)
        if self.name is not None and (given := [key for key in own if getattr(self, key) not in (None, ())]):
            verb = "belongs" if len(given) == 1 else "belong"
            raise ValueError(f"{', '.join(given)} {verb} to folder; a named data set has its own")
        alien = [key for key in own if key not in SHARD_KEYS and getattr(self, key) not in (None, ())]
        if self.shards is not None and alien:
            raise ValueError(
                f"{', '.join(alien)} {'belongs' if len(alien) == 1 else 'belong'} to folder, not to shards"
            )
        if self.scale is not None and not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale must be (smallest, largest), both above 0, got {list(self.scale)}")
        return self


FOLDER_KEYS = (
    "values", "images", "masks", "image_suffix", "mask_suffix", "split", "split_seed", "annotations", "range", "bands",
    "page", "channels",
)  # fmt: skip
"""Keys of `[data]` that say where the files of `folder` are and what they contain."""
SHARD_KEYS = ("classes", "palette", "ignore", "values", "images", "masks", "range", "bands", "page", "channels")
"""Those that say what Parquet and tar files contain."""


class Model(Section):
    """`[model]`: a builder of `kseg.zoo`, its encoder, and its other keyword arguments as `options`."""

    builder: str
    """A builder of `kseg.zoo`, e.g. `"unet"`."""
    encoder: str = "efficientnet_lite0"
    """An encoder of `kseg.encoders`, e.g. `"resnet50"`."""
    encoder_weights: str = "imagenet"
    """`"imagenet"`, `"timm/NAME"`, a file, or `"none"` (TOML has no null)."""
    options: dict[str, Any] = {}
    """Other arguments of the builder, e.g. `{ filters = [128, 64, 32, 16, 8] }`."""
    start: str | None = pydantic.Field(default=None, exclude_if=lambda start: start is None)
    """A weight file of kseg to start from, e.g. of a coarser FCN. A warning lists the tensors that do not fit."""


class Loss(Section):
    """`[loss]`: a `name` in `kseg.losses.LOSSES`, or a sum such as `"cross_entropy + 0.5 * dice"`; class weights."""

    name: str = "cross_entropy"
    """A loss of `kseg.losses.LOSSES`, or a weighted sum, e.g. `"cross_entropy + 0.5 * dice"`."""
    class_weights: Literal["none", "median", "inverse", "effective"] | tuple[NotNegative, ...] = "none"
    """One weight per class, or how `kseg.losses.class_weights` computes them from the frequencies f of the classes in
    the training labels; `"median"` gives median(f) / f."""
    class_weights_power: NotNegative = 1.0
    """The exponent of all weights, those of a list too: 0.5 reduces their differences, 0 makes them equal. It does
    nothing with `"none"`."""
    options: dict[str, Any] = {}
    """Other arguments of the loss, e.g. `{ label_smoothing = 0.1 }`."""


class Optimizer(Section):
    """`[optimizer]`: AdamW or SGD, the polynomial schedule, and the learning-rate factor of the encoder."""

    name: Literal["adamw", "sgd"] = "adamw"
    """AdamW, or stochastic gradient descent with momentum."""
    learning_rate: Annotated[Number, pydantic.Field(gt=0)] = 1e-3
    """The learning rate at the start, after the warm-up."""
    weight_decay: NotNegative = 1e-2
    """The coefficient of the weight decay, relative to the learning rate; with SGD, of L2 regularization."""
    decay_norm: Switch = False
    """Whether weight decay includes biases and the scales and shifts of normalization, as in PyTorch."""
    encoder_factor: NotNegative = 1.0
    """The learning-rate factor of the encoder. 0 freezes it, including its BatchNorm statistics."""
    warmup_steps: Annotated[Whole, pydantic.Field(ge=0)] = 0
    """Steps in which the learning rate rises from near 0."""
    warmup_epochs: NotNegative = 0.0
    """The same in epochs; give one of both."""
    power: NotNegative = 0.9
    """The exponent of the polynomial that lowers the learning rate to 0 at the end; 0 keeps the rate constant."""
    momentum: Share = 0.9
    """The momentum of SGD."""
    accumulate: Positive = pydantic.Field(default=1, exclude_if=lambda parts: parts == 1)
    """The number of parts in which the gradient of each batch is computed, one after another, to save memory.

    The batch and the gradient stay the same, but batch normalization, losses of regions such as Dice, the choice of
    pixels in OHEM and the weights of borders in BoundaryWeighted see one part at a time."""
    global_clipnorm: Annotated[Number, pydantic.Field(gt=0)] | None = None
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

    every: Annotated[Whole, pydantic.Field(ge=0)] = 1
    """Epochs between validations; the last epoch is always validated. 0 keeps the weights of the last epoch."""
    metric: Literal["miou", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou"] = "miou"
    """The score of the validation images whose highest value decides."""


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
    """How often training goes through the images."""
    seed: Annotated[Whole, pydantic.Field(ge=0, lt=2**31)] = 0
    """Chooses the initial weights, the order of the images and their random changes."""
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    """The type of the numbers in computations; the mixed ones take less memory and are faster on GPUs, and for some
    networks on CPUs with AMX."""
    deterministic: Switch = False
    """Whether to use only operations with reproducible results, bit for bit. They are slower on a GPU, where JAX also
    requires the environment variable `XLA_FLAGS=--xla_gpu_deterministic_ops=true`."""
    rematerialize: Switch = pydantic.Field(default=False, exclude_if=lambda given: not given)
    """Whether to compute features again for the gradient instead of keeping them: less memory, more time."""
    tensorboard: Switch | None = None
    """Deprecated: use `tensorboard` in `[tracking]`."""
    tracking: Tracking = pydantic.Field(default=Tracking(), exclude_if=lambda tracking: tracking == Tracking())
    distribution: Distribution = pydantic.Field(
        default=Distribution(), exclude_if=lambda given: given == Distribution()
    )

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], *, source: str = "recipe") -> Self:
        """Validates the tables of a recipe, as returned by `tomllib`; `source` is its name in messages.

        Raises:
            ValueError: If a key is unknown or missing, or a value is invalid. The message describes the first error.
        """
        try:
            return cls.model_validate(content)
        except pydantic.ValidationError as error:
            raise ValueError(f"{source}: {first_fault(error, cls)}") from None

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
            content = tomllib.loads(data.read_text(path))
        except tomllib.TOMLDecodeError as error:
            escape = "; write paths with / or in single quotes" if "\\" in str(error) else ""
            raise ValueError(f"{path} is not TOML: {error}{escape}") from None
        return cls.from_dict(content, source=str(path))

    def on(self, **place: int | str | None) -> Self:
        """Returns the recipe with other values in `[distribution]`; those that are None stay."""
        given = {key: value for key, value in place.items() if value is not None}
        return self.model_copy(update={"distribution": self.distribution.model_copy(update=given)})

    def to_json(self) -> str:
        """Returns the recipe as JSON, with all defaults and sorted keys; `from_dict(json.loads(...))` reads it."""
        return json.dumps(self.model_dump(mode="json"), indent=2, sort_keys=True)

    def hash(self) -> str:
        """Returns 12 hexadecimal digits that depend on every value but `[tracking]` and `[distribution]`."""
        canonical = json.dumps(self.model_dump(mode="json", exclude=APART), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    def differences(self, other: "Recipe") -> list[str]:
        """Lists the values that differ in another recipe, as `"optimizer.learning_rate: 0.001 -> 0.01"`."""
        mine, theirs = (_flat(recipe.model_dump(mode="json", exclude=APART)) for recipe in (self, other))
        keys = sorted(mine.keys() | theirs.keys())
        return [f"{key}: {mine.get(key)} -> {theirs.get(key)}" for key in keys if mine.get(key) != theirs.get(key)]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        leaves |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return leaves
