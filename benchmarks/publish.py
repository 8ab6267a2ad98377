"""`python -m benchmarks publish --to FOLDER`: the files of a server of released weights."""

import pathlib
from collections.abc import Mapping

from benchmarks.release import PICTURE, ZOO, hub_card, hub_contents
from kseg import pretrained

BESIDE = ("recipe.toml", "metrics.json", PICTURE)


def write_served(
    to: pathlib.Path, *, releases: Mapping[str, pretrained.Release] = pretrained.RELEASES, zoo: pathlib.Path = ZOO
) -> list[pathlib.Path]:
    """Writes released weights and their cards as `KSEG_WEIGHTS_URL` expects them.

    Raises:
        FileNotFoundError: If weights are not on this machine; then nothing is written.
    """
    content: dict[str, bytes] = {}
    for name, release in releases.items():
        folder = zoo / name
        file = pretrained.find(release)
        if file is None:
            cure = f"kseg weights get {name}, or release it again"
            raise FileNotFoundError(f"{name} is not on this machine with SHA-256 {release.sha256}: {cure}")
        content[f"{name}/{release.file}"] = file.read_bytes()
        content[f"{name}/README.md"] = hub_card(release, (folder / "card.md").read_text()).encode()
        content |= {f"{name}/{beside}": (folder / beside).read_bytes() for beside in BESIDE}
    content["README.md"] = hub_contents(releases).encode()
    return [pretrained.atomic_write(to / path, data) for path, data in content.items()]
