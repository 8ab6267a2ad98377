"""Environments that contain only what the metadata of packages require, linked from the one of the tests."""

import importlib.metadata
import os
import pathlib
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator, Mapping, Sequence

from packaging.requirements import Requirement

OFFLINE = "import socket; socket.socket.connect = None\n"


class Environment:
    """A virtual environment with one wheel or several and their requirements, and without a network.

    pip installs the wheels from a folder. It finds their requirements installed, because the files of each are linked
    into the environment; it fails if the wheels require anything else, and a package that their metadata forget is
    missing.

    Args:
        folder: The folder to make.
        wheels: Files.
        requirement: What is installed, e.g. `"kseg[export]"`.
        without: A requirement that is taken out in the end.
    """

    def __init__(self, folder: pathlib.Path, wheels: Sequence[pathlib.Path], requirement: str, without: str = ""):
        venv.create(folder, with_pip=False)
        self.python = folder / "bin/python"
        site = next(folder.glob("lib/python*/site-packages"))
        given = {wheel.name.split("-")[0].replace("_", "-"): _metadata(wheel) for wheel in wheels}
        for name in set(_closure(Requirement(requirement), given, set())) - given.keys():
            _link(importlib.metadata.distribution(name), site)
        links = [option for wheel in wheels for option in ("--find-links", str(wheel.parent))]
        command = [sys.executable, "-m", "pip", "--python", str(self.python), "install", "-q", "--no-index", *links]
        done = subprocess.run([*command, requirement], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        if without:
            (site / without).unlink()
        (site / "sitecustomize.py").write_text(OFFLINE)

    def run(self, folder: pathlib.Path, code: str, *arguments: str) -> str:
        """Runs Python code in a folder; returns what it printed."""
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        environment["KSEG_HOME"] = str(folder / "home")
        run = subprocess.run(
            [self.python, "-c", code, *arguments],
            cwd=folder, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        return run.stdout


def _metadata(wheel: pathlib.Path) -> importlib.metadata.Distribution:
    folder = next(path for path in zipfile.Path(wheel).iterdir() if path.name.endswith(".dist-info"))
    return importlib.metadata.PathDistribution(folder)


def _closure(
    requirement: Requirement, given: Mapping[str, importlib.metadata.Distribution], seen: set[tuple[str, str]]
) -> Iterator[str]:
    """Names all distributions that a requirement needs; `given` are those that are not installed here."""
    name = requirement.name.lower().replace("_", "-")
    new = [extra for extra in ("", *sorted(requirement.extras)) if (name, extra) not in seen]
    seen.update((name, extra) for extra in new)
    if not new:
        return
    yield name
    distribution = given[name] if name in given else importlib.metadata.distribution(name)
    for one in map(Requirement, distribution.requires or ()):
        if any(one.marker is None or one.marker.evaluate({"extra": extra}) for extra in new):
            yield from _closure(one, given, seen)


def _link(distribution: importlib.metadata.Distribution, site: pathlib.Path) -> None:
    for top in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
        source, target = pathlib.Path(str(distribution.locate_file(top))), site / top
        if not target.exists() and source.exists():
            target.symlink_to(source.resolve())
