"""Weight files in Python packages."""

import importlib.util
from pathlib import Path


def find(package: str, pattern: str, install: str) -> Path:
    """Finds a weight file in a package without importing the package."""
    spec = importlib.util.find_spec(package.replace("-", "_"))
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for file in Path(folder).glob(pattern):
            return file
    raise ValueError(
        f"the encoder weights are in the package {package}, which is not installed: {install}, or pass "
        "encoder_weights=None"
    )
