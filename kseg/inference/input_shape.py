"""The shape of the images that a model takes, and how other images are padded to it."""

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from kseg.inference.tiling import STEP


@dataclasses.dataclass(frozen=True)
class InputShape:
    """The number and the size of the images that a model takes at once, with None for any.

    Attributes:
        model: Name of the model, for errors.
        batch: Number of images.
        size: Height and width.
        scale: Largest scale at which the images are given to the model, at least 1.
        step: The number that must divide height and width, where these are not fixed.
        powers: Whether the number of images is padded to a power of two, for JAX, which compiles the network for each.
        tiles: Whether larger images can be cut into tiles, which are joined by their probabilities.
    """

    model: str
    batch: int | None
    size: Sequence[int | None]
    scale: float
    step: int
    powers: bool
    tiles: bool = True

    def tile(self, tile: int | None) -> int | None:
        """Returns a side of tiles that the model takes at every scale; at most the given one if its size is fixed."""
        fixed = [side for side in self.size if side]
        if not fixed and tile and tile % self.step:
            multiple = math.lcm(STEP, self.step)
            return -(-tile // multiple) * multiple
        if not fixed or tile == 0:
            return tile
        if not self.tiles:
            return 0
        most = int(min(fixed) / self.scale) // STEP * STEP
        return min(tile or most, most) or tile

    def holds(self, shape: Sequence[int]) -> bool:
        """Returns whether the size is fixed and an image `(H, W, ...)` is not larger at any scale."""
        return all(side and given * self.scale <= side for side, given in zip(self.size, shape, strict=False))

    def run(self, run: Callable[[np.ndarray], np.ndarray], images: np.ndarray) -> np.ndarray:
        """Runs a network on images that are padded to the sizes that it takes or was compiled for.

        Args:
            run: Maps images `(N, H, W, C)` to label maps `(N, H, W)` or scores `(N, H, W, num_classes)`.
            images: The images.

        Returns:
            What `run` returns, without the padding.

        Raises:
            ValueError: If the images are too large, or the results have another size.
        """
        count, height, width = images.shape[:3]
        below, beside = (
            side - given if side else -given % self.step for side, given in zip(self.size, (height, width), strict=True)
        )
        if below < 0 or beside < 0:
            takes = "x".join("any" if side is None else str(side) for side in self.size)
            cure = "leave out tile=0 (--tile 0)" if self.tile(None) else "shrink the image"
            if not self.tiles:
                cure += ", or export the model without --labels, so that it can be cut into tiles"
            raise ValueError(f"{self.model} takes images of {takes} pixels, got {height}x{width}: {cure}")
        if below or beside:
            images = np.pad(images, [(0, 0), (0, below), (0, beside), (0, 0)], mode="edge")
        more = (1 << (count - 1).bit_length()) - count if self.powers else 0
        if self.batch:
            more = -count % self.batch
        if more:
            images = np.pad(images, [(0, more), (0, 0), (0, 0), (0, 0)])
        step = self.batch or len(images)  # copies below: on PyTorch, Keras holds the array for a while
        parts = [run(np.array(images[at : at + step], order="C")) for at in range(0, len(images), step)]
        found = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if found.shape[1:3] != images.shape[1:3]:
            (high, wide), (rows, columns) = images.shape[1:3], found.shape[1:3]
            raise ValueError(
                f"{self.model} gives {rows}x{columns} labels for {high}x{wide} pixels, Predictor needs one for every "
                "pixel: resize the scores in Keras, model = keras.Model(model.inputs[0], kseg.layers.Resize()("
                "model.outputs[0], like=model.inputs[0])), and export it again if it is exported"
            )
        return found[:count, :height, :width]
