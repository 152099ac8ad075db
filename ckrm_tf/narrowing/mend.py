"""Ridge mending: the kernels that stay take over what the removed channels gave.

For a kernel that reads channels x, of which K stay and D go, B = (G_KK + a I)^-1 G_KD is the ridge
regression from x_K to x_D, with G the Gram matrix over images and places; the weights become
v_K + B v_D. No label is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from scipy import linalg

from ckrm_tf.errors import CKRMError
from ckrm_tf.narrowing.plan import Channels
from ckrm_tf.narrowing.responses import Gram

# Relative to the mean energy of a kept channel.
RIDGE = 1e-3
# Products of float32 numbers carry rounding of this order: less makes no difference.
LEAST = 1e-6


def mended(
    channels: Channels,
    alive: np.ndarray,
    grams: Mapping[int, Gram],
    ridge: float = RIDGE,
    *,
    of_all: bool = False,
) -> dict[int, np.ndarray]:
    """New values, in the old shape, of the kernels whose inputs are narrowed, by `id`.

    Args:
        channels: of the model.
        alive: the units that stay, from `Channels.alive`.
        grams: from `gram_matrices`.
        ridge: a, as a share of the mean energy of a kept channel.
        of_all: a is a share of the mean energy of all channels, so the same at every width.
    """
    found: dict[int, np.ndarray] = {}
    for gram in grams.values():
        keeps = channels.mask(gram.ids, alive)
        if keeps.all() or not keeps.any():
            continue
        kernel = keras.ops.convert_to_numpy(gram.read.variable.value)
        size = len(keeps) // gram.read.groups
        systems, levels = [], []
        for start in range(0, len(keeps), size):
            block = slice(start, start + size)
            products, own = gram.products[block, block], keeps[block]
            systems.append(System(products[np.ix_(own, own)], products[own]))
            levels.append(level_of(products, own, max(ridge, LEAST), of_all))
        new = fitted(np.moveaxis(kernel, gram.read.axis, 0), keeps, systems, levels)
        found[id(gram.read.variable)] = np.moveaxis(new, 0, gram.read.axis)
    return found


@dataclass
class System:
    """The normal equations of one block of channels that a kernel reads, summed over places.

    Attributes:
        gram: (kept, kept), products of the kept channels as the kernel reads them now.
        cross: (kept, all), their products with all channels as it read them before.
    """

    gram: np.ndarray
    cross: np.ndarray

    def __add__(self, other: System) -> System:
        return System(self.gram + other.gram, self.cross + other.cross)


def fitted(
    kernel: np.ndarray, keeps: np.ndarray, systems: Sequence[System], levels: Sequence[float]
) -> np.ndarray:
    """A kernel that makes of the kept channels what it made of all.

    V_K = W_K + (S + a I)^-1 (C W - S W_K): the ridge regression from what is read now to what the
    whole kernel made, drawn towards the kernel itself. Where the kept channels are as they were,
    S = G_KK and C = G_K, this is W_K + (G_KK + a I)^-1 G_KD W_D.

    Args:
        kernel: W, the axis that reads first. Its rows go `times` through the channels, as after a
            Flatten; with several blocks each block's filters read its own channels by all rows.
        keeps: (channels,), of all blocks.
        systems: of each block.
        levels: a of each block.

    Returns:
        The kernel with its kept rows changed.
    """
    new = kernel.copy()
    size, filters = len(keeps) // len(systems), kernel.shape[-1] // len(systems)
    for block, (system, level) in enumerate(zip(systems, levels, strict=True)):
        own = keeps[block * size : (block + 1) * size]
        if not own.any():
            continue
        factored = factor(system.gram, level)
        columns = slice(block * filters, (block + 1) * filters)
        for start in range(0, len(kernel), size):
            old = np.asarray(kernel[start : start + size, ..., columns], np.float64)
            rows = old.reshape(size, -1)
            missing = system.cross @ rows - system.gram @ rows[own]
            change = linalg.cho_solve(factored, missing, check_finite=False)
            fixed = old[own] + change.reshape(-1, *old.shape[1:])
            new[start : start + size, ..., columns][own] = fixed
    return new


def level_of(products: np.ndarray, keeps: np.ndarray, ridge: float, of_all: bool = False) -> float:
    """a: a share of the mean energy of a kept channel, or of all."""
    energies = np.diag(products) if of_all else np.diag(products)[keeps]
    return ridge * max(float(np.mean(energies)), 1e-30)


def regression(products: np.ndarray, keeps: np.ndarray, level: float) -> np.ndarray:
    """B of (kept, removed): the ridge regression from kept to removed channels."""
    kept = products[np.ix_(keeps, keeps)]
    solved: np.ndarray = linalg.cho_solve(
        factor(kept, level), products[np.ix_(keeps, ~keeps)], check_finite=False
    )
    return solved


def factor(products: np.ndarray, level: float) -> tuple[np.ndarray, bool]:
    """The Cholesky factor of a Gram matrix with `level` added to its diagonal.

    Raises:
        CKRMError: when that is too little to make it one of full rank.
    """
    try:
        found: tuple[np.ndarray, bool] = linalg.cho_factor(
            products + level * np.eye(len(products)), check_finite=False
        )
    except linalg.LinAlgError as error:
        raise CKRMError(
            "ridge",
            expected="a larger number: channels depend on each other on these images",
            received="a system without a solution",
        ) from error
    return found
