"""Encoders: networks that turn an image into features at several strides, with ImageNet weights.

Every encoder is a functional `keras.Model` named `encoder`. It takes an image of any height and width with values from
0 to 255, normalizes it in its first layer, and returns a list of features, finest first.
"""

from kseg.encoders import bsds500, convnext, densenet, hrnet, mit, mobilenet, mobilevit, regnet, resnet, swin, vgg, vit
from kseg.encoders.classifier import Classifier
from kseg.encoders.extraction import EncoderLike, build, classifier_of, extract, resolved
from kseg.encoders.features import Features
from kseg.encoders.stages import convolution
from kseg.encoders.table import ENCODERS, Encoder

__all__ = [
    "ENCODERS", "Classifier", "Encoder", "EncoderLike", "Features", "bsds500", "build", "classifier_of",
    "convnext", "convolution", "densenet", "extract", "hrnet", "mit", "mobilenet", "mobilevit", "regnet", "resnet",
    "resolved", "swin", "vgg", "vit",
]  # fmt: skip
