"""`python -m docs.notebooks [NAME ...]` executes the notebooks of these names, or all, and stores their outputs.

Stored are what cells return and print, without the path of the checkout. Not stored are standard error (messages of
backends, progress bars) and the times of execution. The metadata contain a hash of the code that was executed, by which
a test finds outdated outputs.
"""

import hashlib
import json
import os
import pathlib
import sys
import tempfile
from typing import Any

FOLDER = pathlib.Path(__file__).parent
CHECKOUT = FOLDER.parents[1]
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))


def code_hash(notebook: dict[str, Any]) -> str:
    """Returns 12 hexadecimal digits that depend on the code of a notebook."""
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return hashlib.sha256(json.dumps(code).encode()).hexdigest()[:12]


def execute(name: str) -> pathlib.Path:
    """Executes a notebook in an empty folder, stores its outputs, and returns its file."""
    import nbclient
    import nbformat

    path = FOLDER / f"{name}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        nbclient.NotebookClient(
            notebook, kernel_name="python3", resources={"metadata": {"path": folder}}, record_timing=False
        ).execute()
    for cell in notebook.cells:
        cell.metadata.clear()
        if cell.cell_type == "code":
            cell.outputs = [_small(output) for output in cell.outputs if output.get("name") != "stderr"]
    notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"], "kseg": {"code": code_hash(notebook)}}
    path.write_text(nbformat.writes(notebook).replace(f"{CHECKOUT}{os.sep}", "") + "\n", "utf-8")
    return path


def _small(output: Any) -> Any:
    """Returns an output with its pictures in the smaller of two formats."""
    pictures = {kind: data for kind, data in output.get("data", {}).items() if kind.startswith("image/")}
    for kind in sorted(pictures, key=lambda kind: len(pictures[kind]))[1:]:
        del output["data"][kind]
    return output


if __name__ == "__main__":
    for chosen in sys.argv[1:] or NAMES:
        print(execute(chosen))
