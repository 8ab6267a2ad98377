import keras
import numpy as np
import pytest
from scipy.special import expit, softmax

from kseg.layers import ScoreFusion, ScoreUpsampling, SegmentationHead, UNetBlock, enlarged
from tests.layers.tracing import at_unknown_size
from tests.reference import resize as reference
from tests.reference.convolution import batch_norm, conv2d


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


@pytest.mark.parametrize("skip_size", [None, (6, 8), (5, 7), (7, 9)])
def test_a_unet_block_equals_the_reference(skip_size):
    x = normal(1, 3, 4, 3)
    skip = None if skip_size is None else normal(1, *skip_size, 2, seed=1)
    block = UNetBlock(4)
    inputs = (x,) if skip is None else (x, skip)
    y = at_unknown_size(block, *inputs)
    truth = reference.nearest(x[0], *(skip_size or (6, 8)))
    truth = truth if skip is None else np.concatenate([truth, skip[0]], axis=-1)
    for conv in block.convs:
        kernel, *norm = conv.get_weights()
        truth = np.maximum(batch_norm(conv2d(truth, kernel), *norm), 0)
    np.testing.assert_allclose(y[0], truth, atol=1e-4)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(block(*inputs))[0], truth, atol=1e-4)
    with enlarged():
        np.testing.assert_allclose(keras.ops.convert_to_numpy(block(*inputs))[0], truth, atol=1e-4)


def half(x, size):
    """Bilinear positions of pixels whose pairs share one coarse pixel, however an odd size was rounded."""
    rows, columns = ([(i + 0.5) / 2 - 0.5 for i in range(n)] for n in size)
    return reference.sample(x, rows, columns)


@pytest.mark.parametrize("learnable", [True, False])
@pytest.mark.parametrize(
    ("coarse_size", "skip_size"), [((3, 4), (6, 8)), ((3, 4), (5, 7)), ((2, 3), (5, 7)), ((1, 1), (1, 3))]
)
def test_fused_scores_start_as_the_aligned_coarse_scores(coarse_size, skip_size, learnable):
    coarse, skip = normal(1, *coarse_size, 2), normal(1, *skip_size, 5, seed=1)
    fusion = ScoreFusion(2, learnable=learnable)
    truth = half(coarse[0], skip_size)
    np.testing.assert_allclose(at_unknown_size(fusion, coarse, skip)[0], truth, atol=1e-5)


@pytest.mark.parametrize(("size", "image_size"), [((3, 4), (24, 32)), ((3, 4), (21, 27)), ((2, 3), (23, 31))])
def test_scores_are_upsampled_by_their_stride_and_cropped(size, image_size):
    """Stride 8: whole, rounded up, rounded down. Scores lie at pixel centers, (i + 1/2) * 8, in all three."""
    scores, image = normal(1, *size, 2), np.zeros((1, *image_size, 3), "float32")
    rows, columns = ([(i + 0.5) / 8 - 0.5 for i in range(n)] for n in image_size)
    truth = reference.sample(scores[0], rows, columns)
    np.testing.assert_allclose(at_unknown_size(ScoreUpsampling(8), scores, image)[0], truth, atol=1e-5)


def test_the_scores_of_the_skip_features_are_added():
    coarse, skip = normal(1, 3, 4, 2), normal(1, 5, 8, 3, seed=1)
    fusion = ScoreFusion(2)
    fusion.build(coarse.shape, skip.shape)
    kernel, bias = normal(1, 1, 3, 2, seed=2), normal(2, seed=3)
    fusion.score.set_weights([kernel, bias])
    truth = half(coarse[0], (5, 8)) + skip[0] @ kernel[0, 0] + bias
    np.testing.assert_allclose(keras.ops.convert_to_numpy(fusion(coarse, skip))[0], truth, atol=1e-5)


@pytest.mark.parametrize(("learnable", "weights"), [(True, 16 * 21 * 21), (False, 0)])
def test_a_fixed_fusion_has_no_weights_for_upsampling(learnable, weights):
    fusion = ScoreFusion(21, learnable=learnable)
    fusion.build((None, None, None, 21), (None, None, None, 512))
    assert fusion.count_params() == 512 * 21 + 21 + weights


def test_scores_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="must have 2 channels, got 3"):
        ScoreFusion(2)(normal(1, 3, 4, 3), normal(1, 6, 8, 5))
    with pytest.raises(ValueError, match="half the size of the skip features"):
        ScoreFusion(2)(normal(1, 3, 4, 2), normal(1, 9, 8, 5))


def test_upsampled_scores_keep_their_positions_where_sizes_were_rounded_down_or_up():
    x, head = normal(1, 3, 4, 5), SegmentationHead(2, aligned_factor=8)
    whole = head(x, like=np.zeros((1, 24, 32, 3), "float32"))
    fitted = at_unknown_size(lambda x, image: head(x, like=image), x, np.zeros((1, 31, 27, 3), "float32"))
    whole = np.pad(keras.ops.convert_to_numpy(whole), ((0, 0), (0, 7), (0, 0), (0, 0)), mode="edge")
    np.testing.assert_allclose(fitted, whole[:, :, :27], atol=1e-6)


def test_a_factor_that_is_not_the_stride_of_the_scores_is_refused():
    head = SegmentationHead(2, aligned_factor=16)
    for make in (np.zeros, keras.KerasTensor):
        with pytest.raises(ValueError, match="16 times 2 pixels are far fewer than the 48 of the image"):
            head(make((1, 2, 3, 4)), like=make((1, 48, 48, 3)))


def test_a_bilinear_block_that_doubles_extends_what_is_too_small():
    block = UNetBlock(4, doubling=True, interpolation="bilinear")
    x, skip = normal(1, 3, 4, 3), normal(1, 7, 8, 2, seed=1)
    x2 = np.pad(reference.bilinear(x[0], 6, 8), ((0, 1), (0, 0), (0, 0)), mode="edge")
    found = at_unknown_size(block, x, skip)
    kernel, *norm = block.convs[0].get_weights()
    truth = np.maximum(batch_norm(conv2d(np.concatenate([x2, skip[0]], axis=-1), kernel), *norm), 0)
    kernel, *norm = block.convs[1].get_weights()
    np.testing.assert_allclose(found[0], np.maximum(batch_norm(conv2d(truth, kernel), *norm), 0), atol=1e-4)


def test_logits_have_the_size_of_the_image_and_are_resized_bilinearly():
    x, image = normal(1, 3, 4, 5), np.zeros((1, 13, 9, 3), "uint8")
    head = SegmentationHead(2)
    logits = at_unknown_size(lambda x, image: head(x, like=image), x, image)
    kernel, bias = head.get_weights()
    np.testing.assert_allclose(logits[0], reference.bilinear(x[0] @ kernel[0, 0] + bias, 13, 9), atol=1e-5)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(head(x, like=image)), logits, atol=1e-5)
    assert tuple(head(x).shape) == (1, 3, 4, 2)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16", "float16"])
def test_logits_are_float32_under_every_policy(policy):
    head = SegmentationHead(2, kernel_size=3, dtype=policy)
    x = normal(1, 3, 4, 5)
    assert keras.backend.standardize_dtype(head(x, like=np.zeros((1, 6, 8, 3), "uint8")).dtype) == "float32"
    assert head(keras.KerasTensor(x.shape)).dtype == "float32"
    large = head(np.full((1, 2, 2, 5), 60000.0, "float32"))  # sums beyond float16 stay finite
    assert np.isfinite(keras.ops.convert_to_numpy(large)).all()


def test_the_activation_is_applied_to_the_resized_logits():
    x, image = normal(1, 3, 4, 5) * 9, np.zeros((1, 6, 8, 3), "uint8")
    for activation, classes in (("softmax", 3), ("sigmoid", 1)):
        logits, probabilities = SegmentationHead(classes), SegmentationHead(classes, activation=activation)
        z = keras.ops.convert_to_numpy(logits(x, like=image)).astype("float64")
        probabilities.build(x.shape)
        probabilities.set_weights(logits.get_weights())
        truth = softmax(z, axis=-1) if activation == "softmax" else expit(z)
        np.testing.assert_allclose(keras.ops.convert_to_numpy(probabilities(x, like=image)), truth, atol=1e-6)


@pytest.mark.parametrize(("classes", "activation", "message"), [(3, "relu", "sigmoid"), (1, "softmax", "always 1")])
def test_an_invalid_activation_is_refused(classes, activation, message):
    with pytest.raises(ValueError, match=message):
        SegmentationHead(classes, activation=activation)
