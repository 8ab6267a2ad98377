"""Learned queries among the tokens of a Vision Transformer, and the masks and scores that they predict."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kseg.layers.geometry import Reach, Shape
from kseg.layers.layer import ConfiguredLayer

SMALLEST = 1e-6
"""Added to the sums of masks before their logarithm: the gradient at 0 would be infinite."""


@keras.saving.register_keras_serializable(package="kseg")
class QueryTokens(ConfiguredLayer):
    """Insert learned queries into a sequence of tokens, after the class token.

    `TokenMap` takes them for registers: with `registers=count`, it leaves them out.

    Args:
        count: Number of queries.

    Returns:
        `(N, T + count, 1, C)` for `(N, T, 1, C)`.

    Reference:
        Kerssies et al., Your ViT is Secretly an Image Segmentation Model, https://arxiv.org/abs/2503.19108

    Example:
        >>> tuple(QueryTokens(5)(ops.zeros((1, 36, 1, 8))).shape)
        (1, 41, 1, 8)
    """

    def __init__(self, count: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.count = count

    def build(self, tokens_shape: Shape) -> None:
        start = keras.initializers.RandomNormal(stddev=1.0)
        self.queries = self.add_weight(shape=(self.count, tokens_shape[-1]), initializer=start, name="queries")

    def call(self, tokens: Any) -> Any:
        queries = ops.expand_dims(ops.convert_to_tensor(self.queries), (0, 2))
        queries = ops.broadcast_to(queries, (ops.shape(tokens)[0], self.count, 1, tokens.shape[-1]))
        return ops.concatenate([tokens[:, :1], ops.cast(queries, tokens.dtype), tokens[:, 1:]], axis=1)

    def compute_output_shape(self, tokens_shape: Shape) -> Shape:
        length = tokens_shape[1]
        return (tokens_shape[0], None if length is None else length + self.count, *tokens_shape[2:])

    def reach(self, tokens: Reach) -> Reach:
        return tokens


@keras.saving.register_keras_serializable(package="kseg")
class QueryFeatures(ConfiguredLayer):
    """Take the queries out of a sequence of tokens: the opposite of `QueryTokens`.

    Args:
        count: Number of queries.

    Returns:
        `(N, count, 1, C)` for `(N, T, 1, C)`.

    Example:
        >>> tuple(QueryFeatures(5)(ops.zeros((1, 41, 1, 8))).shape)
        (1, 5, 1, 8)
    """

    def __init__(self, count: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.count = count

    def call(self, tokens: Any) -> Any:
        shape = (ops.shape(tokens)[0], self.count, 1, tokens.shape[-1])
        return ops.reshape(tokens[:, 1 : 1 + self.count], shape)  # TensorFlow does not know the number otherwise

    def compute_output_shape(self, tokens_shape: Shape) -> Shape:
        return (tokens_shape[0], self.count, *tokens_shape[2:])

    def reach(self, tokens: Reach) -> Reach:
        return Reach(math.inf, tokens.step)


@keras.saving.register_keras_serializable(package="kseg")
class QueryMasks(ConfiguredLayer):
    """Compute the mask of each query: its product with the features of every pixel.

    Call arguments:
        inputs: A list of the features, `(N, H, W, C)`, and of the queries, `(N, Q, 1, C)`.

    Returns:
        Logits of the masks, `(N, H, W, Q)`.

    Reference:
        Cheng et al., Per-Pixel Classification is Not All You Need for Semantic Segmentation,
        https://arxiv.org/abs/2107.06278

    Example:
        >>> tuple(QueryMasks()([ops.zeros((1, 5, 7, 8)), ops.zeros((1, 3, 1, 8))]).shape)
        (1, 5, 7, 3)
    """

    def __init__(self, **kwargs: Any):  # the configuration has no other options
        super().__init__(**kwargs)

    def call(self, inputs: Sequence[Any]) -> Any:
        features, queries = inputs
        count, height, width, channels = ops.shape(features)
        pixels = ops.reshape(features, (count, height * width, channels))
        masks = ops.matmul(pixels, ops.transpose(queries[:, :, 0], (0, 2, 1)))
        return ops.reshape(masks, (count, height, width, queries.shape[1]))

    def products(self, shapes: Sequence[Shape]) -> int:
        """Counts the multiplications between features for inputs of these shapes, for `kseg.zoo.multiply_adds`."""
        return math.prod(side or 1 for side in shapes[0][1:]) * (shapes[1][1] or 1)

    def compute_output_shape(self, inputs_shape: Sequence[Shape]) -> Shape:
        features, queries = inputs_shape
        return (*features[:3], queries[1])

    def reach(self, features: Reach, queries: Reach) -> Reach:
        return Reach(max(features.pixels, queries.pixels), features.step)


@keras.saving.register_keras_serializable(package="kseg")
class QueryScores(ConfiguredLayer):
    """Compute the scores of the classes from masks and the classes of the queries, in float32.

    Each query votes for classes, and in its mask for pixels. The probabilities of its classes are multiplied by those
    of its mask; the sum over all queries, without the class "no object", is the score of a class at a pixel. Logits are
    the logarithms of these sums. The greatest one thus belongs to the class with the greatest sum, and their softmax
    is the share of each class in the sum over all classes.

    With one class, "no object" is the background: the logit is the difference of the logarithms of both.

    Call arguments:
        masks: Logits of the masks of Q queries, `(N, H, W, Q)`.
        classes: Logits of the classes of the queries, of which the last one is "no object",
            `(N, Q, 1, num_classes + 1)`.

    Returns:
        Logits `(N, H, W, num_classes)`.

    Reference:
        Cheng et al., Per-Pixel Classification is Not All You Need for Semantic Segmentation,
        https://arxiv.org/abs/2107.06278

    Example:
        >>> masks, classes = ops.zeros((1, 5, 7, 4)), ops.zeros((1, 4, 1, 2 + 1))
        >>> round(float(ops.exp(QueryScores()(masks, classes))[0, 0, 0, 0]), 3)  # 4 queries * 1 / 3 * 1 / 2
        0.667
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs | {"dtype": "float32"})

    def call(self, masks: Any, classes: Any) -> Any:
        count, height, width, queries = ops.shape(masks)
        votes = ops.softmax(classes[:, :, 0])
        votes = votes if votes.shape[-1] == 2 else votes[..., :-1]
        sums = ops.matmul(ops.reshape(ops.sigmoid(masks), (count, height * width, queries)), votes)
        logits = ops.reshape(ops.log(sums + SMALLEST), (count, height, width, votes.shape[-1]))
        return logits[..., :1] - logits[..., 1:] if classes.shape[-1] == 2 else logits

    def compute_output_shape(self, masks_shape: Shape, classes_shape: Shape) -> Shape:
        return (*masks_shape[:3], (classes_shape[-1] or 0) - 1)

    def reach(self, masks: Reach, classes: Reach) -> Reach:
        return Reach(max(masks.pixels, classes.pixels), masks.step)
