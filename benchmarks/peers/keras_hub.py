"""The DeepLabV3+ of keras-hub on ResNet-50. Its output stride is 32, which is less work than the 16 of the others."""

import keras
import keras_hub

from benchmarks.experiments._ways import CLASSES, Case, Job, Way
from kseg import zoo


def _model() -> keras.Model:
    encoder = keras_hub.models.ResNetBackbone(
        [64], [7], [64, 128, 256, 512], [3, 4, 6, 3], [1, 2, 2, 2], "bottleneck_block"
    )
    net = keras_hub.models.DeepLabV3Backbone(encoder, "P5", 8, [6, 12, 18], low_level_feature_key="P2")
    model = keras_hub.models.DeepLabV3ImageSegmenter(net, CLASSES)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
    model.compile(keras.optimizers.AdamW(1e-3), loss)
    return model


def _inference(way: Way, case: Case) -> Job:
    model, pixels = _model(), case.pixels()
    cost = case.batch * zoo.multiply_adds(model, case.size)
    return lambda: model.predict_on_batch(pixels).argmax(-1).astype("uint8"), cost


def _training(way: Way, case: Case) -> Job:
    model, pixels, labels = _model(), case.pixels(), case.labels()
    cost = 3 * case.batch * zoo.multiply_adds(model, case.size)
    return lambda: model.train_on_batch(pixels, labels), cost


JOBS = {"inference": _inference, "training": _training}
