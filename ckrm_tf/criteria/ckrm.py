"""CKRM as a criterion: how alike the kernels that share a width are (arXiv 2212.00272)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ckrm_tf.criteria.base import Signal
from ckrm_tf.measures.kernels import ConvolutionKernel
from ckrm_tf.measures.redundancy import THRESHOLD, dissimilar_kernels, null, omega
from ckrm_tf.measures.similarity import kernel_similarity, resolve_epsilon


def ckrm_signal(kernels: Sequence[ConvolutionKernel], threshold: float = THRESHOLD) -> Signal:
    """CKRM over the convolutions that share a width.

    The measures of several convolutions are averaged: a filter count serves them all. Pointwise
    convolutions are judged on the vectors over their input channels, and together where they have
    as many filters, each standing for one slice.
    """
    joint: dict[int, list[ConvolutionKernel]] = {}
    parts = []
    for kernel in kernels:
        if kernel.pointwise and len(kernel.groups) == 1:
            joint.setdefault(kernel.shape[-1], []).append(kernel)
        else:
            parts.append(_single(kernel, threshold))
    parts += [_joint(group, threshold) for group in joint.values()]
    return Signal(
        redundancy=float(np.mean([p.redundancy for p in parts])),
        needed=float(np.mean([p.needed for p in parts])),
        excess=float(np.mean([p.excess for p in parts])),
    )


def _single(kernel: ConvolutionKernel, threshold: float) -> Signal:
    epsilon = resolve_epsilon(kernel.shape, None)
    similarities = [kernel_similarity(group, epsilon) for group in kernel.groups]
    return _signal(similarities, kernel, epsilon, threshold)


def _joint(kernels: Sequence[ConvolutionKernel], threshold: float) -> Signal:
    """Eq. 7 with one slice per convolution: its vector over the input channels."""
    similarities = [kernel_similarity(k.groups[0], resolve_epsilon(k.shape, None)) for k in kernels]
    first = kernels[0]
    return _signal(
        [np.mean(similarities, axis=0)], first, resolve_epsilon(first.shape, None), threshold
    )


def _signal(
    similarities: Sequence[np.ndarray], kernel: ConvolutionKernel, epsilon: float, threshold: float
) -> Signal:
    values = np.concatenate([omega(s) for s in similarities])
    base = null(kernel.shape, threshold, epsilon, pointwise=kernel.pointwise)
    lam = float(np.mean(values > threshold))
    needed = sum(len(dissimilar_kernels(s, threshold)) for s in similarities)
    return Signal(
        redundancy=max(0.0, (lam - base.lam) / max(1.0 - base.lam, 1e-9)),
        needed=needed / kernel.shape[-1],
        excess=float(np.mean(values)) - base.mean,
    )
