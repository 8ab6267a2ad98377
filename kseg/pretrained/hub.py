"""Uploads weights, with a card, to a repository on the Hugging Face hub."""

import json
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from kseg.pretrained.file import describe
from kseg.pretrained.source import HUB_FILE, locate, repository_of

BESIDE = {"recipe.json": "recipe.json", "result.json": "metrics.json", "predictions.png": "predictions.png"}
"""Files of a run folder, and their names in the repository."""
SCORES = {"miou": "mean_iou", "pixel_accuracy": "accuracy"}
"""The scores of the card, and the hub's names for them."""

CARD = """\
---
license: {license}
library_name: keras
pipeline_tag: image-segmentation
tags: [semantic-segmentation, kseg, keras, {builder}]
{metadata}---

# {name}

A semantic segmentation model of kseg, for Keras 3 on TensorFlow, JAX and PyTorch.

```python
import kseg

model = kseg.zoo.load("hf://{address}")
label = kseg.inference.Predictor(model)("photo.jpg")  # the id of each pixel's class
```

- Builder: `{builder}`, with `{arguments}`
- Classes: {classes}
{scores}"""


def push(run: str | os.PathLike, address: str, *, license: str, private: bool = False) -> str:
    """Uploads the weights of a run to a repository on the hub, which is made if there is none, in one commit.

    `kseg.zoo.load("hf://owner/name")` reads them.

    The repository gets the weights, a card, and of a run folder also the recipe (absolute paths are shortened to their
    last part), the scores and the picture of predictions.

    Args:
        run: A run folder, or a weight file.
        address: `"hf://owner/name"`.
        license: The license of the weights, an identifier of the hub such as `"cc-by-nc-4.0"`.
        private: Whether a new repository is private.

    Returns:
        The address of the commit.

    Raises:
        FileNotFoundError: If there are no weights.
        ModuleNotFoundError: If huggingface_hub is not installed.
        OSError: If the upload failed.
        ValueError: If the file does not describe its model, or the address is no repository.
    """
    repository = repository_of(address)
    if repository is None:
        raise ValueError(f"{address} is no repository on the hub: write hf://owner/name")
    try:
        from huggingface_hub import CommitOperationAdd, HfApi
    except ImportError as error:
        raise ModuleNotFoundError(f"huggingface_hub is missing ({error}): pip install 'kseg[hub]'") from None
    content = contents(run, repository, license)
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        operations = [CommitOperationAdd(path, data) for path, data in content.items()]
        commit = api.create_commit(repository, operations, commit_message="Upload weights by kseg")
    except Exception as error:  # of the hub's client and of the libraries below it
        reason = next(iter(str(error.__cause__ or error).splitlines()), type(error).__name__)
        raise OSError(
            f"{address}: the upload failed ({reason}): log in with `hf auth login`, or set HF_TOKEN to a token that "
            "may write there, and repeat the command"
        ) from error
    return str(commit.commit_url)


def contents(run: str | os.PathLike, repository: str, license: str) -> dict[str, bytes]:
    """Returns the files of the repository by their names."""
    weights = pathlib.Path(locate(run))
    description, folder = describe(weights), pathlib.Path(run)
    found = {HUB_FILE: weights.read_bytes()}
    if folder.is_dir():
        found |= {there: (folder / here).read_bytes() for here, there in BESIDE.items() if (folder / here).is_file()}
    recipe, result = (json.loads(found.get(name, b"{}")) for name in ("recipe.json", "metrics.json"))
    if recipe:
        recipe = _without_paths(recipe)
        found["recipe.json"] = json.dumps(recipe, indent=2).encode()
    card = _card(description, repository, license, recipe.get("data", {}), result.get("scores", {}))
    return {"README.md": card.encode(), **found}


def _card(
    description: Mapping[str, Any], address: str, license: str, data: Mapping[str, Any], scores: Mapping[str, Any]
) -> str:
    name, builder = address.partition("/")[2], description["builder"]
    known = {key: scores[key] for key in SCORES if isinstance(scores.get(key), float)}
    dataset = str(data.get("name") or data.get("folder") or "")
    metadata, table = "", ""
    if known:
        metrics = [{"type": SCORES[key], "value": round(value, 4)} for key, value in known.items()]
        of = {"name": dataset, "type": re.sub(r"[^\w.-]+", "-", dataset), "split": "val"}
        results = [{"task": {"type": "image-segmentation"}, "dataset": of, "metrics": metrics}]
        metadata = f"model-index: {json.dumps([{'name': name, 'results': results}])}\n"
        table = "".join(f"- {key} on the validation split of {dataset}: {value:.4f}\n" for key, value in known.items())
    return CARD.format(
        license=json.dumps(license.lower()),
        builder=builder,
        metadata=metadata,
        name=name,
        address=address,
        arguments=json.dumps(description["arguments"]),
        classes=", ".join(description["classes"]) or "without names",
        scores=table,
    )


def _without_paths(value: Any) -> Any:
    """Shortens absolute paths, which may name users and machines, to their last part."""
    if isinstance(value, dict):
        return {key: _without_paths(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_paths(each) for each in value]
    return pathlib.PurePath(value).name if isinstance(value, str) and os.path.isabs(value) else value
