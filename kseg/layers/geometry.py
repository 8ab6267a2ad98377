"""The size of a feature map, and how much of the image one of its pixels depends on."""

import math
from typing import NamedTuple

Shape = tuple[int | None, ...]
"""`(N, H, W, C)`; None where a size is unknown."""


class Reach(NamedTuple):
    """The receptive field of a pixel of a feature map, along one side of the image.

    Every layer has a method `reach`, which takes the reach of each of its inputs, in the order of `call`, and returns
    the reach of its output. In decoders it is an upper bound.

    Attributes:
        pixels: Number of image pixels that a feature pixel depends on; `math.inf` stands for the whole image.
        step: Distance between two neighboring feature pixels, in image pixels.

    Reference:
        Araujo, Norris, Sim: Computing Receptive Fields of Convolutional Neural Networks, 2019,
        https://distill.pub/2019/computing-receptive-fields
    """

    pixels: float
    step: float

    def window(self, size: int, *, rate: int = 1, stride: int = 1) -> "Reach":
        """The reach after a convolution or a pooling with a kernel of `size` taps."""
        return Reach(self.pixels + (size - 1) * rate * self.step, self.step * stride)

    def transposed(self, size: int, stride: int) -> "Reach":
        """The reach after a transposed convolution with a kernel of `size` taps."""
        return Reach(self.pixels + (math.ceil(size / stride) - 1) * self.step, self.step / stride)
