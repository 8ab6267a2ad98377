"""The source distribution and the wheels of kseg and kseg-weights: their files, and kseg outside the checkout."""

import hashlib
import pathlib
import subprocess
import sys
import tarfile
import zipfile

import keras
import numpy as np
import pytest
from PIL import Image

from kseg import inference, pretrained, zoo
from tests.environment import Environment

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="module")
def weights_wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("weights")
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(out), str(ROOT / "zoo")]
    subprocess.run(command, check=True, capture_output=True)
    return next(out.glob("*.whl"))


def test_the_source_distribution_contains_kseg_without_tests_and_benchmarks(dist):
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        names = {name.split("/")[1] for name in archive.getnames()}
    assert names >= {"kseg", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"}
    assert not names & {"tests", "benchmarks", "zoo"}


def test_the_wheel_contains_only_kseg(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"kseg"}
    assert {"kseg/py.typed", "kseg/pretrained/releases.json", "kseg/serve/page.html"} <= set(names)


def test_the_files_for_an_index_are_small_and_whole(dist, weights_wheel):
    limits = dict.fromkeys(dist.iterdir(), 2000000.0) | {weights_wheel: 64e6}
    assert {path: path.stat().st_size for path in limits if path.stat().st_size > limits[path]} == {}
    command = [sys.executable, "-m", "twine", "check", "--strict", *map(str, limits)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout


def test_the_wheel_trains_in_an_environment_of_its_own(wheel, tmp_path):
    (tmp_path / "recipe.toml").write_text(
        "epochs = 1\n"
        '[data]\nname = "streets"\nbatch_size = 2\naugment = "flip"\noptions = { count = 4, size = [32, 32] }\n'
        '[model]\nbuilder = "full_resolution"\noptions = { filters = [4] }\n'
    )
    environment = Environment(tmp_path / "venv", [wheel], f"kseg[train,{keras.backend.backend()}]")
    code = "import sys, kseg.cli; sys.argv = ['kseg', 'train', 'recipe.toml', '--run-folder', 'run']; kseg.cli.main()"
    printed = environment.run(tmp_path, code)
    assert (tmp_path / "run" / "best.safetensors").is_file()
    assert "miou" in printed


def test_the_wheel_of_weights_has_the_files_of_every_release_and_their_licenses(weights_wheel):
    with zipfile.ZipFile(weights_wheel) as archive:
        names = set(archive.namelist())
        for name, release in pretrained.RELEASES.items():
            content = archive.read(f"kseg_weights/{name}/{release.file}")
            assert hashlib.sha256(content).hexdigest() == release.sha256
            assert f"kseg_weights/{name}/card.md" in names
            assert f"kseg_weights-0.2.0.dist-info/licenses/LICENSES/{release.license}.txt" in names
        metadata = archive.read("kseg_weights-0.2.0.dist-info/METADATA").decode()
    licenses = " AND ".join(sorted({release.license for release in pretrained.RELEASES.values()}, reverse=True))
    assert f"License-Expression: {licenses}\n" in metadata


def test_the_wheels_predict_in_an_environment_of_their_own_without_a_network(wheel, weights_wheel, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3)).astype("uint8")
    Image.fromarray(image).save(tmp_path / "cells.png")
    code = (
        "import sys, numpy, kseg.cli; model = kseg.zoo.unet(weights='nuclei'); "
        "labels = kseg.inference.Predictor(model)('cells.png'); numpy.save('labels.npy', labels); "
        "command = 'kseg predict cells.png --weights unet-efficientnet_lite0-nuclei --out out --format npy'; "
        "sys.argv = command.split(); kseg.cli.main()"
    )
    requirement = f"kseg[weights,{keras.backend.backend()}]"
    Environment(tmp_path / "venv", [wheel, weights_wheel], requirement).run(tmp_path, code)
    expected = inference.Predictor(zoo.unet(weights="nuclei"))(image)
    np.testing.assert_array_equal(np.load(tmp_path / "labels.npy"), expected)
    np.testing.assert_array_equal(np.load(next(tmp_path.glob("out/**/*.npy"))), expected)
