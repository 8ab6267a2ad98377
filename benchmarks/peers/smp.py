"""The U-Net of segmentation-models-pytorch on EfficientNet-Lite0, with the ImageNet weights that kseg's encoder has."""

import importlib.metadata

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.peers import torchvision
from kseg import checkpoints
from kseg.encoders.efficientnet_lite import weight_file

NAME = "smp.Unet"
STRIDE = 32


def version() -> str:
    """Returns the name of the library and its version."""
    return f"segmentation-models-pytorch {importlib.metadata.version('segmentation-models-pytorch')}"


class Unet(torch.nn.Module):
    """The peer with kseg's interface: images with values from 0 to 255, logits of the size of the image.

    The library requires sides that are multiples of 32: images are padded with their mean, and the logits are cropped.
    Its finest feature comes from the first block and has 16 channels; kseg's comes from the stem and has 32. Another
    encoder of the library, with the prefix "timm-", pads differently from the net that the weights belong to.
    """

    def __init__(self, num_classes: int, *, pretrained: bool = True):
        super().__init__()
        torchvision.load()
        import segmentation_models_pytorch

        self.net = segmentation_models_pytorch.Unet(
            "tu-tf_efficientnet_lite0", encoder_weights=None, classes=num_classes
        )
        if pretrained:
            load_imagenet(self.net.encoder)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Maps images `(N, H, W, 3)` of any type to float32 logits `(N, num_classes, H, W)`."""
        x = (images.permute(0, 3, 1, 2).float() - 127) / 128  # what the encoder's weights expect
        height, width = x.shape[2:]
        x = torch.nn.functional.pad(x, (0, -width % STRIDE, 0, -height % STRIDE))
        return self.net(x)[:, :, :height, :width].float()


def load_imagenet(encoder: torch.nn.Module) -> None:
    """Loads the package's ImageNet weights into timm's net: the names differ, the order of the modules does not."""
    state = checkpoints.read(weight_file("efficientnet_lite0"))
    arrays = [array for name, array in state.items() if not name.startswith(("_conv_head.", "_bn1.", "_fc."))]
    own = encoder.state_dict()
    if [array.shape for array in arrays] != [tuple(tensor.shape) for tensor in own.values()]:
        raise ValueError(
            "timm's EfficientNet-Lite0 has other layers than the package of its weights: install an older timm"
        )
    encoder.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in zip(own, arrays, strict=True)})


def parameters(net: torch.nn.Module) -> int:
    """Counts the parameters as Keras does: the statistics of batch normalization are included."""
    states = [*net.parameters(), *(buffer for buffer in net.buffers() if buffer.is_floating_point())]
    return sum(state.numel() for state in states)


def multiply_adds(net: torch.nn.Module, size: tuple[int, int]) -> int:
    """Counts the multiplications of a net's convolutions for one image, with the padding to multiples of 32."""
    device = next(net.parameters()).device
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net.eval()(torch.zeros((1, *size, 3), device=device))
    return counter.get_total_flops() // 2
