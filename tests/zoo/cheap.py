"""Arguments with which every builder is cheap to test."""

LITE = {"encoder": "efficientnet_lite0", "encoder_weights": None}
CHEAP = {
    "fcn32": LITE,
    "fcn16": LITE,
    "fcn8": LITE,
    "fcn_dilated": LITE,
    "segnet": {"encoder_weights": None},
    "segnet_basic": {"filters": 8},
    "unet": LITE,
    "unet_2015": {"padding": "same", "batch_norm": True, "filters": (4, 8, 8, 16, 16), "input_shape": (None, None, 3)},
    "deeplabv1": LITE,
    "deeplabv2": LITE | {"scales": (0.5, 1.0)},
    "deeplabv3": LITE,
    "deeplabv3plus": LITE,
}
