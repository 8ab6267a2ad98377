"""Fixtures for several folders."""

import pathlib
import shutil
import subprocess
import sys
import warnings

import keras
import pytest

from tests import examples

# PyTorch's builds for GPUs bring triton, whose library crashes a process that has loaded TensorFlow. PyTorch imports
# triton with its compiler, which the tests' reference networks load but do not use. Under Keras's PyTorch backend
# triton is already imported here, before TensorFlow, which does no harm.
sys.modules.setdefault("triton", None)  # type: ignore[arg-type]

if keras.backend.backend() == "torch":
    import torch

    # Warnings are errors. PyTorch gives some only once a process, where they would fail another test in each run.
    torch.set_warn_always(True)

BROWSERS = (
    "chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome",
    "microsoft-edge", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)  # fmt: skip


def pytest_configure(config):
    """Makes fixtures known to the examples in docstrings, which lie outside this folder."""
    config.pluginmanager.register(examples)


@pytest.fixture(scope="module", autouse=True)
def compiled_programs():
    """Drops the programs that JAX compiled for a module's tests: no other module needs them, they take gigabytes."""
    yield
    if keras.backend.backend() == "jax":
        import jax

        jax.clear_caches()


@pytest.fixture
def set_dtype_policy():
    """Sets Keras's dtype policy until the end of the test."""
    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


@pytest.fixture(scope="session")
def torchvision():
    """Imports torchvision. Tests that import timm or segmentation-models-pytorch need this fixture first."""
    from benchmarks.peers import torchvision

    return torchvision.load()


@pytest.fixture(scope="session")
def transformers(torchvision):
    """Imports transformers, whose image processors need torchvision."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import transformers

        transformers.utils.logging.disable_progress_bar()
    return transformers


@pytest.fixture
def without_memory(monkeypatch):
    """Builds models without values for their weights, which would take gigabytes."""
    # Keras draws such values again for each layer that reads them, only for their shape.
    draw = keras.initializers.VarianceScaling, "__call__"
    monkeypatch.setattr(*draw, lambda self, shape, dtype=None: keras.ops.zeros(shape, dtype))
    monkeypatch.setattr("kseg.layers.convolution._order_for_torch", lambda kernel: None)
    with keras.StatelessScope(initialize_variables=False):
        yield
    keras.utils.clear_session(free_memory=False)  # drops the uninitialized variables; collecting garbage takes long


@pytest.fixture(scope="module")
def browser():
    """Chromium, Chrome or Edge of the system: Playwright downloads none."""
    from playwright.sync_api import sync_playwright

    found = next((path for path in map(shutil.which, BROWSERS) if path), None)
    assert found, "no Chromium, Chrome or Edge on the PATH: apt-get install chromium-headless-shell, or install Chrome"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def dist(tmp_path_factory):
    """The folder of the source distribution and of the wheel, which `build` makes from the former."""
    out = tmp_path_factory.mktemp("dist")
    command = [
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        "--outdir",
        str(out),
        str(pathlib.Path(__file__).parents[1]),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return out


@pytest.fixture(scope="session")
def wheel(dist):
    return next(dist.glob("*.whl"))
