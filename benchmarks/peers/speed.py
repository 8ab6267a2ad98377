"""What `python -m benchmarks speed` times in PyTorch's libraries: the shortest code that uses them well."""

import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy, pad

from benchmarks.experiments import _ways as ways
from benchmarks.experiments._ways import CLASSES, Case, Job, Way
from benchmarks.peers import smp, torchvision
from benchmarks.peers.files import Files
from benchmarks.peers.training import device

ENCODER = "timm-tf_efficientnet_lite0"
"""The encoder whose features have the channels of kseg's; that of `benchmarks.peers.smp` has a narrower finest one."""
IMPORT = "from benchmarks.peers import torchvision; torchvision.load(); import segmentation_models_pytorch"
MATRIX = 2048


class Logits(torch.nn.Module):
    """An untrained net with kseg's interface: uint8 images `(N, H, W, 3)` to logits `(N, CLASSES, H, W)`."""

    def __init__(self, way: Way, case: Case):
        super().__init__()
        library = torchvision.load().models.segmentation
        if case.net == "deeplabv3":
            net = library.deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=CLASSES)
        else:
            import segmentation_models_pytorch

            unet = case.net == "unet"
            build = getattr(segmentation_models_pytorch, "Unet" if unet else "DeepLabV3Plus")
            encoder = ENCODER if unet else "resnet50"
            net = build(encoder, encoder_weights=None, classes=CLASSES)
        self.layout = torch.contiguous_format if way.style == "eager" else torch.channels_last
        self.net = net.to(device(), memory_format=self.layout)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Normalizes, pads to multiples of 32, and crops the logits."""
        x = (images.permute(0, 3, 1, 2).float() - 127) / 128
        height, width = x.shape[2:]
        x = pad(x, (0, -width % smp.STRIDE, 0, -height % smp.STRIDE)).contiguous(memory_format=self.layout)
        x = self.net(x)
        return (x["out"] if isinstance(x, dict) else x)[:, :, :height, :width]


class Labels(Logits):
    """The same, to uint8 labels `(N, H, W)`."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Chooses the class with the largest logit."""
        return super().forward(images).argmax(1).to(torch.uint8)


def _half() -> Any:
    return torch.autocast(device().type, torch.bfloat16, enabled=device().type == "cuda")


def _inference(way: Way, case: Case) -> Job:
    if way == ways.PRODUCT:
        return _product()
    net, pixels = Labels(way, case).eval(), case.pixels()
    cost = case.batch * smp.multiply_adds(net, case.size)
    if way.style == "openvino":
        import openvino

        exported = openvino.convert_model(net, example_input=torch.from_numpy(pixels), input=list(pixels.shape))
        float32 = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        float32 |= {"INFERENCE_NUM_THREADS": str(torch.get_num_threads())}
        request = openvino.compile_model(exported, "CPU", float32)
        return lambda: request(pixels)[0], cost
    run = torch.compile(net) if way.style == "compiled" else net

    def label() -> np.ndarray:
        with torch.inference_mode(), _half():
            return run(torch.from_numpy(pixels).to(device())).cpu().numpy()

    return label, cost


def _steps(way: Way, case: Case) -> tuple[Logits, Callable[[torch.Tensor, torch.Tensor], float]]:
    net = Logits(way, case).train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=1e-2, fused=True)
    run = torch.compile(net) if way.style == "compiled" else net

    def step(images: torch.Tensor, labels: torch.Tensor) -> float:
        with _half():
            logits = run(images.to(device()))
        loss = cross_entropy(logits.float(), labels.to(device()).long(), ignore_index=255)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return net, step


def _training(way: Way, case: Case) -> Job:
    if way == ways.PRODUCT:
        return _product()
    net, step = _steps(way, case)
    images, labels = torch.from_numpy(case.pixels()), torch.from_numpy(case.labels())
    cost = 3 * case.batch * smp.multiply_adds(net, case.size)
    net.train()
    return lambda: step(images, labels), cost


def _product() -> Job:
    if device().type == "cuda":
        side = 4 * MATRIX
        both = torch.ones((2, side, side), dtype=torch.bfloat16, device=device())
        return lambda: float((both[0] @ both[1])[0, 0]), side**3
    a, b = np.random.default_rng(0).normal(size=(2, MATRIX, MATRIX)).astype("float32")
    return lambda: a @ b, MATRIX**3


def _epoch(way: Way, case: Case) -> Job:
    import cv2

    _, step = _steps(way, case)
    files, workers = Files(case.folder, case.size), torch.get_num_threads()
    cv2.setNumThreads(1)  # in each worker, as PyTorch itself
    batches = torch.utils.data.DataLoader(files, case.batch, shuffle=True, drop_last=True, num_workers=workers)
    return lambda: [step(*batch) for batch in batches], None


def _predict(way: Way, case: Case) -> Job:
    folder = pathlib.Path(case.folder)
    torch.save(Logits(way, case).net.state_dict(), folder / "weights.pt")
    paths = folder / "images", folder / "weights.pt", folder / way.name
    return ways.program("-m", "benchmarks.peers.predict", ENCODER, str(CLASSES), *paths)


def _import(way: Way, case: Case) -> Job:
    return ways.program("-c", "import keras" if way.name == "keras" else IMPORT)


def _build(way: Way, case: Case) -> Job:
    unet = f"segmentation_models_pytorch.Unet('{ENCODER}', encoder_weights=None, classes={CLASSES})"
    return ways.program("-c", f"{IMPORT}; {unet}")


def _scores(way: Way, case: Case) -> Job:
    torchvision.load()  # torchmetrics imports it
    import torchmetrics

    labels = torch.from_numpy(case.labels()).long()
    metric = torchmetrics.JaccardIndex("multiclass", num_classes=CLASSES, ignore_index=255, average="none")
    predicted = labels.roll(1, 0)
    return lambda: metric(predicted, labels).numpy(), None


JOBS: dict[str, Callable[[Way, Case], Job]] = {
    "inference": _inference,
    "growth": _inference,
    "training": _training,
    "epoch": _epoch,
    "predict": _predict,
    "import": _import,
    "build": _build,
    "scores": _scores,
}
