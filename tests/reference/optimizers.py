"""AdamW and SGD for one array, as their papers write them."""

import numpy as np


def adamw(weight, gradients, rates, *, weight_decay, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    """One decoupled step a gradient; epsilon is Adam's "epsilon hat", outside the bias correction."""
    weight = np.array(weight, "float64")
    first, second = np.zeros_like(weight), np.zeros_like(weight)
    for step, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        first = beta_1 * first + (1 - beta_1) * gradient
        second = beta_2 * second + (1 - beta_2) * gradient**2
        weight = weight - rate * weight_decay * weight
        corrected = rate * np.sqrt(1 - beta_2**step) / (1 - beta_1**step)
        weight = weight - corrected * first / (np.sqrt(second) + epsilon)
    return weight


def sgd(weight, gradients, rates, *, weight_decay, momentum):
    """Momentum whose velocity has the learning rate in it, weight decay as a term of the gradient."""
    weight = np.array(weight, "float64")
    velocity = np.zeros_like(weight)
    for gradient, rate in zip(gradients, rates, strict=True):
        velocity = momentum * velocity - rate * (gradient + weight_decay * weight)
        weight = weight + velocity
    return weight
