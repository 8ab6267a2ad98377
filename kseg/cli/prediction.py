"""`kseg predict`."""

import contextlib
import dataclasses
import math
import os
import pathlib
import re
import time
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from kseg.cli._application import application, plain_errors
from kseg.cli._inputs import find_inputs
from kseg.cli._models import load_model
from kseg.cli._process import THREADS, prepare
from kseg.cli._ray_options import RAY_INTERRUPTED, Ray, WithRay, Workers, check_ray
from kseg.cli.folder_options import parsed
from kseg.cli.predictor_options import MANY_PIXELS, Crf, Engine, Int8, Resize, Tta, options

TILE = 1024
"""Side of the tiles of `kseg predict`."""


@application.command(cls=WithRay)
def predict(
    context: typer.Context,
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="Images, videos, folders of images, patterns; addresses of images and folders, as s3://bucket/photos; "
            "Parquet files with a column image or path; - reads one image from standard input.",
        ),
    ],
    weights: Annotated[
        str,
        typer.Option(
            help="A file written by kseg, a run folder, a .keras or .h5 file, an address or a released name; or a file "
            "of kseg export (.onnx, .xml, .tflite, or the folder of a SavedModel), which runs without Keras.",
        ),
    ],
    out: Annotated[
        str, typer.Option("--out", "-o", help="The folder to write to, or an address, as s3://bucket/results.")
    ] = "out",
    format: Annotated[
        list[str],
        typer.Option(help="png, tif (GeoTIFF), npy, geojson, coco, parquet: several separated by commas, or repeated."),
    ] = ["png"],  # noqa: B006
    tta: Tta = False,
    crf: Crf = False,
    tile: Annotated[
        int | None,
        typer.Option(
            min=0,
            show_default=str(TILE),
            help="Side of the tiles into which larger images are cut, which may change labels near seams; 0: never.",
        ),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Largest number of images of one size per batch; on a CPU, 1 is as fast as more.")
    ] = 1,
    engine: Engine = "auto",
    int8: Int8 = None,
    resize: Resize = None,
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
    ray: Ray = None,
    workers: Workers = None,
) -> None:
    """Label images and videos: palette masks, overlays, tables of areas and objects; exit code 1 if one failed."""
    threads = {name: os.environ.get(name) for name in THREADS}
    with plain_errors(context.obj, interrupted=RAY_INTERRUPTED if ray else "interrupted"):
        prepare(training=False)
        from kseg import data as sets
        from kseg import inference, visualize
        from kseg.classes import default_names
        from kseg.cli import _labeling, _summary
        from kseg.cli._ray import check_images, label_on_ray
        from kseg.data.wording import reword
        from kseg.prediction import JOB, Failures, Place, Progress, Results

        kinds = [inference.FORMATS[name] for name in _formats(format)]
        kinds += [kind for kind in inference.ALWAYS_WRITTEN if overlay or kind is not inference.Overlays]
        if inference.FORMATS["geojson"] not in kinds and (simplify or crs != inference.WGS84):
            raise ValueError(f"--{'simplify' if simplify else 'crs'} is for polygons: add --format geojson")
        numbers = {"range": value_range, "bands": bands, "page": page}
        stated = parsed({name: value for name, value in numbers.items() if value is not None})
        crs = crs if crs == inference.WGS84 else inference.checked_crs(crs)
        size, unit = _pixel_size(pixel_size)
        check_ray(ray, workers, int8)
        target = Place(out)
        if target.local is not None and target.local.exists() and not target.local.is_dir():
            raise ValueError(f"{out} is a file: name a folder with -o")
        if ray is None:
            Progress(target).check_replaceable()
        found = find_inputs(inputs)
        if ray is not None:
            check_images(found)
        files = [name for name, image in found.images.items() if isinstance(image, str | os.PathLike)]
        places = [place for name in files if (place := sets.georeference(name)) is not None]
        if crs != inference.WGS84 and not places:
            raise ValueError(f"--crs {crs} is for georeferenced images, and none of the images is: leave it out")
        model = load_model(weights)
        if engine == "auto" and int8 is None and not found.videos and not _is_much(found.images.values()):
            engine = "keras"
        stored = sets.Pixels.from_json(model.pixels, model.inputs[0].shape[-1])
        try:
            pixels = dataclasses.replace(stored, **stated)
            tile = TILE if tile is None and not resize else tile
            given = {"pixels": pixels, **options(tta, crf, tile, engine, int8, resize)}
            predictor = inference.Predictor(model, **given)
        except ValueError as error:
            raise ValueError(reword(str(error), "command")) from None
        doubts: dict[str, list[str]] = {}
        predictor.warn = lambda name, doubt: doubts.setdefault(doubt, []).append(name)
        for name in filter(sets.lacks_rasterio, files):
            doubt = "the georeference is ignored, because rasterio is not installed: pip install 'kseg[geo]'"
            predictor.warn(name, doubt)
        count = max(2, predictor.channels)
        classes = model.classes or default_names(count)
        palette = model.palette or visualize.default_palette(count)
        background = () if keep_background else inference.background(classes, binary=predictor.channels == 1)
        details = inference.Details(background, simplify, size, unit, bool(places), crs)
        formats = [kind(classes, palette, details) for kind in kinds]
        suffix = max(len(pathlib.PurePath(kind.path).suffix) for kind in kinds if "{name}" in kind.path)
        names = inference.output_names([*found.images, *found.videos], longest=inference.LONGEST_NAME - suffix)
        start, failed, total, before = time.perf_counter(), Failures(), len(found.images), 0
        with Results(target, formats) as results:
            if ray is not None:
                before = label_on_ray(
                    ray, workers, weights, predictor, given, results, found.images, names, failed, doubts,
                    batch_size=batch_size, threads=threads,
                )  # fmt: skip
            else:
                target.remove(JOB)  # what a finished run on Ray has done is replaced
                _labeling.label_images(predictor, results, found.images, names[:total], failed, batch_size=batch_size)
            for name, video in zip(names[total:], found.videos, strict=True):
                total += _labeling.label_video(predictor, results, video, name, failed, batch_size=batch_size)
        done, seconds = total - len(failed), time.perf_counter() - start
        rate = f"{done} of {total} labeled in {seconds:.1f} s ({(done - before) / seconds:.2f} per second"
        print(f"{rate}{f', {before} before' if before else ''}): {out}")
        _summary.print_objects(formats, named=bool(model.classes))
        _summary.print_unread(found)
        _summary.print_places(places, formats, crs, of=len(found.images))
        _summary.print_problems(doubts, failed)
        if failed:
            raise typer.Exit(1)


def _is_much(images: Iterable[Any]) -> bool:
    """Returns whether the images have at least `MANY_PIXELS` pixels in all; files that cannot be read are left out."""
    from kseg.data import picture_size

    total = 0
    for image in images:
        with contextlib.suppress(OSError, ValueError):
            total += math.prod(picture_size(image)) if isinstance(image, str | os.PathLike) else 0
        if total >= MANY_PIXELS:
            return True
    return False


def _pixel_size(text: str | None) -> tuple[float | None, str]:
    """Returns the number and the unit of `--pixel-size`."""
    if text is None:
        return None, ""
    match = re.fullmatch(r"\s*([0-9.]+(?:[eE][-+]?[0-9]+)?)\s*([^\d\s].*)?", text)
    with contextlib.suppress(ValueError):
        if match and 0 < (size := float(match[1])) < math.inf:
            return size, (match[2] or "").strip()
    raise ValueError(f"--pixel-size takes a positive number and a unit, as 0.25um or 30m, got {text!r}")


def _formats(values: list[str]) -> list[str]:
    from kseg.inference import FORMATS

    chosen = dict.fromkeys(part.strip() for text in values for part in text.split(","))
    if unknown := [name for name in chosen if name not in FORMATS]:
        raise ValueError(f"--format takes {', '.join(FORMATS)}, got {', '.join(map(repr, unknown))}")
    return list(chosen)
