"""The builders, one file for a paper and its variants: functions that return a functional `keras.Model`.

(The folder `zoo/` at the top of the repository records how each of the released weights was trained.)
"""

from kseg.checkpoints import EXPORTERS
from kseg.zoo import _mobile_deeplab, _smp_export, authors  # noqa: F401
from kseg.zoo._builder import Builder, builder
from kseg.zoo._crf import with_crf
from kseg.zoo._dpt import dpt
from kseg.zoo._eomt import eomt
from kseg.zoo._fpn import fpn
from kseg.zoo._linknet import linknet
from kseg.zoo._lraspp import lraspp
from kseg.zoo._manet import manet
from kseg.zoo._pan import pan
from kseg.zoo._pidnet import pidnet
from kseg.zoo._pspnet import pspnet
from kseg.zoo._segformer import segformer
from kseg.zoo._segnet import segnet, segnet_basic
from kseg.zoo._swiftnet import swiftnet
from kseg.zoo._unet import unet, unet_2015
from kseg.zoo._unetplusplus import unetplusplus
from kseg.zoo._upernet import upernet
from kseg.zoo.baselines import convolutionalize, full_resolution, patch_classifier
from kseg.zoo.deeplab import deeplabv3, deeplabv3plus
from kseg.zoo.deeplab_v1_v2 import deeplabv1, deeplabv2
from kseg.zoo.fcn import fcn8, fcn16, fcn32, fcn_dilated
from kseg.zoo.loading import list_weights, load, locate
from kseg.zoo.measure import layers_of, multiply_adds, receptive_field
from kseg.zoo.table import BUILDERS, build, list_models, summary

_builders: tuple[Builder[...], ...] = (
    full_resolution, fcn32, fcn16, fcn8, fcn_dilated, segnet, segnet_basic, unet, unet_2015, deeplabv1, deeplabv2,
    deeplabv3, deeplabv3plus, pspnet, fpn, linknet, unetplusplus, manet, pan, segformer, upernet,
    lraspp, swiftnet, pidnet, dpt, eomt,
)  # fmt: skip
BUILDERS.update({each.__name__: each for each in _builders})
EXPORTERS["segmentation-models-pytorch"] = _smp_export.export

__all__ = [
    "BUILDERS",
    "Builder",
    "authors",
    "build",
    "builder",
    "convolutionalize",
    "deeplabv1",
    "deeplabv2",
    "deeplabv3",
    "deeplabv3plus",
    "dpt",
    "eomt",
    "fcn8",
    "fcn16",
    "fcn32",
    "fcn_dilated",
    "fpn",
    "full_resolution",
    "layers_of",
    "linknet",
    "list_models",
    "list_weights",
    "load",
    "locate",
    "lraspp",
    "manet",
    "multiply_adds",
    "pan",
    "patch_classifier",
    "pidnet",
    "pspnet",
    "receptive_field",
    "segformer",
    "segnet",
    "segnet_basic",
    "summary",
    "swiftnet",
    "unet",
    "unet_2015",
    "unetplusplus",
    "upernet",
    "with_crf",
]
