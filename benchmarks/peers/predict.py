"""Label a folder as a plain script with segmentation-models-pytorch does: palette masks and overlays."""

import pathlib
import sys

import numpy as np
import torch
from PIL import Image

from benchmarks.peers import torchvision

torchvision.load()
import segmentation_models_pytorch  # noqa: E402

encoder, classes, images, weights, out = sys.argv[1], int(sys.argv[2]), *map(pathlib.Path, sys.argv[3:])
net = segmentation_models_pytorch.Unet(encoder, encoder_weights=None, classes=classes)
net.load_state_dict(torch.load(weights, weights_only=True))
net = net.eval().to(memory_format=torch.channels_last)
palette = np.random.default_rng(0).integers(0, 256, (256, 3)).astype("uint8")
for name in ("masks", "overlays"):
    (out / name).mkdir(parents=True, exist_ok=True)
for path in sorted(images.iterdir()):
    image = np.asarray(Image.open(path).convert("RGB"))
    height, width, _ = image.shape
    x = (torch.from_numpy(image.copy())[None].permute(0, 3, 1, 2).float() - 127) / 128
    x = torch.nn.functional.pad(x, (0, -width % 32, 0, -height % 32))
    with torch.inference_mode():
        label = net(x)[0, :, :height, :width].argmax(0).to(torch.uint8).numpy()
    mask = Image.fromarray(label)
    mask.putpalette(palette.tobytes())
    mask.save(out / "masks" / f"{path.stem}.png")
    overlay = (0.5 * image + 0.5 * palette[label]).astype("uint8")
    Image.fromarray(overlay).save(out / "overlays" / f"{path.stem}.jpg", quality=90)
