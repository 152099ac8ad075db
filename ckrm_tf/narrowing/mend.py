"""Ridge mending: the kernels that stay take over what the removed channels gave.

For a kernel that reads channels x, of which K stay and D go, B = (G_KK + a I)^-1 G_KD is the ridge
regression from x_K to x_D, with G the Gram matrix over images and places; the weights become
v_K + B v_D. No label is needed.
"""

from __future__ import annotations

from collections.abc import Mapping

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
        read = gram.read
        keeps = channels.mask(gram.ids, alive)
        if keeps.all() or not keeps.any():
            continue
        value = np.array(keras.ops.convert_to_numpy(read.variable.value), np.float64)
        dtype = keras.ops.convert_to_numpy(read.variable.value).dtype
        moved = np.moveaxis(value, read.axis, 0)
        shape = moved.shape
        if read.groups > 1:
            new = _grouped(moved, gram, keeps, max(ridge, LEAST), of_all)
        else:
            rows = moved.reshape(gram.repeats, len(keeps), -1)
            new = rows.copy()
            level = level_of(gram.products, keeps, max(ridge, LEAST), of_all)
            weights = regression(gram.products, keeps, level)
            new[:, keeps] += np.matmul(weights, rows[:, ~keeps])
        found[id(read.variable)] = np.moveaxis(new.reshape(shape), 0, read.axis).astype(dtype)
    return found


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


def _grouped(
    moved: np.ndarray, gram: Gram, keeps: np.ndarray, ridge: float, of_all: bool
) -> np.ndarray:
    """Each group's filters read a block of channels of their own; the same positions stay."""
    groups = gram.read.groups
    size = len(keeps) // groups
    new = moved.copy()
    filters = moved.shape[-1] // groups
    for group in range(groups):
        block, columns = (
            slice(group * size, (group + 1) * size),
            slice(group * filters, (group + 1) * filters),
        )
        part = keeps[block]
        products = gram.products[block, block]
        weights = regression(products, part, level_of(products, part, ridge, of_all))
        new[part, ..., columns] += np.tensordot(weights, moved[~part, ..., columns], axes=1)
    return new
