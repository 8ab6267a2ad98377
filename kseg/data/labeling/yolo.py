"""YOLO polygons: one text file per image, and the class names in data.yaml or classes.txt."""

from collections.abc import Sequence
from pathlib import Path

from kseg.data.finding.text import read_text
from kseg.data.labeling import regions
from kseg.data.labeling.content import Labels, Picture


def text_files(folder: Path, files: Sequence[Path]) -> Labels:
    names = _names(folder)
    labels = Labels("YOLO", list(names.values()), complete=bool(names))
    for file in files:
        if file.name in ("classes.txt", "train.txt", "val.txt", "test.txt") or file.name.startswith("README"):
            continue
        labels.pictures.append(picture := Picture((file.relative_to(folder).with_suffix("").as_posix(),), None))
        for number, line in enumerate(read_text(file).splitlines(), start=1):
            try:
                index, *points = (float(word) for word in line.split()) if line.strip() else (0.0,)
            except ValueError:
                raise ValueError(f"{file}, line {number}: YOLO's lines are numbers, got {line[:40]!r}") from None
            if len(points) in (4, 5):
                labels.skipped["boxes without an outline"] += 1
            elif points:
                if len(points) < 6 or len(points) % 2 or not -0.5 <= min(points) <= max(points) <= 1.5:
                    raise ValueError(f"{file}, line {number}: a polygon is a class and x y x y ..., shares from 0 to 1")
                name = names.get(int(index), f"class_{int(index)}" if not names else None)
                if name is None:
                    raise ValueError(f"{file}, line {number}: class {int(index)} is not among {list(names.values())}")
                picture.objects.append((name, regions.polygon(points, relative=True)))
    return labels


def _names(folder: Path) -> dict[int, str]:
    """Returns the class names of classes.txt or data.yaml, in the folder or above it."""
    for place in (folder, *list(folder.resolve().parents)[:3]):
        if (listed := place / "classes.txt").is_file():
            lines = [line.strip() for line in read_text(listed).splitlines()]
            return dict(enumerate(line for line in lines if line))
        for file in sorted([*place.glob("*.yaml"), *place.glob("*.yml")]):
            try:
                import yaml
            except ImportError:
                raise ImportError(f"the class names in {file} need PyYAML: pip install 'kseg[train]'") from None
            try:
                content = yaml.safe_load(read_text(file))
            except (yaml.YAMLError, ValueError) as error:
                if file.stem not in ("data", "dataset"):  # of another program
                    continue
                raise ValueError(f"{file} is not YAML: {error}") from None
            names = content.get("names") if isinstance(content, dict) else None
            if names:
                pairs = names.items() if isinstance(names, dict) else enumerate(names)
                return {int(index): str(name).strip() for index, name in sorted(pairs)}
    return {}
