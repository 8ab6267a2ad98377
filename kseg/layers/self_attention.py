"""Self-attention between the pixels of a feature map."""

import math
from typing import Any

import keras
from keras import ops

from kseg.layers.convolution import Conv2D
from kseg.layers.geometry import Reach, Shape
from kseg.layers.layer import ConfiguredLayer
from kseg.layers.tracing import is_bounded

ATTENTION_EPSILON = 1e-5
"""Epsilon of the layer normalization in PyTorch, which the published weights were trained with."""

SCORES = 2**24
"""Number of attention scores (queries times keys times heads times images) in memory at once; see `attend`."""


@keras.saving.register_keras_serializable(package="kseg")
class SpatialReductionAttention(ConfiguredLayer):
    """Multi-head attention from every pixel to the pixels of a smaller copy of the feature map.

    The smaller copy is a convolution with a kernel of `reduction` x `reduction` pixels and the same stride, followed by
    layer normalization. Attention to it needs `reduction` squared times fewer multiplications and less memory. Rows and
    columns that do not fill a kernel are left out, as in PyTorch; a map smaller than the kernel is extended by zeros.

    Args:
        heads: Number of heads, a divisor of the number of channels.
        reduction: Ratio of the sides of the map to those of its copy; 1 attends to the map itself.

    Returns:
        A tensor of the shape of the input, `(N, H, W, C)`.

    Raises:
        ValueError: If the number of channels is not a multiple of the number of heads.

    Reference:
        Wang et al., Pyramid Vision Transformer, https://arxiv.org/abs/2102.12122; with a convolution for the copy in
        Xie et al., SegFormer, https://arxiv.org/abs/2105.15203

    Example:
        >>> import numpy as np
        >>> tuple(SpatialReductionAttention(2, reduction=2)(np.zeros((1, 5, 7, 8), "float32")).shape)
        (1, 5, 7, 8)
    """

    def __init__(self, heads: int, *, reduction: int = 1, **kwargs: Any):
        super().__init__(**kwargs)
        self.heads = heads
        self.reduction = reduction

    def build(self, x_shape: Shape) -> None:
        channels = x_shape[-1] or 0
        self.query, self.key, self.value, self.out = projections(self, x_shape[-1] or 0, self.heads)
        if self.reduction > 1:
            self.reduce = Conv2D(
                channels,
                self.reduction,
                strides=self.reduction,
                data_format="channels_last",
                dtype=self.dtype_policy,
                name="reduction",
            )
            self.reduce.build((None, None, None, channels))
            self.norm = keras.layers.LayerNormalization(
                epsilon=ATTENTION_EPSILON, dtype=self.dtype_policy, name="reduction_norm"
            )
            self.norm.build((None, None, None, channels))

    def call(self, x: Any) -> Any:
        source = x if self.reduction == 1 else self.norm(self._reduced(x))
        tokens = attend(self._tokens(self.query(x)), *(self._tokens(f(source)) for f in (self.key, self.value)))
        return self.out(ops.reshape(tokens, ops.shape(x)))

    def products(self, shape: Shape) -> int:
        """Counts the multiplications between features for an input of this shape, for `kseg.zoo.multiply_adds`."""
        pixels = math.prod(side or 1 for side in shape[1:3])
        kept = math.prod(max((side or 1) // self.reduction, 1) for side in shape[1:3])
        return 2 * pixels * kept * (shape[-1] or 0)

    def compute_output_shape(self, x_shape: Shape) -> Shape:
        return x_shape

    def reach(self, x: Reach) -> Reach:
        return Reach(math.inf, x.step)

    def _tokens(self, x: Any) -> Any:
        """From `(N, H, W, C)` to `(N, H * W, heads, C // heads)`."""
        count, height, width, channels = ops.shape(x)
        return ops.reshape(x, (count, height * width, self.heads, channels // self.heads))

    def _reduced(self, x: Any) -> Any:
        sides = ops.shape(x)[1:3]
        if all(isinstance(side, int) and side >= self.reduction for side in sides):
            return self.reduce(x)
        rest = self.reduction - 1
        kept = [side // self.reduction for side in sides]
        height, width = (max(side, 1) if isinstance(side, int) else ops.maximum(side, 1) for side in kept)
        return self.reduce(ops.pad(x, [[0, 0], [0, rest], [0, rest], [0, 0]]))[:, :height, :width]


def projections(layer: keras.layers.Layer, channels: int, heads: int) -> list[keras.layers.Layer]:
    """Returns the dense layers of multi-head attention for queries, keys, values and the output, built.

    Raises:
        ValueError: If the number of channels is not a multiple of the number of heads.
    """
    if channels % heads:
        raise ValueError(f"{layer.name}: {channels} channels cannot be divided among {heads} heads")
    built = [
        keras.layers.Dense(channels, dtype=layer.dtype_policy, name=name) for name in ("query", "key", "value", "out")
    ]
    for dense in built:
        dense.build((None, None, None, channels))
    return built


def attend(query: Any, key: Any, value: Any, bias: Any = None) -> Any:
    """Computes softmax attention, with the fused operation of the backend if it has one, with bounded memory.

    TensorFlow and JAX hold the scores of all pairs of a query and a key. Where these would be more than `SCORES`, the
    queries are processed in several parts. PyTorch's operation does so by itself. Memory is not bounded in training,
    which keeps the scores of all parts for the gradient, nor in TensorFlow's graphs for unknown sizes, except where
    they are traced in a block of `kseg.layers.bounded`, as for `kseg.inference.Predictor`.

    Args:
        query: `(N, T, heads, C)`.
        key: `(N, S, heads, C)`.
        value: `(N, S, heads, C)`.
        bias: Added to the scores: `(N, heads, T, S)`; N and heads may be 1.

    Returns:
        `(N, T, heads, C)`.
    """
    if _lacks_half(query):
        query, key, value = (ops.cast(x, "float32") for x in (query, key, value))
        return ops.cast(attend(query, key, value, bias), "float16")
    tensorflow = keras.backend.backend() == "tensorflow"
    compute = _multiplied if tensorflow else ops.dot_product_attention
    count, length, heads = query.shape[:3]
    sides = (length, key.shape[1], heads)
    known = all(isinstance(side, int) for side in sides)
    if tensorflow and is_bounded() and not (known and isinstance(count, int)):
        return _looped(query, key, value, bias)
    scores = (count or 1) * math.prod(sides) if known else 0
    if scores <= SCORES or keras.backend.backend() == "torch":
        return compute(query, key, value, bias=bias)
    step = -(-length // -(-scores // SCORES))
    parts = [
        compute(query[:, at : at + step], key, value, bias=None if bias is None else bias[:, :, at : at + step])
        for at in range(0, length, step)
    ]
    return ops.concatenate(parts, axis=1)


def _lacks_half(x: Any) -> bool:
    """Whether these are numbers of 16 bits with which JAX cannot compute attention on a CPU."""
    if keras.backend.backend() != "jax" or keras.backend.standardize_dtype(x.dtype) != "float16":
        return False
    import jax

    return jax.default_backend() == "cpu"


def _looped(query: Any, key: Any, value: Any, bias: Any) -> Any:
    """Computes attention on TensorFlow in as many parts as sizes need that are known when the graph runs."""
    import tensorflow as tf

    count, length, heads, _ = ops.shape(query)
    scores = tf.math.reduce_prod(tf.cast(tf.stack([count, length, heads, ops.shape(key)[1]]), "int64"))
    step = tf.cast(tf.maximum(SCORES * tf.cast(length, "int64") // tf.maximum(scores, 1), 1), "int32")
    parts = -(-length // step)
    shape = (None, None, *query.shape[2:])
    found = tf.TensorArray(value.dtype, parts, infer_shape=False, element_shape=shape)

    def part(index: Any, found: Any) -> Any:
        rows = slice(index * step, (index + 1) * step)
        y = _multiplied(query[:, rows], key, value, bias=None if bias is None else bias[:, :, rows])
        return index + 1, found.write(index, tf.transpose(y, (1, 0, 2, 3)))  # the parts are joined along the first axis

    _, found = tf.while_loop(lambda index, found: index < parts, part, (0, found), parallel_iterations=1)
    return tf.transpose(found.concat(), (1, 0, 2, 3))


def _multiplied(query: Any, key: Any, value: Any, *, bias: Any = None) -> Any:
    """Computes attention on TensorFlow by products of matrices; tf2onnx makes of Keras's einsum what cannot be run."""
    import tensorflow  # whose softmax does not warn of maps of one pixel

    query, value = (ops.transpose(x, (0, 2, 1, 3)) for x in (query, value))
    scores = ops.matmul(query * query.shape[-1] ** -0.5, ops.transpose(key, (0, 2, 3, 1)))
    scores = ops.cast(scores, "float32")
    scores = scores if bias is None else scores + ops.cast(bias, "float32")
    weights = ops.cast(tensorflow.nn.softmax(scores), value.dtype)
    return ops.transpose(ops.matmul(weights, value), (0, 2, 1, 3))
