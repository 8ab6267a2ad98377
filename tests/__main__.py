"""`python -m tests` checks style and types, builds the site, and runs the suite on TensorFlow, JAX and PyTorch.

A missing backend is a failure. Arguments are passed to pytest: `python -m tests -k resize`. `BACKENDS=jax` selects one.
"""

import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parents[1]
BROWSER = ROOT / "docs/browser"
BACKENDS = os.environ.get("BACKENDS", "tensorflow,jax,torch").split(",")
SOURCES = ["kseg", "benchmarks", "docs", "tests"]  # not ".", which may contain a virtual environment
STYLE = (["ruff", "check", *SOURCES], ["ruff", "format", "--check", *SOURCES], ["mypy"])
SITE = ["zensical", "build", "--strict", "--clean"]  # also fails if a link leads nowhere

# For fast compilation, which takes JAX longer than the arithmetic of the tests.
XLA_FLAGS = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"


def _run(title: str, command: list[str], **environment: str) -> bool:
    print(f"== {title}", flush=True)
    start = time.perf_counter()
    # On the CPU even if there is a GPU: each worker would reserve its memory, and it rounds float32 products.
    environment = {"CUDA_VISIBLE_DEVICES": ""} | os.environ | environment
    passed = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, env=environment).returncode == 0
    print(f"== {title}: {'passed' if passed else 'FAILED'} in {time.perf_counter() - start:.0f} s", flush=True)
    return passed


def _install_runtime() -> None:
    """Installs onnxruntime-web, which the page in docs/browser needs; without npm, one test is skipped."""
    if (npm := shutil.which("npm")) and not (BROWSER / "node_modules/onnxruntime-web").is_dir():
        command = [npm, "install", "--silent", "--no-audit", "--no-fund", "--fetch-retries=0", "--prefix", str(BROWSER)]
        done = subprocess.run(command).returncode == 0
        print(f"== onnxruntime-web: {'installed' if done else 'NOT INSTALLED, its test is skipped'}", flush=True)


def main() -> int:
    _install_runtime()
    results = {" ".join(command): _run(" ".join(command), command) for command in (*STYLE, SITE)}
    with tempfile.TemporaryDirectory() as folder:  # for tests that compare backends
        for backend in BACKENDS:
            if importlib.util.find_spec(backend) is None:
                print(f"== {backend} is not installed: pip install -e '.[test]'")
                results[backend] = False
                continue
            # One thread per worker: two workers on two cores are faster than one worker with two threads.
            results[backend] = _run(
                backend,
                ["pytest", "-q", "-n", "auto", "--dist", "loadscope", "--durations", "10", *sys.argv[1:]],
                KERAS_BACKEND=backend,
                OMP_NUM_THREADS="1",
                TF_NUM_INTRAOP_THREADS="1",
                TF_CPP_MIN_LOG_LEVEL="2",
                NO_ALBUMENTATIONS_UPDATE="1",
                XLA_FLAGS=XLA_FLAGS,
                KSEG_TEST_RESULTS=folder,
            )
    failed = [name for name, passed in results.items() if not passed]
    print(f"{len(results) - len(failed)} passed, {len(failed)} failed")
    if failed:
        print("failed:", ", ".join(failed))
    return bool(failed)


if __name__ == "__main__":
    raise SystemExit(main())
