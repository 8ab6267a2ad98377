"""What `python -m benchmarks speed` times: the nets, the libraries and their ways, and the jobs of kseg."""

import dataclasses
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from kseg import data, inference, losses, metrics, pretrained, training, zoo

CLASSES = 11
NETS: dict[str, dict[str, Any]] = {
    "unet": {"encoder": "efficientnet_lite0"},
    "deeplabv3plus": {
        "encoder": "resnet50", "separable": True, "extra_conv": True, "decoder_convs": 1, "rates": (12, 24, 36),
        "align_corners": True, "dropout": 0.5,
    },
    "deeplabv3": {"encoder": "resnet50", "output_stride": 8, "extra_conv": True, "dropout": 0.5},
}  # fmt: skip
"""Arguments with which the builders of kseg make the nets of segmentation-models-pytorch and torchvision."""
STEPS = ("inference", "growth", "training")
PROGRAMS = ("predict", "import", "build", "help")
"""Parts that run a program: its start counts, and its memory is that of the whole process."""
ROOT = pathlib.Path(__file__).parents[2]

Job = tuple[Callable[[], Any], int | None]
"""What is timed, and its multiply-adds: those of a training step are three times those of the prediction."""


@dataclasses.dataclass(frozen=True)
class Case:
    """What all ways do: `part` is a key of `JOBS`, `batch` the images of one call, `images` those in `folder`."""

    part: str
    net: str = "unet"
    size: tuple[int, int] = (384, 480)
    batch: int = 1
    images: int = 0
    folder: str = ""

    def pixels(self) -> np.ndarray:
        """Returns a batch of noise, uint8 `(batch, H, W, 3)`."""
        return np.random.default_rng(0).integers(0, 256, (self.batch, *self.size, 3)).astype("uint8")

    def labels(self) -> np.ndarray:
        """Returns random labels, uint8 `(batch, H, W)`."""
        return np.random.default_rng(1).integers(0, CLASSES, (self.batch, *self.size)).astype("uint8")


@dataclasses.dataclass(frozen=True)
class Way:
    """A library and how it is used: `style` is kseg's engine, or the memory layout, compiler or runtime of others.

    `module` has the table `JOBS`, from parts to functions `(way, case) -> Job`.
    """

    name: str
    backend: str = "torch"
    style: str = ""
    parts: tuple[str, ...] = ("inference", "training")
    nets: tuple[str, ...] = ("unet", "deeplabv3plus")
    module: str = "benchmarks.peers.speed"

    @property
    def is_kseg(self) -> bool:
        """Whether this way uses kseg; all others are peers."""
        return self.module == __name__


def _kseg(title: str, backend: str, style: str = "", parts: tuple[str, ...] = ("inference", "growth")) -> Way:
    return Way(f"kseg {title}".strip(), backend, style, parts, tuple(NETS), __name__)


ALL = (*STEPS, "epoch", "predict", "import", "build")
PRODUCT = Way("matrix product", parts=STEPS, nets=tuple(NETS))
"""A large product of matrices, with whose multiply-adds per second those of networks are compared."""
WAYS = (
    _kseg("TensorFlow", "tensorflow", "keras", ALL),
    _kseg("JAX", "jax", "keras", ALL),
    _kseg("PyTorch", "torch", "keras", ALL),
    _kseg("OpenVINO", "tensorflow", "openvino"),
    _kseg("OpenVINO int8", "tensorflow", "openvino int8", ("inference",)),
    _kseg("ONNX Runtime", "tensorflow", "onnxruntime", ("inference",)),
    _kseg("", "torch", parts=("help", "scores")),
    Way("SMP eager", style="eager", parts=("inference", "training", "epoch")),
    Way("SMP channels_last", style="channels_last", parts=ALL),
    Way("SMP compiled", style="compiled"),
    Way("SMP OpenVINO", style="openvino", parts=("inference", "growth")),
    Way("torchvision channels_last", style="channels_last", nets=("deeplabv3",)),
    Way("torchvision compiled", style="compiled", nets=("deeplabv3",)),
    Way("torchvision OpenVINO", style="openvino", parts=("inference",), nets=("deeplabv3",)),
    Way("keras-hub", "tensorflow", nets=("deeplabv3plus",), module="benchmarks.peers.keras_hub"),
    Way("keras", "tensorflow", parts=("import",)),
    Way("torchmetrics", parts=("scores",)),
    PRODUCT,
)


def program(*arguments: str | os.PathLike[str]) -> Job:
    """Returns a job that runs Python with these arguments."""
    return lambda: subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL), None


def model_of(case: Case) -> keras.Model:
    size = (*case.size, 3) if case.part in STEPS else (None, None, 3)
    model = getattr(zoo, case.net)(CLASSES, encoder_weights=None, input_shape=size, **NETS[case.net])
    model.compile(training.AdamW(1e-3), losses.CrossEntropy())
    return model


def _inference(way: Way, case: Case) -> Job:
    model, pixels = model_of(case), case.pixels()
    engine, _, precision = way.style.partition(" ")
    int8: Any = {}
    if precision:
        int8 = {"precision": precision, "calibration": data.streets("train", count=32, size=case.size)}
    predictor = inference.Predictor(model, engine=engine, **int8)
    return lambda: predictor.labels(pixels), case.batch * zoo.multiply_adds(model, case.size)


def _training(way: Way, case: Case) -> Job:
    model, pixels, labels = model_of(case), case.pixels(), case.labels()
    cost = 3 * case.batch * zoo.multiply_adds(model, case.size)
    return lambda: model.train_on_batch(pixels, labels), cost


def _epoch(way: Way, case: Case) -> Job:
    model = model_of(case)
    dataset = data.FolderDataset(case.folder, classes=[str(index) for index in range(CLASSES)])
    augment = data.augment.pipeline("street", crop=case.size)

    def run() -> None:
        batches = data.loader(dataset, batch_size=case.batch, augment=augment)
        model.fit(batches, steps_per_epoch=case.images // case.batch, shuffle=False, verbose=0)

    return run, None


def _predict(way: Way, case: Case) -> Job:
    folder = pathlib.Path(case.folder)
    weights = pretrained.save(model_of(case), folder / "weights.safetensors")
    return program("-m", "kseg.cli", "predict", folder / "images", "--weights", weights, "-o", folder / way.name)


def _scores(way: Way, case: Case) -> Job:
    labels, predicted = case.labels(), np.roll(case.labels(), 1, axis=0)
    return lambda: metrics.scores(metrics.confusion_matrix(labels, predicted, CLASSES)), None


JOBS: dict[str, Callable[[Way, Case], Job]] = {
    "inference": _inference,
    "growth": _inference,
    "training": _training,
    "epoch": _epoch,
    "predict": _predict,
    "import": lambda way, case: program("-c", "import kseg"),
    "build": lambda way, case: program("-c", f"import kseg; kseg.zoo.unet({CLASSES}, encoder_weights=None)"),
    "help": lambda way, case: program("-m", "kseg.cli", "--help"),
    "scores": _scores,
}
