"""Mean field of a fully connected CRF, all pairs of pixels one by one."""

import numpy as np


def kernels(image, *, smoothness_xy, appearance_xy, appearance_rgb):
    """The smoothness and the appearance kernel between all pixels, `(H * W, H * W)` each."""
    height, width = image.shape[:2]
    place = np.stack(np.mgrid[:height, :width], axis=-1).reshape(-1, 2).astype("float64")
    color = image.reshape(height * width, -1).astype("float64")
    apart = ((place[:, None] - place) ** 2).sum(-1)
    unlike = ((color[:, None] - color) ** 2).sum(-1)
    smooth = np.exp(-apart / (2 * smoothness_xy**2))
    return smooth, np.exp(-apart / (2 * appearance_xy**2) - unlike / (2 * appearance_rgb**2))


def window(height, width, radius):
    """1 where two pixels lie at most `radius` rows and columns apart, else 0: `(H * W, H * W)`."""
    place = np.stack(np.mgrid[:height, :width], axis=-1).reshape(-1, 2)
    return (np.abs(place[:, None] - place).max(-1) <= radius).astype("float64")


def normalized(kernel, how="symmetric"):
    n = kernel.sum(axis=1)
    if how == "symmetric":
        return kernel / np.sqrt(n[:, None] * n)
    return {"before": kernel / n, "after": kernel / n[:, None], "none": kernel}[how]


def mean_field(log_p, kernel, iterations):
    """The last sums before the softmax, `(H, W, C)`; `kernel` is that of the messages, strengths included."""
    unary = log_p.reshape(-1, log_p.shape[-1]).astype("float64")
    x = unary
    for _ in range(iterations):
        q = np.exp(x - x.max(1, keepdims=True))
        x = unary + kernel @ (q / q.sum(1, keepdims=True))
    return x.reshape(log_p.shape)
