"""What every layer of the package promises, tested on all of them."""

import functools
import inspect

import keras
import numpy as np
import pytest

from kseg import layers, zoo


def unpool(x, **options):
    pooled, argmax = layers.MaxPoolingWithArgmax2D(padding="ceil", **options)(x)
    return layers.MaxUnpooling2D(**options)(pooled, argmax, like=x)


def halve(x):
    return keras.layers.MaxPooling2D(2, padding="same")(x)


def wide(x):
    return keras.layers.Concatenate()([x] * 16)  # so that squeezing leaves several channels, not all without gradient


# Functions of features (N, H, W, 3) and of the dtype policy of the layer.
def queries(tokens, x, **options):
    found = layers.QueryFeatures(2, **options)(layers.SpatialReductionAttention(3, **options)(tokens))
    return layers.QueryScores(**options)(layers.QueryMasks(**options)([x, found]), found)


USES = {
    "resize to a size": lambda x, **o: layers.Resize((4, 9), align_corners=True, **o)(x),
    "resize by a factor": lambda x, **o: layers.Resize(factor=(1.5, 2), interpolation="nearest", **o)(x),
    "resize like another": lambda x, **o: layers.Resize(**o)(halve(x), like=x),
    "nearest unpooling": lambda x, **o: layers.NearestUnpooling2D(3, **o)(x),
    "bed of nails": lambda x, **o: layers.BedOfNailsUnpooling2D(3, **o)(x),
    "max unpooling": unpool,
    "transposed": lambda x, **o: layers.TransposeUpsampling2D(3, 4, use_bias=True, **o)(x),
    "transposed from noise": lambda x, **o: layers.TransposeUpsampling2D(
        2, 3, kernel_size=3, kernel_initializer="he_normal", **o
    )(x),
    "bare convolution": lambda x, **o: layers.Conv2D(4, 3, padding="same", dilation_rate=2, **o)(x),
    "depthwise convolution": lambda x, **o: layers.DepthwiseConv2D(3, strides=2, padding="same", **o)(x),
    "grouped convolution": lambda x, **o: layers.Conv2D(6, 3, groups=3, padding="same", **o)(x),
    "halving mean": lambda x, **o: layers.HalvingMean2D(**o)(x),
    "batch normalization": lambda x, **o: layers.BatchNormalization(**o)(x),
    "convolution": lambda x, **o: layers.ConvNormAct(2, strides=2, activation="silu", **o)(x),
    "convolution with a bias": lambda x, **o: layers.ConvNormAct(
        2, normalization=False, dilation_rate=2, activation=None, **o
    )(x),
    "aspp": lambda x, **o: layers.ASPP(2, rates=(1, 2), dropout=0.2, seed=1, **o)(x),
    "unet block": lambda x, **o: layers.UNetBlock(2, activation="elu", **o)(halve(x), x),
    "doubling unet block": lambda x, **o: layers.UNetBlock(2, doubling=True, **o)(halve(x), x),
    "cropped unet block": lambda x, **o: layers.UNetBlock(2, **o)(halve(x), like=x),
    "unet block at a stride": lambda x, **o: layers.UNetBlock(2, stride=2, doubling=True, **o)(halve(halve(x)), like=x),
    "last unet block": lambda x, **o: layers.UNetBlock(2, normalization=False, **o)(x),
    "bilinear unet block": lambda x, **o: layers.UNetBlock(2, interpolation="bilinear", **o)(halve(x), x),
    "attentive unet block": lambda x, **o: layers.UNetBlock(64, attention="scse", **o)(halve(wide(x)), wide(x)),
    "excitation": lambda x, **o: layers.SqueezeExcitation(**o)(wide(x)),
    "scse": lambda x, **o: layers.ChannelSpatialExcitation(**o)(wide(x)),
    "position attention": lambda x, **o: layers.PositionAttention(2, **o)(x),
    "interleaved attention": lambda x, **o: layers.PositionAttention(2, interleaved=True, **o)(x),
    "pyramid pooling": lambda x, **o: layers.PyramidPooling(2, (1, 3), **o)(x),
    "pyramid pooling with aligned corners": lambda x, **o: layers.PyramidPooling(
        2, (2, 6), normalization=False, align_corners=True, **o
    )(x),
    "feature pyramid attention": lambda x, **o: layers.FeaturePyramidAttention(2, **o)(layers.Resize(factor=8)(x)),
    "learned fusion": lambda x, **o: layers.ScoreFusion(3, **o)(halve(x), x),
    "fixed fusion": lambda x, **o: layers.ScoreFusion(3, learnable=False, **o)(halve(x), x),
    "score sum": lambda x, **o: layers.AtrousScoreSum(2, (1, 2), **o)(x),
    "hidden score sum": lambda x, **o: layers.AtrousScoreSum(2, (1, 3), hidden=(4, 3), dropout=0, **o)(x),
    "separable convolution": lambda x, **o: layers.ConvNormAct(4, separable=True, dilation_rate=2, **o)(x),
    "center crop": lambda x, **o: layers.CropLike(**o)(layers.Resize(factor=3)(x), like=x),
    "size": lambda x, **o: layers.UnpaddedSize(1, **o)(layers.Resize(factor=2)(x)),
    "smallest size": lambda x, **o: layers.SmallestSize(2, **o)(x),
    "corner crop": lambda x, **o: layers.CropLike("corner", **o)(layers.Resize(factor=2)(x), like=x),
    "extended": lambda x, **o: layers.CropLike("corner", extend=True, **o)(halve(x), like=x),
    "scaled fusion": lambda x, **o: layers.ScoreFusion(3, scale=0.1, **o)(halve(x), x),
    "score upsampling": lambda x, **o: layers.ScoreUpsampling(2, activation="sigmoid", **o)(halve(x), like=x),
    "head": lambda x, **o: layers.SegmentationHead(2, kernel_size=3, activation="softmax", **o)(halve(x), like=x),
    "crf": lambda x, **o: layers.ConvCRF(radius=1, stride=2, iterations=2, **o)(x, x),
    "attention": lambda x, **o: layers.SpatialReductionAttention(3, reduction=2, **o)(x),
    "fusion": lambda x, **o: layers.PyramidFusion(4, **o)([x, halve(x)]),
    "head at its own size": lambda x, **o: layers.SegmentationHead(1, **o)(x),
    "pyramid pooling with a normalized mean": lambda x, **o: layers.PyramidPooling(4, (1,), normalize_one=True, **o)(x),
    "window attention": lambda x, **o: layers.WindowAttention(3, window=4, **o)(x),
    "attention in shifted windows": lambda x, **o: layers.WindowAttention(3, window=4, shift=2, **o)(x),
    "space to depth": lambda x, **o: layers.SpaceToDepth(**o)(x),
    "layer scale": lambda x, **o: layers.LayerScale(0.5, **o)(x),
    "response normalization": lambda x, **o: layers.GlobalResponseNormalization(**o)(x),
    "grid means": lambda x, **o: layers.GridMeans(2, **o)(x),
    "bicubic reduction": lambda x, **o: layers.BicubicReduction(2, **o)(x),
    "preactivated convolution": lambda x, **o: layers.NormActConv(4, **o)(wide(x)),
    "preactivated convolution in groups": lambda x, **o: layers.NormActConv(6, groups=3, **o)(x),
    "pixel attention": lambda x, **o: layers.PixelAttentionFusion(2, **o)(x, halve(x)),
    "boundary attention": lambda x, **o: layers.BoundaryAttentionFusion(2, **o)(x, 2 * x, x - 1),
    "light boundary attention": lambda x, **o: layers.BoundaryAttentionFusion(2, light=True, **o)(x, 2 * x, x - 1),
    "tokens": lambda x, **o: layers.TokenMap(readout="append", **o)(layers.PatchTokens(3, **o)(x), x),
    "tokens with registers": lambda x, **o: layers.TokenMap(registers=1, readout="add", **o)(
        layers.SpatialReductionAttention(3, **o)(layers.PatchTokens(2, registers=1, interpolation="bicubic", **o)(x)), x
    ),
    "queries": lambda x, **o: queries(layers.QueryTokens(2, **o)(layers.PatchTokens(3, **o)(x)), x, **o),
    "patches": lambda x, **o: layers.FitPatches(2, **o)(x, halve(x), x),
    "grid attention": lambda x, **o: layers.GridAttention(3, **o)(layers.FitGrid(2, **o)(x)),
    "hard excitation": lambda x, **o: layers.SqueezeExcitation(hidden=8, activation="hard_sigmoid", **o)(wide(x)),
}
# The same weights in every run and on every backend: with others, ReLUs may hide each change of an image.
pytestmark = pytest.mark.usefixtures("numpy_initializers")
every_use = pytest.mark.parametrize("use", USES.values(), ids=[name.replace(" ", "-") for name in USES])


@functools.cache  # building takes longer than testing
def model_of(use, **options):
    image = keras.Input((None, None, 3), name="image")
    return keras.Model(image, use(image, **options))


def images(*size):
    return np.random.default_rng(9).normal(size=(2, *size, 3)).astype("float32")


def own_layers(model):
    return [layer for layer in model.layers if type(layer).__module__.startswith("kseg.")]


CLASSES = {n: value for n, value in vars(layers).items() if n in layers.__all__ and inspect.isclass(value)}
EXPORTED = {n for n, value in CLASSES.items() if issubclass(value, keras.Layer)}


def test_the_list_of_uses_is_complete():
    assert {type(layer).__name__ for use in USES.values() for layer in own_layers(model_of(use))} == EXPORTED


@every_use
def test_no_output_depends_on_more_pixels_than_its_reach(use):
    model, height = model_of(use), 24
    x = np.repeat(images(height, 6)[:1], height + 1, axis=0)
    x[np.arange(height), np.arange(height)] += 1  # each image but the last has another row changed
    y = keras.ops.convert_to_numpy(model(x))
    changed = np.abs(y[:-1] - y[-1]).max(axis=(2, 3)) > 2e-6  # rounding depends on the place in the batch
    seen = max(np.ptp(np.flatnonzero(column)) + 1 for column in changed.T if column.any())
    assert 1 <= seen <= zoo.receptive_field(model)


@every_use
def test_the_symbolic_shape_is_right(use):
    model, x = model_of(use), images(5, 7)
    y = model(x)
    assert keras.ops.ndim(y) == 4
    for symbolic, got in zip(model.output_shape, y.shape, strict=True):
        assert symbolic in (None, got)
    known = use(keras.KerasTensor((2, 5, 7, 3)))
    assert tuple(known.shape) == tuple(y.shape)
    assert known.dtype == keras.backend.standardize_dtype(y.dtype)


@every_use
def test_a_saved_model_loads_with_the_same_outputs(use, tmp_path):
    model, x = model_of(use), images(5, 7)
    before = keras.ops.convert_to_numpy(model(x))
    model.save(tmp_path / "model.keras")
    restored = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(restored(x)), before)
    assert [w.path for w in restored.weights] == [w.path for w in model.weights]


@every_use
def test_the_config_is_complete(use):
    for layer in own_layers(model_of(use)):
        config = layer.get_config()
        named = {n for n, p in inspect.signature(type(layer)).parameters.items() if p.kind is not p.VAR_KEYWORD}
        assert named <= set(config)
        assert type(layer).from_config(config).get_config() == config


def test_a_subclass_stores_its_own_arguments_and_those_of_its_parent():
    class Wide(layers.UNetBlock):
        def __init__(self, filters, width=1, **kwargs):
            super().__init__(filters, **kwargs)
            self.width = width

    config = Wide(2, width=3, doubling=True, dtype="mixed_float16").get_config()
    assert config["width"] == 3 and config["doubling"]
    assert Wide.from_config(config).get_config() == config


def test_training_works_on_images_of_unknown_size():
    # All uses at once, for speed. After two sizes TensorFlow traces the step for sizes it does not know.
    keras.utils.set_random_seed(3)
    image = keras.Input((None, None, 3))
    features = keras.layers.Conv2D(3, 1, name="stem")(image)
    model = keras.Model(image, [use(features) for use in USES.values()])
    for variable in model.weights:  # without an offset, normalization behind an activation undoes a scale before it
        if variable.path.endswith("beta"):
            variable.assign(np.linspace(0.1, 0.3, *variable.shape))
    model.compile("sgd", ["mse"] * len(USES))
    before = [[w.copy() for w in layer.get_weights()] for layer in model.layers]
    batches = []
    for x in (images(5, 7), images(6, 4)) if keras.backend.backend() == "tensorflow" else (images(5, 7),):
        batches.append((x, tuple(np.ones(shape, "float32") for shape in model.compute_output_shape(x.shape))))
    history = model.fit((batch for batch in batches), steps_per_epoch=len(batches), verbose=0, shuffle=False)
    assert np.isfinite(history.history["loss"]).all()
    for layer, old in zip(model.layers, before, strict=True):
        new = layer.get_weights()
        assert all(np.isfinite(w).all() for w in new), layer.name
        paths = [variable.path for variable in layer.weights]
        same = {path for path, a, b in zip(paths, old, new, strict=True) if (a == b).all()}
        # The gradient of a bias before batch normalization is zero, but for rounding.
        assert same <= {path.replace("norm/gamma", "conv/bias") for path in paths}, layer.name


@every_use
def test_mixed_precision_computes_in_half_and_keeps_full_weights(use):
    x, exact = images(5, 7), model_of(use)
    mixed = model_of(use, dtype="mixed_float16")
    mixed.set_weights(exact.get_weights())
    y = mixed(x)
    head = any(
        isinstance(layer, (layers.ConvCRF, layers.QueryScores, layers.ScoreUpsampling, layers.SegmentationHead))
        for layer in own_layers(mixed)
    )
    assert keras.backend.standardize_dtype(y.dtype) == mixed.output.dtype == ("float32" if head else "float16")
    assert {w.dtype for w in mixed.trainable_weights} <= {"float32"}
    difference = keras.ops.convert_to_numpy(y).astype("float32") - keras.ops.convert_to_numpy(exact(x))
    assert np.abs(difference).max() < 0.03


@every_use
def test_weight_names_are_the_same_in_every_build(use):
    def paths(model):
        return [w.path.split("/", 1)[1] for layer in own_layers(model) for w in layer.weights]

    first, second = paths(model_of(use)), paths(model_of.__wrapped__(use))
    assert first == second
    assert len(set(first)) == len(first)
