"""The slice criteria (arXiv 2102.02804): how many slices of the kernels are dead."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ckrm_tf.criteria.base import Signal
from ckrm_tf.criteria.eigenvalues import slice_values, threshold_for
from ckrm_tf.measures.kernels import ConvolutionKernel
from ckrm_tf.measures.similarity import initial_variance

# A slice counts as dead below this share of the weight it was initialised with.
DEAD_SHARE = 0.5


def slice_signal(kernels: Sequence[ConvolutionKernel], criterion: str) -> Signal:
    """A slice criterion (arXiv 2102.02804) over the convolutions that share a width.

    A slice is dead when its value is below half of what a slice of initial variance would have;
    a filter is needed while it has a live slice. For pointwise kernels the vectors are judged by
    their mean square.
    """
    dead_shares, needed, weakness = [], [], []
    for kernel in kernels:
        spread = np.sqrt(initial_variance(kernel.shape))
        weights = np.concatenate(kernel.groups, axis=-1)
        if kernel.pointwise or weights.ndim != 4 or weights.shape[0] != weights.shape[1]:
            values = np.sqrt(np.mean(weights.reshape(-1, *weights.shape[-2:]) ** 2, axis=0))
            bar = DEAD_SHARE * spread
        else:
            values = slice_values(weights, criterion)
            bar = threshold_for(criterion, DEAD_SHARE * spread, weights.shape[0])
        dead = values < bar
        dead_shares.append(dead.mean())
        needed.append(max(1, np.sum(~dead.all(axis=0))) / dead.shape[1])
        weakness.append(-float(np.log(np.mean(values) / bar + 1e-12)))
    return Signal(
        redundancy=float(np.mean(dead_shares)),
        needed=float(np.mean(needed)),
        excess=float(np.mean(weakness)),
    )
