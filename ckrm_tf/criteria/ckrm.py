"""CKRM as a criterion: how alike the kernels that share a width are (arXiv 2212.00272)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ckrm_tf.criteria.base import Signal
from ckrm_tf.measures.kernels import ConvolutionKernel
from ckrm_tf.measures.null import kernel_null
from ckrm_tf.measures.redundancy import THRESHOLD, kernel_energies, pooled
from ckrm_tf.measures.similarity import group_similarity, kernel_similarity


def ckrm_signal(kernels: Sequence[ConvolutionKernel], threshold: float = THRESHOLD) -> Signal:
    """CKRM over the convolutions that share a width.

    The measures of several convolutions are averaged: a filter count serves them all. Pointwise
    convolutions are judged on the vectors over their input channels, and together where they have
    as many filters, each standing for one slice. Each is held against random kernels of its shape:
    what does not exceed them by more than chance explains is no redundancy.
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
    similarities = group_similarity(kernel.groups, kernel.epsilon())
    return _signal(similarities, [kernel], threshold)


def _joint(kernels: Sequence[ConvolutionKernel], threshold: float) -> Signal:
    """Eq. 7 with one slice per convolution: its vector over the input channels."""
    similarities = [kernel_similarity(k.groups[0], k.epsilon()) for k in kernels]
    return _signal([np.mean(similarities, axis=0)], kernels, threshold)


def _signal(
    similarities: Sequence[np.ndarray], kernels: Sequence[ConvolutionKernel], threshold: float
) -> Signal:
    energies = [
        # Each layer counts as its share, as in the mean similarity.
        np.sum([kernel_energies(k.groups[i]) / (kernel_scale(k) or 1.0) for k in kernels], axis=0)
        for i in range(len(similarities))
    ]
    found = pooled(similarities, energies, threshold, 0.0)
    base = kernel_null(kernels, threshold)
    share = (found.dissimilar or 0) / sum(map(len, similarities))
    told = found.lam > base.ceiling
    return Signal(
        redundancy=(found.lam - base.lam) / max(1.0 - base.lam, 1e-9) if told else 0.0,
        # Random kernels of few channels are not all needed either.
        needed=min(1.0, share / base.needed) if told else 1.0,
        excess=float(np.mean(found.omega)) - base.mean,
    )


def kernel_scale(kernel: ConvolutionKernel) -> float:
    """The mean energy of a convolution's kernels."""
    return float(np.mean([kernel_energies(group).mean() for group in kernel.groups]))
