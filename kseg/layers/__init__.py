"""Keras layers for segmentation that Keras itself does not have. All of them are serializable and take `(N, H, W, C)`.

Every layer has a method `reach`, from which `kseg.zoo.receptive_field` computes what a model sees.
"""

from kseg.layers.activations import exact_gelu
from kseg.layers.attention import ChannelSpatialExcitation, PositionAttention, SqueezeExcitation
from kseg.layers.convolution import (
    FAST_LAYERS,
    Conv2D,
    ConvNormAct,
    DepthwiseConv2D,
)
from kseg.layers.crf import ConvCRF
from kseg.layers.cropping import CropLike, SmallestSize, UnpaddedSize
from kseg.layers.decoder import SegmentationHead, UNetBlock, check_activation
from kseg.layers.fusion import PyramidFusion
from kseg.layers.geometry import Reach
from kseg.layers.graph import FoldedModel, layer_calls
from kseg.layers.grid_attention import FitGrid, GridAttention
from kseg.layers.guided import BoundaryAttentionFusion, PixelAttentionFusion
from kseg.layers.normalization import NORM_EPSILON, NORM_MOMENTUM, BatchNormalization
from kseg.layers.pooling import FeaturePyramidAttention, GridMeans, HalvingMean2D, PyramidPooling
from kseg.layers.preactivation import NormActConv
from kseg.layers.pyramid import ASPP, AtrousScoreSum
from kseg.layers.queries import QueryFeatures, QueryMasks, QueryScores, QueryTokens
from kseg.layers.reduction import BicubicReduction
from kseg.layers.resize import Resize
from kseg.layers.scaling import GlobalResponseNormalization, LayerScale
from kseg.layers.scores import ScoreFusion, ScoreUpsampling
from kseg.layers.self_attention import ATTENTION_EPSILON, SpatialReductionAttention
from kseg.layers.tokens import FitPatches, PatchTokens, TokenMap
from kseg.layers.tracing import bounded, enlarged, single_operation
from kseg.layers.transpose import BilinearKernel, TransposeUpsampling2D
from kseg.layers.unpooling import BedOfNailsUnpooling2D, MaxPoolingWithArgmax2D, MaxUnpooling2D, NearestUnpooling2D
from kseg.layers.window_attention import SpaceToDepth, WindowAttention

__all__ = [
    "ASPP",
    "ATTENTION_EPSILON",
    "FAST_LAYERS",
    "NORM_EPSILON",
    "NORM_MOMENTUM",
    "AtrousScoreSum",
    "BatchNormalization",
    "BedOfNailsUnpooling2D",
    "BicubicReduction",
    "BilinearKernel",
    "BoundaryAttentionFusion",
    "ChannelSpatialExcitation",
    "Conv2D",
    "ConvCRF",
    "ConvNormAct",
    "CropLike",
    "DepthwiseConv2D",
    "FeaturePyramidAttention",
    "FitGrid",
    "FitPatches",
    "FoldedModel",
    "GlobalResponseNormalization",
    "GridAttention",
    "GridMeans",
    "HalvingMean2D",
    "LayerScale",
    "MaxPoolingWithArgmax2D",
    "MaxUnpooling2D",
    "NearestUnpooling2D",
    "NormActConv",
    "PatchTokens",
    "PixelAttentionFusion",
    "PositionAttention",
    "PyramidFusion",
    "PyramidPooling",
    "QueryFeatures",
    "QueryMasks",
    "QueryScores",
    "QueryTokens",
    "Reach",
    "Resize",
    "ScoreFusion",
    "ScoreUpsampling",
    "SegmentationHead",
    "SmallestSize",
    "SpaceToDepth",
    "SpatialReductionAttention",
    "SqueezeExcitation",
    "TokenMap",
    "TransposeUpsampling2D",
    "UNetBlock",
    "UnpaddedSize",
    "WindowAttention",
    "bounded",
    "check_activation",
    "enlarged",
    "exact_gelu",
    "layer_calls",
    "single_operation",
]
