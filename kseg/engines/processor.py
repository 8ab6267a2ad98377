"""Image processors of transformers: images are resized before the network, and its scores after it."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops
from PIL import Image

from kseg.engines.exported import as_labels, as_scores
from kseg.engines.runner import Loss, Run, runner_of
from kseg.layers import SegmentationHead, layer_calls


class ProcessorRunner:
    """Runs a model on images at the size to which the image processor of its checkpoint resizes them.

    Images are resized by Pillow, as the processor does. The scores are resized to the image itself, as
    `post_process_semantic_segmentation` does. They are taken from the head before it enlarges them to the resized
    image, unless the checkpoint's model does that too. See `kseg.engines.Runner`.

    Args:
        model: A model with a `processor`, see `kseg.pretrained.SegmentationModel`.
        **options: Those of `kseg.engines.runner_of`.

    Raises:
        ValueError: If the model does not store how its images are resized.
    """

    gives_labels = False
    powers = False

    def __init__(self, model: Any, **options: Any):
        rule: Mapping[str, Any] = getattr(model, "processor", {})
        if not rule:
            raise ValueError(
                f'{model.name} does not store how a processor resizes images: leave out resize="processor" (--resize), '
                "which is for folders of transformers with a preprocessor_config.json that resizes and does not crop"
            )
        self.sides = rule["size"]
        self.resample = Image.Resampling[rule["resample"].upper()]
        self._runner = runner_of(model if rule.get("enlarged") else _before_enlarging(model), **options)
        self.from_logits = self._runner.from_logits
        self.probabilities: Run = self._probabilities
        self.labels: Run = lambda images: as_labels(self._probabilities(images), from_logits=False)

    def with_loss(self, loss: Loss) -> None:
        """Returns None: a loss needs the scores at the size of the image."""

    def _probabilities(self, images: np.ndarray) -> np.ndarray:
        """Returns the probabilities of images `(N, H, W, C)` at their size, `(N, H, W, num_classes)`."""
        height, width = images.shape[1:3]
        p = self._runner.probabilities(np.stack([self._resized(image) for image in images]))
        # The logarithms of probabilities are the scores less a term that is the same for all classes of a pixel.
        scores = ops.convert_to_tensor(as_scores(p))
        if p.shape[1:3] != (height, width):
            scores = ops.image.resize(scores, (height, width), interpolation="bilinear", data_format="channels_last")
        return np.asarray(ops.convert_to_numpy(ops.sigmoid(scores) if p.shape[-1] == 1 else ops.softmax(scores)))

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Returns the height and width to which an image is resized."""
        if "height" in self.sides:
            return self.sides["height"], self.sides["width"]
        short, long = sorted((height, width))
        target: float = self.sides["shortest_edge"]
        most = self.sides.get("longest_edge")
        if most and long / short * target > most:
            target = most * short / long
        other = int(target * long / short)
        return (round(target), other) if height <= width else (other, round(target))

    def _resized(self, image: np.ndarray) -> np.ndarray:
        height, width = self.size(*image.shape[:2])
        size = (width, height)
        if image.dtype == np.uint8 and image.shape[-1] == 3:
            return np.asarray(Image.fromarray(image).resize(size, self.resample))
        if image.dtype != np.uint8:
            image = image.astype("float32", copy=False)
        bands = [Image.fromarray(np.ascontiguousarray(image[..., band])) for band in range(image.shape[-1])]
        return np.stack([np.asarray(band.resize(size, self.resample)) for band in bands], axis=-1)


def _before_enlarging(model: keras.Model) -> keras.Model:
    """The model up to the scores at the size of the features, if it ends in a head; otherwise the model itself."""
    for layer, node in layer_calls(model):
        if node.output_tensors[0] is model.outputs[0]:
            if isinstance(layer, SegmentationHead) and layer.aligned_factor is None:
                return keras.Model(model.inputs[0], layer(node.arguments.args[0]), name=model.name)
            break
    return model
