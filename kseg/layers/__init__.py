"""What Keras lacks for segmentation, one idea a file: serialisable Keras layers on `(N, H, W, C)`."""

from kseg.layers.convolution import ConvNormAct
from kseg.layers.crf import ConvCRF
from kseg.layers.cropping import CropLike, SmallestSize, UnpaddedSize
from kseg.layers.decoder import SegmentationHead, UNetBlock
from kseg.layers.pyramid import ASPP, AtrousScoreSum
from kseg.layers.resize import Resize
from kseg.layers.scores import ScoreFusion, ScoreUpsampling
from kseg.layers.transpose import BilinearKernel, TransposeUpsampling2D
from kseg.layers.unpooling import BedOfNailsUnpooling2D, MaxPoolingWithArgmax2D, MaxUnpooling2D, NearestUnpooling2D

__all__ = [
    "ASPP",
    "AtrousScoreSum",
    "BedOfNailsUnpooling2D",
    "BilinearKernel",
    "ConvCRF",
    "ConvNormAct",
    "CropLike",
    "MaxPoolingWithArgmax2D",
    "MaxUnpooling2D",
    "NearestUnpooling2D",
    "Resize",
    "ScoreFusion",
    "ScoreUpsampling",
    "SegmentationHead",
    "SmallestSize",
    "TransposeUpsampling2D",
    "UNetBlock",
    "UnpaddedSize",
]
