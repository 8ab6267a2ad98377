"""The source distribution and the wheel built from it: their files, and the wheel outside the checkout."""

import os
import pathlib
import subprocess
import sys
import tarfile
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """The folder of the source distribution and of the wheel, which `build` makes from the former."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return out


@pytest.fixture(scope="module")
def wheel(dist):
    return next(dist.glob("*.whl"))


def test_the_source_distribution_contains_kseg_without_tests_and_benchmarks(dist):
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        names = {name.split("/")[1] for name in archive.getnames()}
    assert names >= {"kseg", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"}
    assert not names & {"tests", "benchmarks", "zoo"}


def test_the_wheel_contains_only_kseg(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"kseg"}
    assert {"kseg/py.typed", "kseg/pretrained/releases.json"} <= set(names)


def test_the_wheel_imports_and_trains_outside_the_checkout(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    (tmp_path / "recipe.toml").write_text(
        "epochs = 1\n"
        '[data]\nname = "streets"\nbatch_size = 2\naugment = "flip"\noptions = { count = 4, size = [32, 32] }\n'
        '[model]\nbuilder = "unet"\nencoder_weights = "none"\noptions = { filters = [8, 8, 8, 8, 8] }\n'
    )
    code = (
        "import sys, kseg.cli; assert 'site' in kseg.cli.__file__; "
        "sys.argv = ['kseg', 'train', 'recipe.toml', '--run-folder', 'run']; kseg.cli.main()"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "run" / "best.safetensors").is_file()
    assert "miou" in run.stdout
