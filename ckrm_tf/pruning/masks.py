"""Which slices to keep: masks by threshold, contribution and percentile, on plain arrays.

A network is a mapping from layer name to kernel (k, k, F1, F2), its masks a mapping from the same
names to bool arrays (F1, F2), True where the slice is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from ckrm_tf.criteria.eigenvalues import (
    contribution,
    dead_filters,
    in_weight_units,
    slice_values,
    threshold_for,
)
from ckrm_tf.errors import CKRMError, unknown_name

Kernels = Mapping[str, np.ndarray]
Masks = dict[str, np.ndarray]
Within = Literal["filter", "layer", "network"]


def threshold_masks(kernels: Kernels, criterion: str, threshold: float) -> Masks:
    """Keep the slices whose value is at least T, T^k for `det` (arXiv 2102.02804, section 3).

    Args:
        kernels: (k, k, F1, F2) arrays by layer name.
        criterion: one of `ckrm_tf.criteria.eigenvalues.CRITERIA`.
        threshold: T, the same for every layer, in the units of the weights.
    """
    return {
        name: slice_values(kernel, criterion)
        >= threshold_for(criterion, threshold, np.shape(kernel)[0])
        for name, kernel in kernels.items()
    }


def contribution_masks(
    kernels: Kernels,
    criterion: str,
    threshold: float,
    alive: Mapping[str, np.ndarray] | None = None,
) -> Masks:
    """Keep the slices that make up at least `threshold` (0 to 1) of their filter's total value.

    Args:
        kernels: (k, k, F1, F2) arrays by layer name.
        criterion: one of `ckrm_tf.criteria.eigenvalues.CRITERIA`.
        threshold: the least ratio v / sum of v; the published default is 1e-3.
        alive: masks of the slices that still count; the others stay dead.
    """
    _check_share("contribution threshold", threshold)
    masks: Masks = {}
    for name, kernel in kernels.items():
        ratios = contribution(slice_values(kernel, criterion), alive[name] if alive else None)
        masks[name] = ratios >= threshold
        if alive:
            masks[name] &= alive[name]
    return masks


def percentile_masks(
    kernels: Kernels, criterion: str, share: float, within: Within = "layer"
) -> Masks:
    """Kill the lowest `share` of the slices: `floor(share * n)` of the n ranked together.

    Over the network, `det` is ranked by its k-th root, so that layers with different kernel sizes
    compare. Equal values are killed in the order of the layers and of their channels.

    Args:
        kernels: (k, k, F1, F2) arrays by layer name.
        criterion: one of `ckrm_tf.criteria.eigenvalues.CRITERIA`.
        share: 0 (keep all) to 1 (kill all).
        within: what is ranked together: each "filter", each "layer", or the whole "network".
    """
    _check_share("share of slices", share)
    if within not in ("filter", "layer", "network"):
        raise unknown_name("within", within, ("filter", "layer", "network"))
    values = {
        name: in_weight_units(slice_values(kernel, criterion), criterion, np.shape(kernel)[0])
        for name, kernel in kernels.items()
    }
    if within == "network":
        return _lowest_of_network(values, _count(share, sum(v.size for v in values.values())))
    if within == "layer":
        return {name: _without_lowest(v, _count(share, v.size)) for name, v in values.items()}
    masks: Masks = {}
    for name, v in values.items():
        rank = np.argsort(np.argsort(v, axis=0, kind="stable"), axis=0, kind="stable")
        masks[name] = rank >= _count(share, v.shape[0])
    return masks


def lowest_masks(kernels: Kernels, criterion: str, count: int) -> Masks:
    """Kill the `count` lowest slices of the network: one criterion at another's sparsity.

    Args:
        kernels: (k, k, F1, F2) arrays by layer name.
        criterion: one of `ckrm_tf.criteria.eigenvalues.CRITERIA`.
        count: slices to kill, 0 to all of them.
    """
    values = {
        name: in_weight_units(slice_values(kernel, criterion), criterion, np.shape(kernel)[0])
        for name, kernel in kernels.items()
    }
    total = sum(v.size for v in values.values())
    if not 0 <= count <= total:
        raise CKRMError("slices to kill", expected=f"0 to {total}", received=count)
    return _lowest_of_network(values, count)


def zero_masks(kernels: Kernels) -> Masks:
    """The masks that a pruned network's weights show: slices that are zero throughout are dead."""
    return {name: np.any(np.asarray(kernel) != 0, axis=(0, 1)) for name, kernel in kernels.items()}


def alive_filters(masks: Mapping[str, np.ndarray]) -> dict[str, int]:
    """By layer, the filters that have a slice left: the widths a smaller network would need."""
    return {name: int(np.sum(~dead_filters(mask))) for name, mask in masks.items()}


def dead_slices(masks: Mapping[str, np.ndarray]) -> int:
    """How many slices the masks kill, over all layers."""
    return sum(int(np.sum(~np.asarray(mask, bool))) for mask in masks.values())


def dead_weights(masks: Mapping[str, np.ndarray], kernels: Kernels) -> int:
    """How many weights the masks kill: k^2 for every dead slice."""
    return sum(
        int(np.sum(~np.asarray(mask, bool))) * int(np.prod(np.shape(kernels[name])[:2]))
        for name, mask in masks.items()
    )


def _check_share(what: str, share: float) -> None:
    if not 0 <= share <= 1:
        raise CKRMError(what, expected="a number from 0 to 1", received=share)


def _count(share: float, n: int) -> int:
    # 0.29 * 100 is 28.999999999999996: without the nudge one slice too few would be killed.
    return int(share * n + 1e-9)


def _without_lowest(values: np.ndarray, count: int) -> np.ndarray:
    kept = np.ones(values.size, bool)
    kept[np.argsort(values, axis=None, kind="stable")[:count]] = False
    return kept.reshape(values.shape)


def _lowest_of_network(values: dict[str, np.ndarray], count: int) -> Masks:
    if not values:
        return {}
    kept = _without_lowest(np.concatenate([v.ravel() for v in values.values()]), count)
    parts = np.split(kept, np.cumsum([v.size for v in values.values()])[:-1])
    return {
        name: part.reshape(v.shape) for (name, v), part in zip(values.items(), parts, strict=True)
    }
