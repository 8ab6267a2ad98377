"""Batch normalization with the fast operation of the backend."""

from typing import Any

import keras
from keras import ops

from kseg import replicas
from kseg.layers.geometry import Reach

# With Keras's momentum of 0.99 the moving averages are usable only after about 500 steps, and training may be shorter.
# These are PyTorch's defaults (there the momentum is called 0.1), with which most published models were trained.
NORM_MOMENTUM = 0.9
NORM_EPSILON = 1e-5


@keras.saving.register_keras_serializable(package="kseg")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` in one operation, with the same arguments, weights and results.

    Keras computes the moments and the normalization one by one. On TensorFlow (in training) and on PyTorch this layer
    calls the fused operation of the backend for images `(N, H, W, C)`; everything else is left to Keras. On several
    devices, the moments are those of the whole batch if `synchronized` is True, on JAX and PyTorch always.

    Example:
        >>> import numpy as np
        >>> tuple(BatchNormalization()(np.zeros((1, 5, 7, 3), "float32")).shape)
        (1, 5, 7, 3)
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        fused = {"tensorflow": self._tensorflow, "torch": self._torch}.get(keras.backend.backend())
        plain = mask is None and not self.renorm and not self.synchronized
        image = len(inputs.shape) == 4 and self.axis in (-1, 3)
        precise = keras.backend.standardize_dtype(inputs.dtype) == "float64"
        training = bool(training and self.trainable)
        if fused is None or not plain or not image or precise or self.moving_mean.dtype != "float32":
            if training and keras.backend.backend() == "torch" and replicas.count() > 1:
                raise ValueError(f"{self.path} can normalize only images (N, H, W, C) over several processes")
            return super().call(inputs, training=training, mask=mask)
        return fused(ops.convert_to_tensor(inputs), training)

    def reach(self, x: Reach) -> Reach:
        return x

    def _tensorflow(self, x: Any, training: bool) -> Any:
        if not training:  # oneDNN's fused inference is slower than Keras's formula
            return super().call(x, training=False)
        from tensorflow import raw_ops

        scale, offset = self._affine()
        channels = x.shape[-1]
        x, mean, variance, *_ = raw_ops.FusedBatchNormV3(
            x=x,
            scale=scale,
            offset=offset,
            mean=ops.zeros(0),
            variance=ops.zeros(0),
            epsilon=self.epsilon,
        )
        count = ops.cast(ops.size(x) // channels, "float32")
        # The operation returns the unbiased variance. Keras averages the biased one, which is 0 for a single value.
        self._update(mean, ops.where(count > 1, variance * ((count - 1) / count), 0.0))
        return x

    def _torch(self, x: Any, training: bool) -> Any:
        import torch

        x = x.permute(0, 3, 1, 2)
        scale, offset = self._affine()
        if training and replicas.count() > 1:
            x = x.permute(0, 2, 3, 1)
            mean, variance = replicas.moments(x.float())
            self._update(mean.detach(), variance.detach())
            factor = scale * torch.rsqrt(variance + self.epsilon)
            return ((x.float() - mean) * factor + offset).to(x.dtype)
        if training:
            x, mean, inverse = torch.native_batch_norm(x, scale, offset, None, None, True, 0.0, self.epsilon)
            self._update(mean, (inverse**-2 - self.epsilon).clamp(min=0))
        else:
            mean, variance = map(ops.convert_to_tensor, (self.moving_mean, self.moving_variance))
            x = torch.nn.functional.batch_norm(x, mean, variance, scale, offset, eps=self.epsilon)
        return x.permute(0, 2, 3, 1)

    def _affine(self) -> tuple[Any, Any]:
        channels = self.moving_mean.shape
        scale = self.gamma if self.scale else ops.ones(channels)
        offset = self.beta if self.center else ops.zeros(channels)
        return ops.convert_to_tensor(scale), ops.convert_to_tensor(offset)

    def _update(self, mean: Any, variance: Any) -> None:
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            if keras.backend.backend() == "torch":
                moving.assign(moving.value.lerp(batch, 1 - self.momentum))  # one operation for three
            else:
                moving.assign(moving * self.momentum + batch * (1 - self.momentum))
