"""`kseg predict`."""

import contextlib
import dataclasses
import io
import os
import pathlib
import re
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kseg.cli._application import application, plain_errors
from kseg.cli._process import prepare
from kseg.cli.folder_options import parsed

if TYPE_CHECKING:
    from kseg.cli.results import Failures, Results
    from kseg.data import Georeference
    from kseg.inference import Format, Labeled, Predictor

Tta = Annotated[
    bool,
    typer.Option(
        "--tta",
        help="Average the predictions for the image and its mirror image at 0.75, 1 and 1.25 of the size, which takes "
        "6 times as long.",
    ),
]
Crf = Annotated[
    bool,
    typer.Option(
        "--crf",
        help="Refine the labels by the colors of the image (dense CRF), which adds 1 to 12 s per megapixel; up to "
        "about 5 megapixels.",
    ),
]
Engine = Annotated[
    str,
    typer.Option(
        help="What runs the network: keras, openvino, onnxruntime, or auto, which is openvino for many images if it is "
        "installed and the backend is TensorFlow on a CPU; fewer than 1 of 1,000 pixels change their label.",
    ),
]
Int8 = Annotated[
    str | None,
    typer.Option(
        help="Compute in 8-bit integers on OpenVINO, which is faster and changes more labels: a folder or a pattern of "
        "typical images, of which 64 set the ranges of the integers.",
    ),
]

MANY = 64
"""Number of images from which a faster engine makes up for the seconds in which it converts the network."""


def options(tta: bool, crf: bool, tile: int | None, engine: str, int8: str | None) -> dict[str, Any]:
    """Returns the options of a `kseg.inference.Predictor` for those of a command."""
    found: dict[str, Any] = {"tile": tile, "crf": crf, "engine": engine}
    if tta:
        found |= {"flip": True, "scales": (0.75, 1.0, 1.25)}
    if int8 is not None:
        from kseg import inference

        if engine not in ("openvino", "auto"):
            raise ValueError(f"--int8 needs --engine openvino, got {engine}")
        images = inference.list_images(int8)
        chosen = [images[index] for index in inference.spread(len(images))]
        found |= {"engine": "openvino", "precision": "int8", "calibration": chosen}
    return found


@application.command()
def predict(
    context: typer.Context,
    inputs: Annotated[
        list[str], typer.Argument(help="Images, videos, folders of images, patterns; - reads one from standard input.")
    ],
    weights: Annotated[
        str, typer.Option(help="A file written by kseg, a run folder, a .keras file, an address or a released name.")
    ],
    out: Annotated[pathlib.Path, typer.Option("--out", "-o", help="The folder to write to.")] = pathlib.Path("out"),
    format: Annotated[
        list[str],
        typer.Option(help="png, tif (GeoTIFF), npy, geojson, coco: several separated by commas, or repeated."),
    ] = ["png"],  # noqa: B006
    tta: Tta = False,
    crf: Crf = False,
    tile: Annotated[
        int,
        typer.Option(
            min=0,
            help="Side of the tiles into which larger images are cut, which may change labels near seams; 0: never.",
        ),
    ] = 1024,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Largest number of images of one size per batch; on a CPU, 1 is as fast as more.")
    ] = 1,
    engine: Engine = "auto",
    int8: Int8 = None,
    keep_background: Annotated[
        bool, typer.Option("--keep-background", help="Write the background to GeoJSON, COCO and objects.csv too.")
    ] = False,
    simplify: Annotated[
        float,
        typer.Option(
            min=0, help="Largest distance in pixels between an outline in GeoJSON and its simplified form; 0: exact."
        ),
    ] = 0,
    pixel_size: Annotated[
        str | None,
        typer.Option(help="Side of a pixel, e.g. 0.25um: the tables give areas and positions in this unit, too."),
    ] = None,
    overlay: Annotated[
        bool, typer.Option("--overlay/--no-overlay", help="Whether to draw the labels over the images.")
    ] = True,
    value_range: Annotated[
        str | None,
        typer.Option(
            "--range",
            help="The image values that are black and white, as 0,4095, or percentile; by default as trained.",
        ),
    ] = None,
    bands: Annotated[
        str | None, typer.Option(help="The bands to use, from 1, as 4,3,2; by default those of the training.")
    ] = None,
    page: Annotated[int | None, typer.Option(min=1, help="The page of files with several, from 1.")] = None,
    crs: Annotated[
        str,
        typer.Option(
            help="Reference system of GeoJSON of georeferenced images: that of the image (source), or EPSG:3857 etc."
        ),
    ] = "EPSG:4326",
) -> None:
    """Label images and videos: palette masks, overlays, tables of areas and objects; exit code 1 if one failed."""
    with plain_errors(context.obj):
        prepare(training=False)
        from kseg import data as sets
        from kseg import inference, visualize, zoo
        from kseg.cli.results import Failures, Results

        kinds = [inference.FORMATS[name] for name in _formats(format)]
        kinds += [kind for kind in inference.ALWAYS_WRITTEN if overlay or kind is not inference.Overlays]
        if inference.FORMATS["geojson"] not in kinds and (simplify or crs != inference.WGS84):
            raise ValueError(f"--{'simplify' if simplify else 'crs'} is for polygons: add --format geojson")
        given = {"range": value_range, "bands": bands, "page": page}
        stated = parsed({name: value for name, value in given.items() if value is not None})
        crs = crs if crs in ("source", inference.WGS84) else inference.checked_crs(crs)
        size, unit = _pixel_size(pixel_size)
        if out.exists() and not out.is_dir():
            raise ValueError(f"{out} is a file: name a folder with -o")
        images, videos, unread = _images(inputs)
        model = zoo.load(weights)
        if engine == "auto" and len(images) < MANY and not videos and int8 is None:
            engine = "keras"
        stored = sets.Pixels.from_json(getattr(model, "pixels", {}), model.inputs[0].shape[-1])
        try:
            pixels = dataclasses.replace(stored, **stated)
            predictor = inference.Predictor(model, pixels=pixels, **options(tta, crf, tile, engine, int8))
        except ValueError as error:
            raise ValueError(_worded(str(error))) from None
        doubts: dict[str, list[str]] = {}
        predictor.warn = lambda name, doubt: doubts.setdefault(doubt, []).append(name)
        count = max(2, predictor.channels)
        classes = model.classes or [f"class {index}" for index in range(count)]
        palette = model.palette or visualize.default_palette(count)
        background = inference.background(classes, binary=predictor.channels == 1)
        places = [place for name in images if (place := sets.georeference(name)) is not None]
        details = inference.Details(() if keep_background else background, simplify, size, unit, bool(places), crs)
        formats = [kind(classes, palette, details) for kind in kinds]
        start, failed = time.perf_counter(), Failures()
        suffix = max(len(pathlib.PurePath(kind.path).suffix) for kind in kinds if "{name}" in kind.path)
        names = inference.output_names([*images, *videos], longest=inference.LONGEST_NAME - suffix)
        total = len(images)
        with Results(out, formats) as results:
            listed = zip(names, images, strict=False)
            if images:
                for found in predictor.many(images.values(), batch_size=batch_size, progress=len(images) > 1):
                    name, shown = next(listed)
                    errors = [found.error] if found.error else _write(results, name, shown, found)
                    failed.add({"stdin": "standard input"}.get(shown, shown), errors)
                    del found  # not held while the next one is read
            for name, shown in zip(names[len(images) :], videos, strict=True):
                total += _predict_video(predictor, results, name, shown, failed, batch_size)
        done, seconds = total - len(failed), time.perf_counter() - start
        print(f"{done} of {total} labeled in {seconds:.1f} s ({done / seconds:.2f} per second): {out}")
        _report(formats, unread, named=bool(model.classes))
        _report_places(places, kinds, crs)
        for doubt, doubtful in doubts.items():
            print(f"warning: {doubtful[0]}: {_worded(doubt)}{_more(doubtful)}", file=sys.stderr)
        for text in failed.lines():
            print(f"error: {_worded(text)}", file=sys.stderr)
        if failed:
            raise typer.Exit(1)


def _write(results: "Results", name: str, shown: str, found: "Labeled", video: Any = None) -> list[Exception]:
    assert found.image is not None and found.label is not None
    return results.add(name, shown, found.image, found.label, video)


def _predict_video(
    predictor: "Predictor", results: "Results", name: str, shown: str, failed: "Failures", batch_size: int
) -> int:
    """Labels the frames of a video, writes an overlay video, and returns the number of frames, plus 1 if it failed."""
    from kseg import inference
    from kseg.cli.results import is_disk_full

    count = 0
    try:
        frames = inference.Frames(shown)
        path = results.folder / "overlays" / f"{name}.mp4"
        drawn = any(isinstance(each, inference.Overlays) for each in results.formats)
        with inference.VideoWriter(path, frames.rate) if drawn else contextlib.nullcontext() as video:
            for found in predictor.many(frames, batch_size=batch_size, progress=True):
                frame, place = f"{shown} frame {count}", f"{name}/{count:06d}"
                failed.add(frame, [found.error] if found.error else _write(results, place, frame, found, video))
                count += 1
                del found
        if not count or count < frames.count * 0.99 - 1:
            raise ValueError(f"only {count} of {frames.count} frames can be decoded")
    except (ValueError, OSError) as error:
        if is_disk_full(error):
            raise
        failed.add(shown, [error])
        return count + 1
    return count


def _report(formats: Sequence["Format"], unread: Sequence[pathlib.Path], *, named: bool) -> None:
    """Prints the number of objects, which classes are background, and which files were not read."""
    from kseg import inference

    (table,) = [each for each in formats if isinstance(each, inference.ObjectTable)]
    left = [table.classes[index] for index in table.details.background]
    found = [f"{count} {name}" for name, count in zip(table.classes, table.counts.tolist(), strict=True) if count]
    without = f"; without the background, {', '.join(left)} (--keep-background)" if left else ""
    unknown = "" if left or named else "; the classes have no names, so none is taken for the background"
    print(f"objects: {', '.join(found) or 'none'}{without}{unknown}")
    if unread:
        videos = "; to label videos, name them" if any(map(inference.is_video, unread)) else ""
        print(f"not read, as they are no images: {len(unread)} file{'s' * (len(unread) > 1)} ({unread[0]}){videos}")


def _report_places(places: Sequence["Georeference"], kinds: Sequence[type["Format"]], crs: str) -> None:
    """Prints in which reference system georeferenced images were written."""
    from kseg import inference

    if not places:
        return
    names = dict.fromkeys(place.crs if place.crs.startswith("EPSG") else "a system of their own" for place in places)
    own, count = ", ".join(names), f"{len(places)} georeferenced image{'s' if len(places) > 1 else ''}"
    if inference.FORMATS["geojson"] in kinds:
        target = {"source": own, inference.WGS84: "longitude and latitude (WGS 84)"}.get(crs, crs)
        beyond = "" if crs == inference.WGS84 else ", which RFC 7946 does not provide for"
        print(f"polygons of {count} ({own}): in {target}{beyond}")
    elif inference.FORMATS["tif"] not in kinds:
        print(f"{count} ({own}): --format tif writes masks, --format geojson polygons that keep their place")


def _worded(text: str) -> str:
    from kseg.data.wording import reword

    return reword(text, "command")


def _more(names: Sequence[str]) -> str:
    return f" (and {len(names) - 1} more images)" if len(names) > 1 else ""


def _pixel_size(text: str | None) -> tuple[float | None, str]:
    """Returns the number and the unit of `--pixel-size`."""
    if text is None:
        return None, ""
    match = re.fullmatch(r"\s*([0-9.]+(?:[eE][-+]?[0-9]+)?)\s*([^\d\s].*)?", text)
    with contextlib.suppress(ValueError):
        if match and (size := float(match[1])) > 0:
            return size, (match[2] or "").strip()
    raise ValueError(f"--pixel-size takes a positive number and a unit, as 0.25um or 30m, got {text!r}")


def _formats(values: list[str]) -> list[str]:
    from kseg.inference import FORMATS

    chosen = dict.fromkeys(part.strip() for text in values for part in text.split(","))
    if unknown := [name for name in chosen if name not in FORMATS]:
        raise ValueError(f"--format takes {', '.join(FORMATS)}, got {', '.join(map(repr, unknown))}")
    return list(chosen)


def _images(inputs: list[str]) -> tuple[dict[str, Any], list[str], list[pathlib.Path]]:
    """Returns the images and the videos by the names that messages use, each file once, and files that are neither."""
    from kseg import inference

    found: dict[str, Any] = {}
    videos, unread = [], []
    known = set()
    for text in inputs:
        if text == "-":
            found["stdin"] = _standard_input()
            continue
        listed = inference.list_images(text)
        if os.path.isdir(text):
            files = [path for path in pathlib.Path(text).iterdir() if path.is_file() and path.name[0] != "."]
            unread += sorted(set(files) - set(listed))
        for path in listed:
            if (whole := os.path.realpath(path)) in known:
                continue
            known.add(whole)
            if inference.is_video(path):
                videos.append(str(path))
            else:
                found[str(path)] = path
    return found, videos, unread


def _standard_input() -> Any:
    if sys.stdin.isatty():
        raise ValueError("- reads an image from standard input: kseg predict - < photo.jpg")
    file = io.BytesIO(sys.stdin.buffer.read())
    file.name = "standard input"  # for messages
    return file
