"""Arguments that make every builder cheap to test."""

from kseg.layers import ConvNormAct

LITE = {"encoder": "efficientnet_lite0", "encoder_weights": None}


def encoder_to(stride):
    """A small encoder down to a stride; JAX takes long to compile a published one."""

    def encoder(image):
        x, features = image / 255, {}
        for level in range(1, stride.bit_length()):
            x = features[2**level] = ConvNormAct(4 + 2 * level, strides=2, name=f"stage_{level}")(x)
        return features

    return {"encoder": encoder, "encoder_weights": None}


CHEAP = {
    "full_resolution": {"filters": (6, 6)},
    "fcn32": encoder_to(32),
    "fcn16": encoder_to(32),
    "fcn8": encoder_to(32),
    "fcn_dilated": encoder_to(8),
    "segnet": {"encoder_weights": None},
    "segnet_basic": {"filters": 6},
    "unet": {"filters": (16, 12, 8, 8, 4), **encoder_to(32)},
    "unet_2015": {"padding": "same", "filters": (4, 4, 6, 6, 8), "input_shape": (None, None, 3)},
    "deeplabv1": {"rate": 2, **encoder_to(8)},
    "deeplabv2": {"rates": (1, 2), "scales": (0.5, 1.0), **encoder_to(8)},
    "deeplabv3": {"rates": (1, 2), "filters": 8, **encoder_to(16)},
    "deeplabv3plus": {"rates": (1, 2), "filters": 8, "separable": True, **encoder_to(16)},
    "pspnet": {"filters": 8, "bins": (1, 3), **encoder_to(8)},
    "fpn": {"pyramid_filters": 8, "filters": 32, **encoder_to(32)},
    "linknet": {"filters": 8, **encoder_to(32)},
    "unetplusplus": {"filters": (8, 8, 4), "encoder_depth": 3, **encoder_to(8)},
    "manet": {"filters": (8, 8, 4), "encoder_depth": 3, "attention_filters": 4, **encoder_to(8)},
    "pan": {"filters": 8, **encoder_to(16)},
    "segformer": {"filters": 8, **encoder_to(32)},
    "lraspp": {"filters": 8, **encoder_to(16)},
    "pidnet": {"filters": 4, "pyramid_filters": 4, "head_filters": 6},
    "swiftnet": {"filters": 6, "bins": (2, 1), **encoder_to(16)},
    "upernet": {"filters": 8, "bins": (1, 2), **encoder_to(16)},
    "dpt": {"filters": 8, "level_filters": (8, 8, 12), **encoder_to(16)},
    "eomt": {
        "encoder": {"name": "vit_tiny", "filters": 8, "depth": 3, "heads": 2},
        "encoder_weights": None,
        "num_queries": 5,
        "num_blocks": 2,
    },
}
