"""What random kernels read: the null, and how far chance alone carries a layer from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ckrm_tf.measures.kernels import ConvolutionKernel
from ckrm_tf.measures.redundancy import (
    THRESHOLD,
    canonical_order,
    dissimilar_kernels,
    kernel_energies,
    omega,
)
from ckrm_tf.measures.similarity import (
    EPSILON_SHARE,
    energy,
    initial_variance,
    kernel_similarity,
    resolve_epsilon,
)

# Random kernels drawn once for a shape; the draws of a null are subsets of them.
POOL = 128
MOST = POOL // 2
DRAWS = 48
# A layer exceeds its null when it is so many standard deviations of the draws above their mean and
# half a percent, or one pair and a half, more: a network has dozens of layers, and few draws know
# nothing of rare pairs.
DEVIATIONS = 3.0
LEAST = 0.005
LEAST_PAIRS = 1.5


@dataclass(frozen=True)
class Null:
    """What random kernels of a shape read.

    Attributes:
        lam: mean lambda of the draws.
        sd: its standard deviation from draw to draw, with as many kernels as the layer has but no
            more than 64; not below that of so many independent pairs.
        pairs: number of pairs of the layer.
        mean: mean of Omega.
        needed: share of the kernels in a greedy set of mutually dissimilar ones.
    """

    lam: float
    sd: float
    mean: float
    needed: float
    pairs: int

    @property
    def ceiling(self) -> float:
        """The lambda above which a layer exceeds the null by more than the null's own spread."""
        return self.lam + DEVIATIONS * self.sd + max(LEAST, LEAST_PAIRS / self.pairs)


def null(
    shape: tuple[int, ...],
    threshold: float = THRESHOLD,
    epsilon: float | None = None,
    *,
    pointwise: bool = False,
) -> Null:
    """The null of a kernel as it is initialised; lambda = 0 alone proves nothing without it.

    Args:
        shape: (k1, ..., F1, F2), drawn with the Glorot variance of the full shape.
        threshold, epsilon: as given to `ckrm`.
        pointwise: the kernel is measured `as_vectors`.
    """
    values, slices = math.prod(shape[:-2]), int(shape[-2])
    if pointwise:
        values, slices = slices, values
    # The expected variance of a slice of so many values.
    expected = initial_variance(shape) * (values - 1) / values or 1.0
    return _null(
        ((values, slices),), shape[-1], 1, threshold, resolve_epsilon(shape, epsilon) / expected
    )


def kernel_null(
    kernels: Sequence[ConvolutionKernel],
    threshold: float = THRESHOLD,
    epsilon: float | None = None,
) -> Null:
    """The null of one convolution, or of several that are judged by their mean similarity.

    The random kernels have the energy of the layer, and the same rule of epsilon.

    Args:
        kernels: of equally many filters, measurable.
        threshold: t of Eq. 9.
        epsilon: None for a quarter of each layer's own energy, or one absolute value.
    """
    first = kernels[0].groups
    sizes = tuple((math.prod(k.groups[0].shape[:-2]), k.groups[0].shape[-2]) for k in kernels)
    relative = EPSILON_SHARE
    own = float(np.mean([energy(group) for group in first])) if epsilon is not None else 0.0
    if epsilon is not None and own > 0:
        relative = epsilon / own
    return _null(sizes, first[0].shape[-1], len(first), threshold, relative)


def _null(
    sizes: tuple[tuple[int, int], ...], filters: int, groups: int, threshold: float, relative: float
) -> Null:
    lam, sd, mean, needed = _drawn(sizes, min(filters, MOST), threshold, float(f"{relative:.3g}"))
    pairs = groups * filters * (filters - 1) // 2
    sd = max(sd / math.sqrt(groups), math.sqrt(lam * (1 - lam) / pairs))
    return Null(lam, sd, mean, needed, pairs)


@lru_cache(maxsize=512)
def _drawn(
    sizes: tuple[tuple[int, int], ...], filters: int, threshold: float, relative: float
) -> tuple[float, float, float, float]:
    """Lambda, its standard deviation, mean of Omega and share needed, of so many random kernels.

    `sizes` are (values, slices) of each convolution.
    """
    pools = [_pool(size, number, relative) for number, size in enumerate(sizes)]
    similarity = np.mean([pool[0] for pool in pools], axis=0)
    energies = np.sum([pool[1] for pool in pools], axis=0)
    rng = np.random.default_rng(1)
    lams: list[float] = []
    needed: list[float] = []
    while len(lams) < DRAWS:
        order = rng.permutation(POOL)
        for start in range(0, POOL - filters + 1, filters):
            chosen = order[start : start + filters]
            part = similarity[np.ix_(chosen, chosen)]
            lams.append(float(np.mean(omega(part) > threshold)))
            taken = dissimilar_kernels(part, threshold, canonical_order(energies[chosen]))
            needed.append(len(taken) / filters)
    values = omega(similarity)
    return (
        float(np.mean(values > threshold)),
        float(np.std(lams, ddof=1)),
        float(np.mean(values)),
        float(np.mean(needed)),
    )


@lru_cache(maxsize=256)
def _pool(size: tuple[int, int], number: int, relative: float) -> tuple[np.ndarray, np.ndarray]:
    """Similarities and energies of random kernels of (values, slices).

    Each number is a pool of its own.
    """
    values, slices = size
    kernel = np.random.default_rng((1, number)).standard_normal((values, 1, slices, POOL))
    return kernel_similarity(kernel, relative * energy(kernel)), kernel_energies(kernel)
