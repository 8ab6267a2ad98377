"""The texts about released weights: the card of each, and the list of all, for the checkout and for model hubs."""

import dataclasses
import string
from collections.abc import Mapping
from typing import Any

from benchmarks.sources import SOURCES
from kseg import zoo
from kseg.pretrained import Release

CARD = string.Template("""\
# $name

A `$builder`$encoder for $classes, trained on $title.

```python
import kseg

model = kseg.zoo.load("$name")
```

![Test images, their labels and what the model predicts]($picture)

${void}Images: $title, $data_license.

Input: RGB images, 0 to 255, of any size. Output: float32 logits `(N, H, W, $channels)`.
Classes: $class_names.

## Scores

On the $images images of the test split at $size, from one confusion matrix over all pixels, measured with
$measured.

| | mIoU | pixel accuracy | mean accuracy | frequency-weighted IoU |
| --- | --- | --- | --- | --- |
| this file ($dtype) | $miou | $pixel_accuracy | $mean_accuracy | $frequency_weighted_iou |
| before storage (float32) | $original_miou | $original_pixel_accuracy | $original_mean_accuracy | $original_fwiou |

The scores before storage: $original_measured.
$cost

| class | IoU |
| --- | --- |
$ious

## Limits

$limits
$weakest

## Data and license

$terms
Data: $origin.
$start

## How to repeat

```bash
kseg train zoo/$name/recipe.toml --run-folder runs/$name
python -m benchmarks release runs/$name$called
```

`recipe.toml` holds every setting (hash `$recipe`, seed $seed, $epochs epochs). `metrics.json` holds the confusion
matrix, the versions and the scores of a subset that the test suite measures again.

`$file`: $bytes bytes, SHA-256 `$sha256`, $parameters parameters.
""")


def model_card(release: Release, metrics: Mapping[str, Any], recipe: Mapping[str, Any], picture: str) -> str:
    """Writes the card of released weights.

    Args:
        release: The entry of the table.
        metrics: The content of `metrics.json`.
        recipe: The tables of the recipe.
        picture: The file name of the picture.

    Returns:
        Markdown.
    """
    source, scores, original = SOURCES[release.dataset], metrics["scores"], metrics["float32"]
    encoder = release.arguments.get("encoder")
    return CARD.substitute(
        dataclasses.asdict(release),
        title=source.title,
        encoder=f" on `{encoder}`" if encoder else "",
        classes="two classes" if release.arguments["num_classes"] == 1 else f"{len(release.classes)} classes",
        channels=release.arguments["num_classes"],
        class_names=", ".join(release.classes),
        picture=picture,
        images=scores["images"],
        size=metrics["size"],
        measured=metrics["measured"],
        dtype=metrics["dtype"],
        **{name: _percent(scores[name]) for name in ("miou", "pixel_accuracy", "mean_accuracy")},
        frequency_weighted_iou=_percent(scores["frequency_weighted_iou"]),
        original_miou=_percent(original["miou"]),
        original_pixel_accuracy=_percent(original["pixel_accuracy"]),
        original_mean_accuracy=_percent(original["mean_accuracy"]),
        original_fwiou=_percent(original["frequency_weighted_iou"]),
        original_measured=original["measured"],
        cost=_cost(metrics),
        called="" if release.name.endswith(f"-{release.dataset}") else f" --name {release.name}",
        ious="\n".join(f"| {name} | {_percent(iou)} |" for name, iou in scores["iou"].items()),
        void="Black in a label is void, which is ignored. " if source.void else "",
        weakest=_weakest({name: iou for name, iou in scores["iou"].items() if iou is not None}),
        limits=source.limits,
        terms=source.terms
        if release.license == source.license
        else f"{source.title} is {source.license}, but training began with weights under {release.license}: these "
        "inherit that license.",
        data_license=source.license,
        origin=source.origin,
        start=_start(release, recipe["model"]),
        seed=recipe["seed"],
        epochs=recipe["epochs"],
        bytes=f"{release.bytes:,}",
        parameters=f"{release.parameters:,}",
    )


def _start(release: Release, model: Mapping[str, Any]) -> str:
    """Returns a sentence on the initial weights."""
    if start := model.get("start"):
        return f"Training began with the released weights `{start}`."
    has_weights = "encoder_weights" in zoo.BUILDERS[release.builder].defaults
    weights = model["encoder_weights"] if has_weights else "none"
    return "" if weights == "none" else f"The encoder began with its {weights} weights."


def _weakest(ious: Mapping[str, float]) -> str:
    """Returns a sentence on the classes with the lowest IoU: two of many, one of two."""
    first, second, *more = [f"{name} ({_percent(ious[name])})" for name in sorted(ious, key=ious.__getitem__)]
    return f"The weakest classes are {first} and {second}." if more else f"The weakest class is {first}."


def _cost(metrics: Mapping[str, Any]) -> str:
    """Returns a sentence on the cost of storage, with as many digits as the score before storage has."""
    change = f"Storage as {metrics['dtype']} changes the mIoU (of 0 to 1) by"
    digits = metrics["float32"].get("digits")
    if digits is None:
        return f"{change} {-metrics['cost']:+.6f}."
    step = f"{10**-digits:.{digits}f}"
    if metrics["cost"] == 0:
        return f"{change} less than {step}, the leaderboard's precision."
    return f"{change} {-metrics['cost']:+.{digits}f}, to the leaderboard's precision of {step}."


def _percent(share: float | None) -> str:
    return "absent" if share is None else f"{100 * share:.2f}"


HUB = ("library_name: keras", "pipeline_tag: image-segmentation")
TAGS = ("semantic-segmentation", "kseg", "keras")


ADDRESS = """\
# Set the environment variable KSEG_WEIGHTS_URL to the address of the folder above this one,
# or pass the address of model.safetensors to load.
"""


def hub_card(release: Release, text: str) -> str:
    """Makes the card for a model hub: with metadata in front, and with a comment on where the code finds the weights.

    Args:
        release: The entry of the table.
        text: The card.

    Returns:
        Markdown with a YAML head.
    """
    tags = "\n".join(f"- {tag}" for tag in (*TAGS, release.builder))
    head = "\n".join(HUB)
    code = f'model = kseg.zoo.load("{release.name}")'
    text = text.replace(code, f"{ADDRESS}{code}", 1)
    return f"""\
---
license: {release.license.lower()}
{head}
tags:
{tags}
datasets:
- {release.dataset}
metrics:
- mean_iou
- accuracy
model-index:
- name: {release.name}
  results:
  - task:
      type: image-segmentation
    dataset:
      name: {SOURCES[release.dataset].title}
      type: {release.dataset}
      split: test
    metrics:
    - type: mean_iou
      value: {release.miou}
    - type: accuracy
      value: {release.pixel_accuracy}
---

{text}"""


LIST = """\
# Released weights

One folder each, `builder-encoder-dataset/`: `recipe.toml` (the training), `metrics.json` (the scores), `card.md` (a
description, data and license, limits), `predictions.png`, and `model.safetensors` unless it is larger than 16 MB.
`python -m benchmarks release RUN` writes all of them, this page and the table in `kseg/pretrained`.

{table}
mIoU and pixel accuracy of the stored file in percent, on the test split at full size.

`kseg.zoo.load(name)` takes the file from here, else from the cache (`KSEG_HOME`, by default `~/.cache/kseg`), else from
the addresses in `KSEG_WEIGHTS_URL`. `python -m benchmarks publish --to FOLDER` writes the files that those addresses
serve. The code that builds the models is in [`kseg/zoo`](../kseg/zoo).
"""

SERVED = """\
# Weights for kseg

Semantic segmentation models for Keras 3, on TensorFlow, JAX and PyTorch. `KSEG_WEIGHTS_URL` is the address of this
folder; `kseg.zoo.load(name)` then downloads and verifies what it needs.

{table}
mIoU and pixel accuracy in percent, on the test split at full size. Each model has its own license.
"""


def contents(releases: Mapping[str, Release]) -> str:
    """Writes the page of `zoo/` that lists all released weights.

    Args:
        releases: The table.

    Returns:
        Markdown.
    """
    return LIST.format(table=_table(releases, "card.md"))


def hub_contents(releases: Mapping[str, Release]) -> str:
    """Writes the page that lists all released weights for a model hub, with metadata in front.

    Args:
        releases: The table.

    Returns:
        Markdown with a YAML head.
    """
    licenses = {release.license.lower() for release in releases.values()}
    license = licenses.pop() if len(licenses) == 1 else "other"
    datasets = [f"- {dataset}" for dataset in dict.fromkeys(release.dataset for release in releases.values())]
    tags = [f"- {tag}" for tag in TAGS]
    head = ["---", f"license: {license}", *HUB, "tags:", *tags, "datasets:", *datasets, "---", ""]
    return "\n".join(head) + "\n" + SERVED.format(table=_table(releases, "README.md"))


def _table(releases: Mapping[str, Release], page: str) -> str:
    lines = ["| name | data set | mIoU | pixel accuracy | parameters | size | license |", f"|{' --- |' * 7}"]
    for _, one in sorted(releases.items()):  # as in the file
        cells = [
            f"[{one.name}]({one.name}/{page})",
            SOURCES[one.dataset].title,
            _percent(one.miou),
            _percent(one.pixel_accuracy),
            f"{one.parameters / 1e6:.2f} M",
            f"{one.bytes / 1e6:.1f} MB",
            one.license,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
