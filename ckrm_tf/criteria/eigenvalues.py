"""Eigenvalue-based values of kernel slices (arXiv 2102.02804): NumPy in, NumPy out.

The unit is one k x k slice `K = kernel[:, :, c_in, c_out]` of a Keras convolution kernel. All
slices of a kernel are decomposed in one batched call, in double precision.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from ckrm_tf.errors import CKRMError, unknown_name

Criterion = Literal[
    "weight",
    "det",
    "min_eig",
    "min_eig_real",
    "spectral_radius",
    "spectral_radius_real",
    "spectral_norm",
]

# What each eigenvalue criterion minimises or maximises over: the size of an eigenvalue, its choice.
_EIGEN: dict[str, tuple[Callable, Callable]] = {
    "min_eig": (np.abs, np.argmin),
    "min_eig_real": (lambda z: np.abs(z.real), np.argmin),
    "spectral_radius": (np.abs, np.argmax),
    "spectral_radius_real": (lambda z: np.abs(z.real), np.argmax),
}

CRITERIA: tuple[Criterion, ...] = (
    "weight",
    "det",
    "min_eig",
    "min_eig_real",
    "spectral_radius",
    "spectral_radius_real",
    "spectral_norm",
)


def check_criterion(criterion: str) -> None:
    """Raise `CKRMError` with the nearest known name unless `criterion` is one of `CRITERIA`."""
    if criterion not in CRITERIA:
        raise unknown_name("criterion", criterion, CRITERIA)


def slices_of(kernel: np.ndarray) -> np.ndarray:
    """The k x k slices of a kernel, last axes first.

    Args:
        kernel: (k, k, F1, F2), the layout of Keras's Conv2D.

    Returns:
        (F1, F2, k, k) float64.

    Raises:
        CKRMError: when the kernel is not 4-dimensional, not square, or not finite.
    """
    kernel = np.asarray(kernel)
    if kernel.ndim != 4 or kernel.shape[0] != kernel.shape[1] or kernel.shape[0] == 0:
        raise CKRMError(
            "kernel",
            expected="shape (k, k, channels in, channels out)",
            received=kernel.shape,
            hint="Eigenvalues need square slices.",
        )
    slices = kernel.astype(np.float64).transpose(2, 3, 0, 1)
    if not np.isfinite(slices).all():
        bad = int(np.sum(~np.isfinite(slices).all(axis=(2, 3))))
        raise CKRMError("kernel", expected="finite weights", received=f"{bad} slices that are not")
    return slices


def slice_values(kernel: np.ndarray, criterion: str) -> np.ndarray:
    """The value of every slice under one criterion (arXiv 2102.02804, section 3).

    `weight` is the mean of |w|; `det` is |det K|; `min_eig` and `spectral_radius` are the least
    and the greatest eigenvalue modulus, with `_real` the least and greatest |real part|;
    `spectral_norm` is the greatest singular value. All of them are |w| for a 1x1 kernel.

    The eigenvalues of a defective slice are known to about `eps**(1/k)` of its norm only.

    Args:
        kernel: (k, k, F1, F2), square slices.
        criterion: one of `CRITERIA`.

    Returns:
        (F1, F2) float64, never negative, in the units of the weights (to the power k for `det`).

    Raises:
        CKRMError: for an unknown criterion, or a kernel that is not square or not finite.
    """
    check_criterion(criterion)
    slices = slices_of(kernel)
    if criterion == "weight" or slices.shape[-1] == 1:
        return np.abs(slices).mean(axis=(2, 3))
    if criterion == "det":
        return np.abs(np.linalg.det(slices))
    if criterion == "spectral_norm":
        return np.linalg.svd(slices, compute_uv=False).max(axis=-1, initial=0.0)
    return _deciding(np.linalg.eigvals(slices), criterion)[0]


def complex_share(kernel: np.ndarray, criterion: str = "spectral_radius") -> float:
    """The share of slices whose deciding eigenvalue is complex, 0 to 1 (0 without slices).

    Args:
        kernel: (k, k, F1, F2), square slices.
        criterion: one of the four eigenvalue criteria.

    Raises:
        CKRMError: for a criterion without eigenvalues, or a bad kernel.
    """
    if criterion not in _EIGEN:
        raise unknown_name("eigenvalue criterion", criterion, _EIGEN)
    deciding = _deciding(np.linalg.eigvals(slices_of(kernel)), criterion)[1]
    return float(np.mean(deciding.imag != 0)) if deciding.size else 0.0


def _deciding(eigenvalues: np.ndarray, criterion: str) -> tuple[np.ndarray, np.ndarray]:
    """Size (F1, F2) and value (F1, F2) of the eigenvalue that decides over each slice."""
    size, choose = _EIGEN[criterion]
    sizes = size(eigenvalues)
    index = choose(sizes, axis=-1)[..., None]
    return (
        np.take_along_axis(sizes, index, axis=-1)[..., 0],
        np.take_along_axis(eigenvalues, index, axis=-1)[..., 0],
    )


def threshold_for(criterion: str, threshold: float, k: int) -> float:
    """What a slice's value is compared with: `threshold**k` for `det`, which grows as w to the k.

    Args:
        criterion: one of `CRITERIA`.
        threshold: T, in the units of the weights, at least 0.
        k: side of the slice.

    Raises:
        CKRMError: for an unknown criterion or a negative or non-finite threshold.
    """
    check_criterion(criterion)
    if not (np.isfinite(threshold) and threshold >= 0):
        raise CKRMError("threshold", expected="a number of at least 0", received=threshold)
    return float(threshold) ** k if criterion == "det" else float(threshold)


def in_weight_units(values: np.ndarray, criterion: str, k: int) -> np.ndarray:
    """Values on one scale for every kernel size: the k-th root for `det`, else unchanged."""
    check_criterion(criterion)
    return values ** (1.0 / k) if criterion == "det" else values


def contribution(values: np.ndarray, alive: np.ndarray | None = None) -> np.ndarray:
    """Each slice's share of its filter: `v / sum of v` over the alive slices of the same filter.

    Args:
        values: (F1, F2), one criterion's values.
        alive: (F1, F2) bool, the slices that count; all by default.

    Returns:
        (F1, F2) float64; every filter sums to 1, a filter without any value and slices that are
        not alive are 0.
    """
    values = np.asarray(values, np.float64)
    if alive is not None:
        values = np.where(alive, values, 0.0)
    total = values.sum(axis=0, keepdims=True)
    return np.divide(values, total, out=np.zeros_like(values), where=total > 0)


def dead_filters(mask: np.ndarray) -> np.ndarray:
    """Which filters have no slice left.

    Args:
        mask: (F1, F2) bool, True where the slice is kept.

    Returns:
        (F2,) bool.
    """
    return np.logical_not(np.any(np.asarray(mask, bool), axis=0))
