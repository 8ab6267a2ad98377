"""The texts about released weights: the card of each, and the list of all, for the checkout and for model hubs."""

import dataclasses
import pathlib
import string
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.leaderboard import SCORES
from benchmarks.sources import SOURCES
from kseg import zoo
from kseg.pretrained import Release

TEMPLATES = pathlib.Path(__file__).parent / "templates"
NEAR = 1.1
"""A file is as small as the smallest of its data set if it has at most so many times its bytes."""
ADDRESS = """\
# Set the environment variable KSEG_WEIGHTS_URL to the address of the folder above this one,
# or pass the address of model.safetensors to load.
"""


def _filled(name: str, content: Mapping[str, Any], **more: Any) -> str:
    return string.Template((TEMPLATES / f"{name}.md").read_text("utf-8")).substitute(content, **more)


def model_card(release: Release, metrics: Mapping[str, Any], recipe: Mapping[str, Any], picture: str) -> str:
    """Writes the card of released weights from their entry, `metrics.json`, the recipe and the name of the picture."""
    source, scores, original = SOURCES[release.dataset], metrics["scores"], metrics["float32"]
    encoder = release.arguments.get("encoder")
    return _filled(
        "card",
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
        row=" | ".join(_percent(scores[name]) for name in SCORES),
        original_row=" | ".join(_percent(original[name]) for name in SCORES),
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


def hub_card(release: Release, text: str) -> str:
    """Writes the card for a model hub: with metadata in front, and a comment on where the code finds the weights."""
    code = f'model = kseg.zoo.load("{release.name}")'
    text = text.replace(code, f"{ADDRESS}{code}", 1)
    title = SOURCES[release.dataset].title
    return _filled("hub", dataclasses.asdict(release), license=release.license.lower(), title=title, card=text)


def contents(releases: Mapping[str, Release]) -> str:
    """Writes the page of `zoo/` that lists all released weights."""
    return _filled("list", {"table": _table(releases, "card.md")})


def hub_contents(releases: Mapping[str, Release]) -> str:
    """Writes the page that lists all released weights for a model hub, with metadata in front."""
    licenses = {release.license.lower() for release in releases.values()}
    content = {
        "license": licenses.pop() if len(licenses) == 1 else "other",
        "datasets": "\n".join(dict.fromkeys(f"- {release.dataset}" for release in releases.values())),
        "table": _table(releases, "README.md"),
    }
    return _filled("served", content)


def _table(releases: Mapping[str, Release], page: str) -> str:
    lines = [
        "| name | data set | choose it for | mIoU | pixel accuracy | parameters | size | license |",
        f"|{' --- |' * 8}",
    ]
    for _, one in sorted(releases.items()):  # as in the file
        cells = [
            f"[{one.name}]({one.name}/{page})",
            SOURCES[one.dataset].title,
            _use(one, [other for other in releases.values() if other.dataset == one.dataset]),
            _percent(one.miou),
            _percent(one.pixel_accuracy),
            f"{one.parameters / 1e6:.2f} M",
            f"{one.bytes / 1e6:.1f} MB",
            one.license,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _use(release: Release, alike: Sequence[Release]) -> str:
    """Returns what a release is the best of its data set for: the score, a small file, both, or an empty text."""
    small = [one for one in alike if one.bytes <= NEAR * min(other.bytes for other in alike)]
    uses = {"the highest score": alike, "a small file": small}
    return ", ".join(use for use, among in uses.items() if release is max(among, key=lambda one: one.miou))
