"""The loops of `kseg predict` over images and over the frames of a video; what fails stops nothing else."""

import contextlib
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from kseg.inference import Frames, Labeled, Overlays, Predictor, VideoWriter
from kseg.prediction import Failures, Results, is_disk_full


def label_images(
    predictor: Predictor,
    results: Results,
    images: Mapping[str, Any],
    names: Sequence[str],
    failed: Failures,
    *,
    batch_size: int,
) -> None:
    """Labels images, given by the names that messages use, and writes their results under `names`."""
    named = zip(names, images, strict=True)
    for found in predictor.many(images.values(), batch_size=batch_size, progress=len(images) > 1):
        name, shown = next(named)
        failed.add({"stdin": "standard input"}.get(shown, shown), _written(results, name, shown, found))
        del found  # not held while the next one is read


def label_video(
    predictor: Predictor, results: Results, video: str, name: str, failed: Failures, *, batch_size: int
) -> int:
    """Labels the frames of a video, writes an overlay video, and returns the number of frames, plus 1 if it failed.

    The number of frames that a file declares may be an estimate, so that fewer are only a doubt.
    """
    count = 0
    drawn = any(isinstance(each, Overlays) for each in results.formats)
    try:
        frames = Frames(video)
        folder = results.place.local
        if drawn and folder is None:
            raise ValueError("an overlay of a video needs a local folder: name one with -o, or add --no-overlay")
        path = (folder or pathlib.Path()) / "overlays" / f"{name}.mp4"
        with VideoWriter(path, frames.rate) if drawn else contextlib.nullcontext() as writer:
            for found in predictor.many(frames, batch_size=batch_size, progress=True):
                shown = f"{video} frame {count}"
                failed.add(shown, _written(results, f"{name}/{count:06d}", shown, found, writer))
                count += 1
                del found
        if not count:
            raise ValueError("no frame can be decoded")
        if count < frames.count * 0.99 - 1:
            predictor.warn(
                video,
                f"{count} of {frames.count} declared frames were read: the declared number is an estimate, or the file "
                "is truncated",
            )
    except (ValueError, OSError) as error:
        if is_disk_full(error):
            raise
        failed.add(video, [error])
        return count + 1
    return count


def _written(
    results: Results, name: str, shown: str, found: Labeled, writer: VideoWriter | None = None
) -> list[Exception]:
    """Writes the results of an image, and returns its errors."""
    if found.error is not None:
        return [found.error]
    assert found.image is not None and found.label is not None
    return results.add(name, shown, found.image, found.label, writer)
