"""Which channels stay: criteria that put the units of a group in order, the most wanted first.

Orders nest: the first w units are kept at width w, so one order serves every width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack

from ckrm_tf.errors import unknown_name
from ckrm_tf.measures.similarity import kernel_similarity
from ckrm_tf.narrowing.evidence import Evidence
from ckrm_tf.narrowing.groups import Group
from ckrm_tf.narrowing.plan import Channels

Order = Callable[[Evidence, Group], "np.ndarray | None"]


@dataclass(frozen=True)
class Selector:
    """A criterion.

    Attributes:
        order: the units of a group, the most wanted first; None where it has nothing to say.
        images: whether it needs images.
    """

    order: Order
    images: bool


SELECTORS: dict[str, Selector] = {}


def selector(name: str, *, images: bool) -> Callable[[Order], Order]:
    """Register a criterion by name."""

    def register(order: Order) -> Order:
        SELECTORS[name] = Selector(order, images)
        return order

    return register


def orders(evidence: Evidence, name: str) -> dict[str, np.ndarray]:
    """The order of every free group's units by a criterion; by norm where it is silent.

    Raises:
        CKRMError: an unknown name.
    """
    if name not in SELECTORS:
        raise unknown_name("select", name, list(SELECTORS))
    found = {}
    for group in evidence.channels.groups.free.values():
        order = SELECTORS[name].order(evidence, group)
        if order is None and name != "norm":
            order = SELECTORS["norm"].order(evidence, group)
        found[group.name] = np.arange(group.width) if order is None else order
    return found


def chosen(
    channels: Channels, order: Mapping[str, np.ndarray], widths: Mapping[str, int]
) -> dict[str, np.ndarray]:
    """The first units of each order, so that no tensor is left without a channel."""
    keep = {name: order[name][: widths[name]].tolist() for name in order}
    owner = {
        unit: (name, place)
        for name, members in channels.units.members.items()
        for place, unit in enumerate(members.tolist())
    }
    covers = [[owner[unit] for unit in cover] for cover in channels.units.covers]
    for cover in covers:
        _cover(cover, covers, order, keep)
    return {name: np.sort(np.array(places)) for name, places in keep.items()}


def _cover(
    cover: list[tuple[str, int]],
    covers: list[list[tuple[str, int]]],
    order: Mapping[str, np.ndarray],
    keep: dict[str, list[int]],
) -> None:
    """Keep one unit of a tensor that would lose all; the least wanted of its group makes room."""

    def living(places: list[tuple[str, int]]) -> list[tuple[str, int]]:
        return [(n, p) for n, p in places if n not in keep or p in keep[n]]

    if living(cover):
        return
    name, place = min(cover, key=lambda item: order[item[0]].tolist().index(item[1]))
    alone = {left[0] for left in map(living, covers) if len(left) == 1}
    for unit in reversed(keep[name]):
        if (name, unit) not in alone:
            keep[name].remove(unit)
            break
    keep[name].append(place)


@selector("norm", images=False)
def by_norm(evidence: Evidence, group: Group) -> np.ndarray | None:
    """Energy of the folded kernels, each layer's share of its own total, summed."""
    energies = evidence.energies(group)
    if not energies:
        return None
    total = np.sum([e / max(float(e.sum()), 1e-30) for e in energies], axis=0)
    return np.argsort(-total, kind="stable")


@selector("random", images=False)
def by_chance(evidence: Evidence, group: Group) -> np.ndarray:
    """Drawn; the same for the same seed and group."""
    entropy = [evidence.seed, *group.name.encode()]
    return np.random.default_rng(entropy).permutation(group.width)


@selector("fpgm", images=False)
def by_distance(evidence: Evidence, group: Group) -> np.ndarray | None:
    """Distance to all other kernels: those near the geometric median go first (1811.00250)."""
    kernels = evidence.kernels(group)
    if not kernels:
        return None
    total = np.zeros(group.width)
    for kernel in kernels:
        flat = kernel.reshape(-1, group.width)
        squares = np.sum(flat**2, 0)
        between = np.maximum(squares[:, None] + squares - 2 * flat.T @ flat, 0)
        distance = np.sqrt(between).sum(0)
        total += distance / max(float(distance.sum()), 1e-30)
    return np.argsort(-total, kind="stable")


@selector("ckrm", images=False)
def by_ckrm(evidence: Evidence, group: Group) -> np.ndarray | None:
    """Mutually unlike kernels by Psi (2212.00272, Eq. 7), folded with their batch norm."""
    kernels = evidence.kernels(group)
    if not kernels or group.width < 2:
        return None
    likeness = np.mean([_psi(kernel) for kernel in kernels], axis=0)
    energy = np.sum(evidence.energies(group), axis=0)
    return unlike_first(likeness, energy)


def _psi(kernel: np.ndarray) -> np.ndarray:
    """Psi of every pair; a pointwise kernel is one slice, its vector over the input channels."""
    spatial = int(np.prod(kernel.shape[:-2]))
    if spatial == 1:
        kernel = kernel.reshape(kernel.shape[-2], 1, 1, kernel.shape[-1])
    slices = kernel.reshape(-1, *kernel.shape[-2:])
    variance = float(np.mean(slices.var(axis=0)))
    found: np.ndarray = kernel_similarity(kernel, SHARE * variance)
    return found


# Epsilon of Psi as a share of the layer's own mean slice variance.
SHARE = 0.25


def unlike_first(likeness: np.ndarray, energy: np.ndarray) -> np.ndarray:
    """Farthest-first order: the strongest unit, then each time the one least like those taken."""
    count = len(energy)
    order = [int(np.argmax(energy))]
    nearest = likeness[order[0]].astype(float).copy()
    nearest[order[0]] = np.inf
    strength = energy / max(float(energy.max()), 1e-30)
    for _ in range(count - 1):
        # Between equals the stronger one.
        best = int(np.lexsort((-strength, np.round(nearest, 9)))[0])
        order.append(best)
        nearest = np.maximum(nearest, likeness[best])
        nearest[best] = np.inf
    return np.array(order)


@selector("response", images=True)
def by_response(evidence: Evidence, group: Group) -> np.ndarray | None:
    """Mutually unlike channels: by |r| of their responses on the images."""
    moments = evidence.moments(group)
    if moments is None:
        return None
    products, means = moments
    covariance = products - np.outer(means, means)
    spread = np.sqrt(np.maximum(np.diag(covariance), 0))
    scale = np.where(spread > 1e-6 * max(float(spread.max()), 1e-30), spread, np.inf)
    correlation = np.abs(covariance / np.outer(scale, scale))
    # A channel that says the same on every image is like any other.
    correlation[~np.isfinite(scale)] = 1.0
    correlation[:, ~np.isfinite(scale)] = 1.0
    return unlike_first(correlation, np.diag(products))


@selector("pivot", images=True)
def by_pivots(evidence: Evidence, group: Group) -> np.ndarray | None:
    """Pivoted Cholesky of the Gram matrix: each time the channel least explained by those taken."""
    moments = evidence.moments(group)
    return None if moments is None else pivots(moments[0])[0]


def pivots(products: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The order of the pivots, and the energy that each adds: (units,), (units,)."""
    count = len(products)
    level = 1e-9 * max(float(np.trace(products)) / count, 1e-30)
    factor, order, rank, _ = lapack.dpstrf(products + level * np.eye(count), lower=1)
    gained = np.diag(factor) ** 2
    gained[rank:] = 0
    return np.asarray(order, int) - 1, gained


@selector("taylor", images=True)
def by_taylor(evidence: Evidence, group: Group) -> np.ndarray | None:
    """First-order change of the loss when a channel's weights go (Molchanov et al. 2019)."""
    from ckrm_tf.narrowing.taylor import importance  # noqa: PLC0415 - needs TensorFlow

    value = importance(evidence, group)
    return None if value is None else np.argsort(-value, kind="stable")
