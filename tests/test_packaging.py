"""The source distribution and the wheels of kseg and kseg-weights: their files, and kseg outside the checkout."""

import hashlib
import os
import pathlib
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from kseg import inference, pretrained, zoo

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


@pytest.fixture(scope="module")
def weights_wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("weights")
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(out), str(ROOT / "zoo")]
    subprocess.run(command, check=True, capture_output=True)
    return next(out.glob("*.whl"))


def run_outside(folder, code, *wheels):
    """Runs code in a folder where only these wheels provide kseg, without a network."""
    for wheel in wheels:
        zipfile.ZipFile(wheel).extractall(folder / "site")
    (folder / "site" / "sitecustomize.py").write_text("import socket; socket.socket.connect = None\n")
    environment = os.environ | {"PYTHONPATH": str(folder / "site"), "KSEG_HOME": str(folder / "home")}
    code = f"import kseg; assert 'site' in kseg.__file__; {code}"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_the_source_distribution_contains_kseg_without_tests_and_benchmarks(dist):
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        names = {name.split("/")[1] for name in archive.getnames()}
    assert names >= {"kseg", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"}
    assert not names & {"tests", "benchmarks", "zoo"}


def test_the_wheel_contains_only_kseg(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"kseg"}
    assert {"kseg/py.typed", "kseg/pretrained/releases.json", "kseg/serve/page.html"} <= set(names)


def test_the_wheel_imports_and_trains_outside_the_checkout(wheel, tmp_path):
    (tmp_path / "recipe.toml").write_text(
        "epochs = 1\n"
        '[data]\nname = "streets"\nbatch_size = 2\naugment = "flip"\noptions = { count = 4, size = [32, 32] }\n'
        '[model]\nbuilder = "full_resolution"\noptions = { filters = [4] }\n'
    )
    code = "import sys, kseg.cli; sys.argv = ['kseg', 'train', 'recipe.toml', '--run-folder', 'run']; kseg.cli.main()"
    printed = run_outside(tmp_path, code, wheel)
    assert (tmp_path / "run" / "best.safetensors").is_file()
    assert "miou" in printed


def test_the_wheel_of_weights_has_the_files_of_every_release_and_their_licenses(weights_wheel):
    with zipfile.ZipFile(weights_wheel) as archive:
        names = set(archive.namelist())
        for name, release in pretrained.RELEASES.items():
            content = archive.read(f"kseg_weights/{name}/{release.file}")
            assert hashlib.sha256(content).hexdigest() == release.sha256
            assert f"kseg_weights/{name}/card.md" in names
            assert f"kseg_weights-0.1.0.dist-info/licenses/LICENSES/{release.license}.txt" in names
        metadata = archive.read("kseg_weights-0.1.0.dist-info/METADATA").decode()
    licenses = " AND ".join(sorted({release.license for release in pretrained.RELEASES.values()}, reverse=True))
    assert f"License-Expression: {licenses}\n" in metadata


def test_the_wheels_predict_without_a_network(wheel, weights_wheel, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3)).astype("uint8")
    Image.fromarray(image).save(tmp_path / "cells.png")
    code = (
        "import sys, numpy, kseg.cli; model = kseg.zoo.unet(weights='nuclei'); "
        "labels = kseg.inference.Predictor(model)('cells.png'); numpy.save('labels.npy', labels); "
        "command = 'kseg predict cells.png --weights unet-efficientnet_lite0-nuclei --out out --format npy'; "
        "sys.argv = command.split(); kseg.cli.main()"
    )
    run_outside(tmp_path, code, wheel, weights_wheel)
    expected = inference.Predictor(zoo.unet(weights="nuclei"))(image)
    np.testing.assert_array_equal(np.load(tmp_path / "labels.npy"), expected)
    np.testing.assert_array_equal(np.load(next(tmp_path.glob("out/**/*.npy"))), expected)
