"""Rules of the architecture that the source files show."""

import ast
import importlib
import os
import pathlib
import re
import subprocess
import sys
import tomllib

import pytest

from tests.data import folders

ROOT = pathlib.Path(__file__).parents[1]

ARROWS = {
    "progress": set(),
    "classes": set(),
    "lock": set(),
    "replicas": set(),
    "layers": {"replicas"},
    "checkpoints": set(),
    "download": {"progress"},
    "losses": {"classes", "replicas"},
    "metrics": {"classes"},
    "visualize": {"classes"},
    "pretrained": {"checkpoints", "classes", "download"},
    "encoders": {"layers", "checkpoints", "download", "pretrained"},
    "zoo": {"encoders", "layers", "checkpoints", "download", "pretrained"},
    "data": {"classes", "download", "visualize"},
    "engines": {"classes", "layers", "metrics"},
    "inference": {"classes", "data", "engines", "metrics", "progress", "visualize"},
    "prediction": {"data", "inference", "lock", "pretrained", "progress", "zoo"},
    "export": {"classes", "data", "engines", "inference", "layers", "metrics", "pretrained", "visualize"},
    "serve": {"classes", "data", "inference", "visualize"},
    "training": {
        "classes",
        "data",
        "zoo",
        "layers",
        "lock",
        "losses",
        "metrics",
        "pretrained",
        "progress",
        "replicas",
        "visualize",
        "inference",
    },
}


def _imports(path):
    """Returns the parts of kseg that a file imports, e.g. {'layers', 'encoders'}."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "kseg":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("kseg."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("kseg.")}
    return found


def _part(path):
    return path.relative_to(ROOT / "kseg").parts[0].removesuffix(".py")


def _sources(part):
    return [path for path in (ROOT / "kseg").rglob("*.py") if _part(path) == part]


@pytest.mark.parametrize("part", ARROWS)
def test_imports_go_one_way(part):
    assert _sources(part)
    for path in _sources(part):
        assert _imports(path) <= ARROWS[part] | {part}, path


def test_names_that_a_package_exports_are_imported_from_the_package():
    for path in [*ROOT.glob("kseg/**/*.py"), *ROOT.glob("benchmarks/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            room = (getattr(node, "module", None) or "").split(".")
            if isinstance(node, ast.ImportFrom) and len(room) > 2 and room[0] == "kseg" and room[1] not in path.parts:
                face = ast.parse((ROOT / "kseg" / room[1] / "__init__.py").read_text())
                offered = {
                    alias.name for found in ast.walk(face) if isinstance(found, ast.ImportFrom) for alias in found.names
                }
                assert not offered & {alias.name for alias in node.names}, path


def test_no_room_imports_a_module_of_another_one():
    for path in [*ROOT.glob("kseg/**/*.py"), *ROOT.glob("benchmarks/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            room = (getattr(node, "module", None) or "").split(".")
            if isinstance(node, ast.ImportFrom) and len(room) == 2 and room[0] == "kseg" and room[1] not in path.parts:
                face = getattr(importlib.import_module(f"kseg.{room[1]}"), "__all__", ())
                folder = ROOT / "kseg" / room[1]
                modules = {alias.name for alias in node.names if (folder / f"{alias.name}.py").exists()}
                assert modules <= set(face), path


def test_the_allowed_imports_of_every_part_are_listed():
    parts = {_part(path) for path in (ROOT / "kseg").rglob("*.py")}
    assert parts - {"__init__", "cli"} == ARROWS.keys()


def test_benchmarks_import_what_the_first_command_of_the_readme_installs():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    packages = project["dependencies"] + project["optional-dependencies"]["train"]
    names = {re.match(r"[\w-]+", package)[0].replace("-", "_") for package in packages}
    known = names | {"PIL", "kseg", "benchmarks"} | sys.stdlib_module_names
    for path in (ROOT / "benchmarks").rglob("*.py"):
        found = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
        modules = {getattr(node, "module", None) or node.names[0].name for node in found}
        assert "peers" in path.parts or {module.split(".")[0] for module in modules} <= known, path


def test_nothing_private_of_keras_is_imported():
    private = re.compile(r"keras\.src|tensorflow\.python")
    paths = [*ROOT.glob("kseg/**/*.py"), *ROOT.glob("benchmarks/**/*.py")]
    assert not [path for path in paths if private.search(path.read_text())]


def test_no_module_shares_its_name_with_a_function_or_class_in_it():
    for path in (ROOT / "kseg").rglob("*.py"):
        assert path.stem not in {getattr(node, "name", None) for node in ast.parse(path.read_text()).body}, path


def test_importing_kseg_registers_its_classes_and_adds_little_to_importing_keras():
    names = ["kseg>Resize", "kseg>Dice", "kseg>SegmentationModel", "kseg>AdamW"]
    code = (
        # Without a collection of the objects of keras and PyTorch, which may fall into the import and takes 0.25 s.
        "import gc, time, keras; gc.disable(); t = time.process_time(); import kseg; print(time.process_time() - t); "
        f"assert all(map(keras.saving.get_registered_object, {names}))"
    )
    runs = (subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(2))
    assert any(float(run.stdout) < 0.3 for run in runs)  # the second process only if the first one was disturbed


@pytest.mark.parametrize("first, then", [("kseg", "tensorflow"), ("tensorflow", "kseg")])
def test_triton_is_refused_once_tensorflow_is_loaded(tmp_path, first, then):
    (tmp_path / "triton.py").touch()
    code = (
        f"import importlib.util, sys, {first}, {then}; sys.path.insert(0, {str(tmp_path)!r})\n"
        "try:\n import triton\nexcept ModuleNotFoundError: assert importlib.util.find_spec('triton') is None\n"
        "else: raise AssertionError('triton was imported')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "KERAS_BACKEND": "jax"})


def test_triton_is_imported_without_tensorflow(tmp_path):
    (tmp_path / "triton.py").touch()
    code = f"import sys, kseg; sys.path.insert(0, {str(tmp_path)!r})\nif 'tensorflow' not in sys.modules: import triton"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "arguments",
    [
        "--help",
        "--version",
        "train --help",
        "weights list",
        "datasets list",
        "datasets check {}/streets.toml",
        "datasets check {} --classes a,b",
        "init {} --output {}/drafted.toml",
    ],
)
def test_a_command_that_computes_nothing_imports_no_backend(arguments, tmp_path):
    for stem in ("one", "two"):
        folders.write_pair(tmp_path, stem, folders.ids([0, 1]))
    (tmp_path / "streets.toml").write_text(
        'epochs = 1\nmodel.builder = "unet"\ndata = {name = "streets", options = {count = 40}}'
    )
    command = [
        sys.executable,
        "-X",
        "importtime",
        "-m",
        "kseg.cli",
        *[word.format(tmp_path) for word in arguments.split()],
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "kseg.cli" in run.stderr and not re.search(r"\| +(keras|tensorflow|jax|torch)\n", run.stderr)


def test_the_error_about_a_missing_backend_gives_the_command_that_installs_it():
    code = "import sys; sys.modules['jax'] = None; import kseg"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"KERAS_BACKEND": "jax"})
    assert "pip install 'kseg[jax]'" in run.stderr.splitlines()[-1]
