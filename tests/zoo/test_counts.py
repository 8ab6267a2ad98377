"""Numbers of parameters of published models: builder, count and source in one table."""

import math

import pytest

from kseg import zoo

VGG = {"encoder": "vgg16"}
TORCHVISION = {"output_stride": 8, "extra_conv": True, "auxiliary": True}
UPERNET = {"auxiliary": True}
PYRAMID = {"pyramid": 3, "level_norms": True, "head_kernel_size": 1}
RESNET = {"encoder": "resnet34"}

COUNTS = [
    ("fcn32", 21, VGG, 134_346_581, "Shelhamer et al. 2017, VGG16; without deconvolutions"),
    ("fcn16", 21, VGG, 134_357_354, "likewise"),
    ("fcn8", 21, VGG, 134_362_751, "likewise"),
    ("segnet", 11, {}, 29_433_483 + 15_872, "Badrinarayanan et al. 2017; and BatchNorm's scales and shifts"),
    ("unet_2015", 2, {}, 31_030_658, "Ronneberger et al. 2015, one channel"),
    ("unet_2015", 2, {"up": "bilinear"}, 31_030_658, "likewise"),
    (
        "unet_2015",
        2,
        {"padding": "same", "batch_norm": True, "input_shape": (None, None, 3)},
        31_037_698,
        "its padded form with BatchNorm, three channels",
    ),
    ("deeplabv1", 21, VGG, 20_505_429, "Chen et al. 2015, LargeFOV, published as 20.5 M"),
    ("deeplabv2", 21, VGG, 37_877_652, "Chen et al. 2018, ASPP-L on VGG16"),
    ("deeplabv2", 21, VGG | {"rates": (2, 4, 8, 12)}, 37_877_652, "likewise, ASPP-S"),
    ("deeplabv2", 21, {"encoder": "resnet101"}, 42_500_160 + 4 * 387_093, "ResNet-101 and four 3x3 convolutions"),
    ("deeplabv3", 21, {"encoder": "resnet50", **TORCHVISION}, 42_004_074, "torchvision's deeplabv3_resnet50"),
    ("deeplabv3", 21, {"encoder": "resnet101", **TORCHVISION}, 60_996_202, "torchvision's deeplabv3_resnet101"),
    ("deeplabv3", 21, {"encoder": "mobilevit_xxs"}, 1_854_853, "Mehta, Rastegari 2021, DeepLabV3 published as 1.9 M"),
    ("deeplabv3", 21, {"encoder": "mobilevit_xs"}, 2_944_069, "likewise, 2.9 M"),
    ("deeplabv3", 21, {"encoder": "mobilevit_s"}, 6_357_941, "likewise, 6.4 M"),
    ("segformer", 150, {"encoder": "mit_b0"}, 3_752_694, "Xie et al. 2021, table 1, published as 3.8 M"),
    ("segformer", 150, {"encoder": "mit_b1"}, 13_715_798, "likewise, 13.7 M"),
    ("segformer", 150, {"encoder": "mit_b2", "filters": 768}, 27_461_974, "likewise, 27.5 M"),
    ("segformer", 150, {"encoder": "mit_b3", "filters": 768}, 47_337_814, "likewise, 47.3 M"),
    ("segformer", 150, {"encoder": "mit_b4", "filters": 768}, 64_108_374, "likewise, 64.1 M"),
    ("segformer", 150, {"encoder": "mit_b5", "filters": 768}, 84_708_694, "likewise, 84.7 M"),
    (
        "pspnet",
        21,
        RESNET | {"encoder_depth": 3, "kernel_sizes": (1, 3)},
        21_530_165 - 19_936_768,
        "PSPNet of segmentation-models-pytorch 0.6.0, without the stages of ResNet-34 that it does not use",
    ),
    ("fpn", 21, RESNET, 23_157_973, "likewise, FPN, whole"),
    ("linknet", 21, RESNET, 21_772_597, "likewise, Linknet"),
    ("unetplusplus", 21, RESNET, 26_081_509, "likewise, UnetPlusPlus"),
    ("manet", 21, RESNET, 31_786_533, "likewise, MAnet"),
    ("pan", 21, RESNET, 21_481_596, "likewise, PAN"),
    ("upernet", 150, UPERNET | {"encoder": "convnext_tiny"}, 60_242_636, "Liu et al. 2022, table 4, published as 60 M"),
    ("upernet", 150, UPERNET | {"encoder": "convnext_small"}, 81_877_196, "likewise, 82 M"),
    ("upernet", 150, UPERNET | {"encoder": "convnext_base"}, 122_102_956, "likewise, 122 M"),
    ("upernet", 150, UPERNET | {"encoder": "convnextv2_tiny"}, 60_289_004, "transformers, with ConvNeXt V2"),
    ("upernet", 150, UPERNET | {"encoder": "swin_tiny"}, 59_941_862, "Liu et al. 2021, table 3, published as 60 M"),
    ("upernet", 150, UPERNET | {"encoder": "swin_small"}, 81_259_766, "likewise, 81 M"),
    ("upernet", 150, UPERNET | {"encoder": "swin_base"}, 121_279_716, "likewise, 121 M"),
    ("swiftnet", 19, {}, 11_816_508 + 19, "Orsic et al. 2019, published as 11.8 M; and the bias of the scores"),
    ("swiftnet", 19, {"head_kernel_size": 1}, 11_797_071, "its code of 2020, whose scores have a bias"),
    ("swiftnet", 19, {"pyramid": 2}, 12_897_344 + 19, "Orsic et al. 2019, published as 12.9 M; and the bias"),
    ("swiftnet", 19, PYRAMID, 12_056_275, "its code of 2020"),
    ("pidnet", 19, {"variant": "s"}, 7_625_715, "Xu et al. 2023, published as 7.6 M"),
    ("pidnet", 19, {"variant": "m"}, 28_538_515, "its code; the paper has 34.4 M"),
    ("pidnet", 19, {"variant": "l"}, 36_939_571, "likewise, published as 36.9 M"),
    ("dpt", 150, {"encoder": {"name": "vit_base", "grid": 24}}, 109_996_886, "transformers, with ViT-B"),
    (
        "dpt",
        150,
        {"encoder": {"name": "vit_large", "grid": 24}, "level_filters": (256, 512, 1024, 1024)},
        342_148_758,
        "transformers, Intel/dpt-large-ade",
    ),
    (
        "dpt",
        150,
        {"encoder": "vit_base", "first_units": 2, "level_filters": (256, 512, 1024, 1024)},
        121_045_910,
        "segmentation-models-pytorch, with tu-vit_base_patch16_224",
    ),
    (
        "eomt",
        150,
        {"encoder": {"name": "dinov2_large_registers", "patch": 16, "grid": 32, "layer_scale": 1.0}},
        316_020_887 + 1024,
        "transformers, tue-mps/ade20k_semantic_eomt_large_512; and a position of the class token",
    ),
]


@pytest.mark.parametrize(("builder", "classes", "options", "count", "source"), COUNTS)
def test_parameters_are_the_published(builder, classes, options, count, source, without_memory):
    untrained = {} if builder == "unet_2015" else {"encoder_weights": None}
    model = zoo.build(builder, classes, **untrained, **options)
    # As papers count: BatchNorm's moving statistics are none, and FCN's deconvolutions were not learnt at first.
    counted = [variable for variable in model.trainable_variables if "enlarge" not in variable.path]
    assert sum(math.prod(variable.shape) for variable in counted) == count, source
