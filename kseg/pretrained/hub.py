"""Uploads weights, with a card, to a repository on the Hugging Face hub."""

import json
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from kseg import download
from kseg.pretrained.file import describe
from kseg.pretrained.source import HUB_FILE, locate, on_the_hub

PICTURE = "predictions.png"
"""The picture of predictions in a run folder and in the repository; it shows images of the validation split."""
NO_PATH = re.compile(r"hf://.*|[\d.%]+(/[\d.%]+)+|\w[^~:]*[{*].*")
"""Values of a recipe with a slash that are kept: weights on the hub, `"80/10/10"`, patterns below the folder."""
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


def push(run: str | os.PathLike, address: str, *, license: str, private: bool = False, pictures: bool = False) -> str:
    """Uploads the weights of a run to a repository on the hub, which is made if there is none, in one commit.

    `kseg.zoo.load("hf://owner/name")` reads them.

    The repository gets the weights, a card, and of a run folder also the scores and the recipe, whose paths are
    shortened to their last part.

    Args:
        run: A run folder, or a weight file.
        address: `"hf://owner/name"`.
        license: The license of the weights, an identifier of the hub such as `"cc-by-nc-4.0"`.
        private: Make a new repository private; by default, everybody can read it.
        pictures: Also upload the run folder's picture of predictions, which shows images of the validation split.

    Returns:
        The address of the commit.

    Raises:
        FileExistsError: If the repository is public, but `private` is asked for.
        FileNotFoundError: If there are no weights.
        ModuleNotFoundError: If huggingface_hub is not installed.
        OSError: If the upload failed.
        ValueError: If the file does not describe its model, or the address is no repository.
    """
    repository, revision, file = on_the_hub(address.rstrip("/"))
    if revision or file:
        raise ValueError(f"{address} is not a repository on the hub: write hf://{repository}")
    try:
        import tomli_w  # noqa: F401, of `contents`
        from huggingface_hub import CommitOperationAdd, HfApi
        from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError
    except ImportError as error:
        raise ModuleNotFoundError(
            f"uploads need a package that is missing: pip install 'kseg[hub]' ({error})"
        ) from None
    content = contents(run, repository, license, pictures=pictures)
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        if private and not api.repo_info(repository).private:
            raise FileExistsError(f"{address} exists and is public: make it private on the hub, or leave out --private")
        operations = [CommitOperationAdd(path, data) for path, data in content.items()]
        commit = api.create_commit(repository, operations, commit_message="Upload weights by kseg")
    except FileExistsError:
        raise
    except Exception as error:  # of the hub's client and of the libraries below it
        refused = isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403, 404)
        cure = "repeat the command"
        if refused or isinstance(error, LocalTokenNotFoundError):
            cure = f"log in with `hf auth login`, or set HF_TOKEN to a token that may write to {repository}, and {cure}"
        reason = download.first_line(error.__cause__ or error)
        raise OSError(f"{address}: the upload failed ({reason}): {cure}") from error
    return str(commit.commit_url)


def contents(run: str | os.PathLike, repository: str, license: str, *, pictures: bool = False) -> dict[str, bytes]:
    """Returns the files of the repository by their names."""
    import tomli_w

    weights, folder = pathlib.Path(locate(run)), pathlib.Path(run)
    description, found = describe(weights), {HUB_FILE: weights.read_bytes()}
    recipe, result = (_content(folder / name) for name in ("recipe.json", "result.json"))
    if recipe:
        found["recipe.toml"] = tomli_w.dumps(recipe).encode()
    if result:
        found["metrics.json"] = json.dumps(result, indent=2).encode()
    if pictures and not (folder / PICTURE).is_file():
        raise FileNotFoundError(f"{run} has no {PICTURE}, the picture of predictions: leave out --pictures")
    if pictures:
        found[PICTURE] = (folder / PICTURE).read_bytes()
    card = _card(description, repository, license, recipe.get("data", {}), result.get("scores", {}))
    return {"README.md": card.encode(), **found}


def _content(path: pathlib.Path) -> dict[str, Any]:
    return _public(json.loads(path.read_bytes())) if path.is_file() else {}


def _card(
    description: Mapping[str, Any], address: str, license: str, data: Mapping[str, Any], scores: Mapping[str, Any]
) -> str:
    name, builder = address.partition("/")[2], description["builder"]
    known = {key: scores[key] for key in SCORES if isinstance(scores.get(key), float)}
    dataset = str(data.get("name") or data.get("folder") or data.get("shards") or "")
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


def _public(value: Any) -> Any:
    """Leaves out keys without a value, and shortens paths, which may name users and machines, to their last part."""
    if isinstance(value, dict):
        return {key: _public(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_public(each) for each in value]
    if isinstance(value, str) and not NO_PATH.fullmatch(value):
        return re.split(r"[/\\]", value.rstrip("/\\"))[-1]
    return value
