"""CKRM as slow, obvious scalar loops in double precision: what the fast versions are tested on."""

from __future__ import annotations

import math

import numpy as np


def ratio(numerator: float, denominator: float) -> float:
    """0/0 is 1: the limit of (0 + e) / (0 + e), the form of every term of Eq. 2."""
    return 1.0 if numerator == denominator == 0 else numerator / denominator


def psi(x: np.ndarray, y: np.ndarray, epsilon: float, alpha: float = 0.1) -> float:
    """Eq. 2 and 5 of arXiv 2212.00272, value by value."""
    a, b = [float(v) for v in x.ravel()], [float(v) for v in y.ravel()]
    n = len(a)
    mx, my = sum(a) / n, sum(b) / n
    sx = math.sqrt(sum((v - mx) ** 2 for v in a) / n)
    sy = math.sqrt(sum((v - my) ** 2 for v in b) / n)
    sxy = sum((v - mx) * (w - my) for v, w in zip(a, b, strict=True)) / n
    luminance = ratio(2 * mx * my + epsilon, mx**2 + my**2 + epsilon)
    contrast = ratio(2 * sx * sy + epsilon, sx**2 + sy**2 + epsilon)
    structure = ratio(sxy + epsilon, sx * sy + epsilon)
    return abs(luminance) ** alpha * contrast * abs(structure)


def kernel_psi(kernel: np.ndarray, i: int, j: int, epsilon: float) -> float:
    """Eq. 7: the mean of psi over the input channels of (k1, ..., F1, F2)."""
    channels = kernel.shape[-2]
    return sum(psi(kernel[..., c, i], kernel[..., c, j], epsilon) for c in range(channels)) / (
        channels
    )


def omega(kernel: np.ndarray, epsilon: float) -> list[float]:
    """Eq. 8: the pairs i < j, row by row."""
    filters = kernel.shape[-1]
    return [
        kernel_psi(kernel, i, j, epsilon) for i in range(filters) for j in range(i + 1, filters)
    ]


def lambda_of(kernel: np.ndarray, threshold: float, epsilon: float) -> float:
    """Eq. 9: the share of pairs above the threshold."""
    values = omega(kernel, epsilon)
    return sum(v > threshold for v in values) / len(values)


def default_epsilon(kernel: np.ndarray) -> float:
    """A quarter of the Glorot variance 2 / (fan_in + fan_out)."""
    values = math.prod(kernel.shape[:-2])
    return 0.25 * 2 / (values * kernel.shape[-2] + values * kernel.shape[-1])
