"""From similarity to redundancy: Omega and lambda (Eq. 8, 9), and the kernels that are needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import binomtest

from ckrm_tf.errors import CKRMError
from ckrm_tf.measures.similarity import (
    check_shape,
    kernel_similarity,
    pair_similarity,
    resolve_epsilon,
)

THRESHOLD = 0.6
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Redundancy:
    """What the kernels of one convolution say.

    Attributes:
        lam: lambda, the share of pairs more alike than the threshold (Eq. 9).
        interval: 95% interval of lambda when pairs were sampled, else None. Pairs share kernels,
            so it is a little too narrow.
        pairs: number of pairs compared.
        dissimilar: size of a greedy set of mutually dissimilar kernels, the strongest first, None
            when sampled.
        omega: the similarities themselves (Eq. 8), (pairs,).
        epsilon: the absolute epsilon used.
    """

    lam: float
    interval: tuple[float, float] | None
    pairs: int
    dissimilar: int | None
    omega: np.ndarray
    epsilon: float


def check_threshold(threshold: float) -> float:
    """Refuse a threshold outside [0, 1]."""
    if not (isinstance(threshold, int | float) and 0 <= threshold <= 1):
        raise CKRMError("threshold", expected="a number in [0, 1]", received=repr(threshold))
    return float(threshold)


def check_pairs(pairs: int | None) -> None:
    """Refuse a number of pairs that is not None or a whole number of at least 1."""
    if pairs is not None and (not isinstance(pairs, int) or isinstance(pairs, bool) or pairs < 1):
        raise CKRMError("pairs", expected="None or a whole number >= 1", received=repr(pairs))


def omega(similarity: np.ndarray) -> np.ndarray:
    """The F2 (F2 - 1) / 2 similarities above the diagonal (Eq. 8)."""
    return similarity[np.triu_indices(len(similarity), 1)]


# Energies nearer to each other than this share of the largest are a tie: rounding decides nothing.
TIE = 1e-5


def canonical_order(energy: Any, content: Any = None) -> np.ndarray:
    """An order of kernels or channels that does not depend on how they are numbered.

    Args:
        energy: (n,), the largest first.
        content: (n, m), settles ties row by row, the largest first; whatever does not change with
            the numbering, the signs or the scales of a network, such as `sorted_similarity`.

    Returns:
        (n,) indices. What ties in everything keeps its place.
    """
    keys = [_tied_ranks(np.asarray(energy, np.float64))]
    if content is not None and len(np.unique(keys[0])) < len(keys[0]):
        keys += [_tied_ranks(column) for column in np.asarray(content, np.float64).T]
    # lexsort takes the first key last.
    return np.lexsort([-key for key in keys[::-1]])


def kernel_energies(kernel: Any) -> np.ndarray:
    """The mean square of each kernel of (k1, ..., F1, F2): (F2,)."""
    kernel = np.asarray(kernel, np.float64)
    energies: np.ndarray = np.mean(kernel.reshape(-1, kernel.shape[-1]) ** 2, axis=0)
    return energies


def needed_kernels(
    similarity: np.ndarray, energies: np.ndarray, threshold: float = THRESHOLD
) -> int:
    """How many mutually dissimilar kernels there are, taken greedily in the canonical order.

    Args:
        similarity: (n, n), symmetric.
        energies: (n,), `kernel_energies`.
        threshold: t of Eq. 9.
    """
    order = canonical_order(energies, sorted_similarity(similarity))
    return len(dissimilar_kernels(similarity, threshold, order))


def sorted_similarity(similarity: np.ndarray) -> np.ndarray:
    """For each kernel its similarities to all, the largest first: the same for any numbering."""
    return -np.sort(-similarity, axis=1)


def _tied_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks in which values that differ by rounding share one."""
    order = np.argsort(values, kind="stable")
    steps = np.diff(values[order]) > TIE * np.abs(values).max(initial=0.0)
    ranks = np.zeros(len(values), np.int64)
    ranks[order[1:]] = np.cumsum(steps)
    return ranks


def dissimilar_kernels(
    similarity: np.ndarray, threshold: float = THRESHOLD, order: np.ndarray | None = None
) -> np.ndarray:
    """Indices of mutually dissimilar kernels, chosen greedily.

    Every kernel left out is more alike than `threshold` to one that was kept.

    Args:
        similarity: (n, n), symmetric.
        threshold: t of Eq. 9.
        order: (n,) indices in which to go through them, such as `canonical_order`; by index if
            absent.

    Returns:
        The kept ones, in the order in which they were taken.
    """
    alike = similarity > threshold
    covered = np.zeros(len(similarity), bool)
    kept = []
    for index in range(len(similarity)) if order is None else order:
        if not covered[index]:
            kept.append(index)
            covered |= alike[index]
    return np.array(kept)


def ckrm(
    kernel: Any,
    threshold: float = THRESHOLD,
    epsilon: float | None = None,
    *,
    pairs: int | None = None,
    seed: int = 1,
) -> float:
    """The CKRM lambda of one convolution kernel: the share of pairs with Psi > threshold (Eq. 9).

    Args:
        kernel: (k1, ..., F1, F2), Keras layout.
        threshold: t of Eq. 9; the paper uses 0.6.
        epsilon: None for a quarter of the layer's initial variance, or an absolute value.
        pairs: compare only so many randomly chosen pairs; None compares all.
        seed: chooses the sampled pairs.

    Returns:
        A number in [0, 1].

    Raises:
        CKRMError: a kernel of fewer than three dimensions or two filters, values that are not
            finite, or impossible settings.

    Example:
        >>> import numpy as np
        >>> from ckrm_tf import ckrm
        >>> kernel = np.random.default_rng(1).normal(size=(3, 3, 16, 8))
        >>> ckrm(kernel)
        0.0
        >>> twice = np.concatenate([kernel, kernel], axis=-1)  # 8 of 120 pairs are equal
        >>> round(ckrm(twice), 4)
        0.0667
    """
    return redundancy(kernel, threshold, epsilon, pairs=pairs, seed=seed).lam


def redundancy(
    kernel: Any,
    threshold: float = THRESHOLD,
    epsilon: float | None = None,
    *,
    pairs: int | None = None,
    seed: int = 1,
) -> Redundancy:
    """Everything `ckrm` knows; the arguments are the same."""
    check_threshold(threshold)
    shape = np.shape(kernel)
    check_shape(shape)
    absolute = resolve_epsilon(shape, epsilon)
    possible = shape[-1] * (shape[-1] - 1) // 2
    check_pairs(pairs)
    if pairs is None or pairs >= possible:
        similarity = kernel_similarity(kernel, absolute)
        return pooled([similarity], [kernel_energies(kernel)], threshold, absolute)
    first, second = _sample_pairs(shape[-1], pairs, seed)
    values = pair_similarity(kernel, first, second, absolute)
    hits = int(np.sum(values > threshold))
    interval = binomtest(hits, pairs).proportion_ci(method="wilson")
    return Redundancy(
        hits / pairs, (float(interval.low), float(interval.high)), pairs, None, values, absolute
    )


def pooled(
    similarities: Sequence[np.ndarray],
    energies: Sequence[np.ndarray],
    threshold: float,
    epsilon: float,
) -> Redundancy:
    """The redundancy of groups of kernels: only pairs within a group are compared.

    Args:
        similarities: (n, n) of each group.
        energies: (n,) of each group, `kernel_energies`.
        threshold: t of Eq. 9.
        epsilon: the absolute epsilon that was used.
    """
    values = np.concatenate([omega(similarity) for similarity in similarities])
    needed = sum(
        needed_kernels(similarity, own, threshold)
        for similarity, own in zip(similarities, energies, strict=True)
    )
    lam = float(np.mean(values > threshold))
    return Redundancy(lam, None, len(values), needed, values, epsilon)


def _sample_pairs(kernels: int, pairs: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Different pairs i < j, drawn without replacement by their rank in the upper triangle."""
    rng = np.random.default_rng(seed)
    rank = rng.choice(kernels * (kernels - 1) // 2, size=pairs, replace=False)
    # Pair (i, j) has rank j (j - 1) / 2 + i.
    second = ((1 + np.sqrt(1 + 8 * rank.astype(np.float64))) / 2).astype(np.int64)
    second -= second * (second - 1) // 2 > rank
    second += (second + 1) * second // 2 <= rank
    return rank - second * (second - 1) // 2, second
