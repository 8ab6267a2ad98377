"""Convolution as loops. Images are (rows, columns, channels)."""

import math

import numpy as np


def conv2d(image: np.ndarray, kernel: np.ndarray, stride: int = 1, rate: int = 1, bias: float | np.ndarray = 0.0):
    """Padding "same" in the manner of TensorFlow: what cannot be halved goes to the bottom and the right."""
    height, width, _ = image.shape
    size = kernel.shape[0]
    rows, columns = math.ceil(height / stride), math.ceil(width / stride)
    top = max((rows - 1) * stride + (size - 1) * rate + 1 - height, 0) // 2
    left = max((columns - 1) * stride + (size - 1) * rate + 1 - width, 0) // 2
    out = np.zeros((rows, columns, kernel.shape[3])) + bias
    for i, j, v, u in np.ndindex(rows, columns, size, size):
        row, column = i * stride + v * rate - top, j * stride + u * rate - left
        if 0 <= row < height and 0 <= column < width:
            out[i, j] += image[row, column] @ kernel[v, u]
    return out


def batch_norm(image: np.ndarray, gamma, beta, mean, variance, epsilon: float = 1e-5) -> np.ndarray:
    return (image - mean) / np.sqrt(variance + epsilon) * gamma + beta
