"""How alike two kernels are: Eq. 2, 5 and 7 of arXiv 2212.00272. Arrays in, arrays out.

Kernels come in Keras layout (k1, ..., F1, F2): F2 kernels of F1 slices, each slice k1 x k2 values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from ckrm_tf.errors import CKRMError
from ckrm_tf.measures.blocks import ALPHA, UNROLL, block_psi, block_shape, cuts
from ckrm_tf.measures.compiled import compiled

EPSILON_SHARE = 0.25
# Relative to the mean square of the kernel. Their squares are float32 numbers; below the first and
# above the second no weight matters. The first makes epsilon = 0 well defined: constant slices are
# then alike.
TINY, HUGE = 1e-18, 1e18
# So many groups are worth a compiled call each.
FEW_GROUPS = 4


def psi(x: Any, y: Any, epsilon: float = 1e-12, alpha: float = ALPHA) -> float:
    """Similarity of two slices: |L|^alpha * C * |S| (Eq. 2 and 5).

    Args:
        x: a slice of any number of dimensions.
        y: another of equal shape.
        epsilon: the constant of Eq. 2, absolute, in squared units of the slices.
        alpha: weight of the luminance term; 1 gives |SSIM| over one window (Eq. 6).

    Returns:
        A number in [0, 1]; 1 for equal slices.

    Raises:
        CKRMError: slices of unlike or of no size.

    Example:
        >>> import numpy as np
        >>> from ckrm_tf import psi
        >>> slope = np.arange(9.0).reshape(3, 3)
        >>> psi(slope, slope), round(psi(slope, -slope), 3)
        (1.0, 1.0)
        >>> round(psi(slope, 2 * slope), 3), round(psi(slope, slope.T), 3)
        (0.782, 0.6)
    """
    x, y = np.asarray(x, np.float64).ravel(), np.asarray(y, np.float64).ravel()
    if x.shape != y.shape or not x.size:
        raise CKRMError(
            "slices", expected="two of equal shape", received=f"{x.size} and {y.size} values"
        )
    mx, my, sx, sy = x.mean(), y.mean(), x.std(), y.std()
    sxy = np.mean((x - mx) * (y - my))
    epsilon = max(epsilon, np.finfo(np.float64).tiny)
    luminance = (2 * mx * my + epsilon) / (mx**2 + my**2 + epsilon)
    contrast = (2 * sx * sy + epsilon) / (sx**2 + sy**2 + epsilon)
    structure = (sxy + epsilon) / (sx * sy + epsilon)
    return float(min(abs(luminance) ** alpha * contrast * abs(structure), 1.0))


def initial_variance(shape: tuple[int, ...]) -> float:
    """Variance of a Glorot-initialised kernel of this shape: 2 / (fan_in + fan_out)."""
    receptive = math.prod(shape[:-2])
    return 2.0 / (receptive * (shape[-2] + shape[-1]))


def resolve_epsilon(shape: tuple[int, ...], epsilon: float | None) -> float:
    """An absolute epsilon: the one given, or a quarter of the kernel's initial variance.

    Epsilon is an energy threshold: two slices whose variance lies below it count as alike. An
    absolute one would treat wide layers (small initial variance) and narrow ones differently.
    """
    check_epsilon(epsilon)
    return EPSILON_SHARE * initial_variance(shape) if epsilon is None else float(epsilon)


def check_epsilon(epsilon: float | None) -> None:
    """Refuse an epsilon that is neither None nor a number of at least 0."""
    number = isinstance(epsilon, int | float) and math.isfinite(epsilon) and epsilon >= 0
    if epsilon is not None and not number:
        raise CKRMError("epsilon", expected="None or a number >= 0", received=repr(epsilon))


def energy(kernel: Any) -> float:
    """The mean variance of a layer's slices, (k1, ..., F1, F2): its energy."""
    return float(np.mean(as_slices(kernel).var(axis=1)))


def energy_epsilon(kernel: Any) -> float:
    """A quarter of a layer's own energy: the same for networks that compute the same.

    What the kernels were initialised with says nothing where a batch norm follows, since they can
    then be scaled at will.
    """
    return EPSILON_SHARE * energy(kernel)


def group_similarity(groups: Sequence[Any], epsilon: float) -> list[np.ndarray]:
    """`kernel_similarity` within each group of kernels, which are (k1, ..., F1, n) of equal shape.

    Many small groups are compared pair by pair in one pass.
    """
    if len(groups) <= FEW_GROUPS:
        return [kernel_similarity(group, epsilon) for group in groups]
    n = groups[0].shape[-1]
    i, j = np.triu_indices(n, 1)
    starts = n * np.arange(len(groups))[:, None]
    together = np.concatenate(groups, axis=-1)
    values = pair_similarity(together, (starts + i).ravel(), (starts + j).ravel(), epsilon)
    result = np.tile(np.eye(n, dtype=np.float32), (len(groups), 1, 1))
    result[:, i, j] = result[:, j, i] = values.reshape(len(groups), -1)
    return list(result)


def check_shape(shape: tuple[int, ...]) -> None:
    """Raise `CKRMError` unless `shape` is (k1, ..., F1, F2) with at least two kernels."""
    if len(shape) < 3 or not math.prod(shape):
        raise CKRMError("kernel", expected="shape (k1, k2, F1, F2)", received=shape)
    if shape[-1] < 2:
        raise CKRMError("kernel", expected="at least two filters to compare", received=shape)


def as_slices(kernel: Any) -> np.ndarray:
    """A kernel (k1, ..., F1, F2) as (F1, k1*k2*..., F2) float64, checked.

    Raises:
        CKRMError: fewer than three dimensions, fewer than two kernels, or values not finite.
    """
    kernel = np.asarray(kernel, np.float64)
    check_shape(kernel.shape)
    if not np.isfinite(kernel).all():
        raise CKRMError("kernel", expected="finite weights", received="NaN or infinity")
    slices = kernel.reshape(-1, *kernel.shape[-2:])
    return np.ascontiguousarray(slices.transpose(1, 0, 2))


@dataclass(frozen=True)
class _Moments:
    """Centred slices (F1, n, F2) scaled by 1/sqrt(n), their means, variances and deviations."""

    centred: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    deviation: np.ndarray
    epsilon: float

    @classmethod
    def of(cls, kernel: Any, epsilon: float, dtype: Any = np.float32) -> _Moments:
        slices = as_slices(kernel)
        # Psi does not change when weights and sqrt(epsilon) are scaled together; unit mean square
        # keeps float32 away from its limits.
        scale = math.sqrt(np.mean(slices**2)) or 1.0
        slices = slices / scale
        mean = slices.mean(1)
        centred = (slices - mean[:, None]) / math.sqrt(slices.shape[1])
        variance = np.einsum("cnf,cnf->cf", centred, centred)
        return cls(
            centred.astype(dtype),
            mean.astype(dtype),
            variance.astype(dtype),
            np.sqrt(variance).astype(dtype),
            min(max(epsilon / scale / scale, TINY), HUGE),
        )

    def block(self, channels: slice, kernels: slice, shape: tuple[int, int, int]) -> tuple:
        """The four arrays of one block, zero-padded to `shape` = (channels, values, kernels).

        Zeros beyond a slice's values change no covariance; channels of padding get no weight.
        """

        def cut(array: np.ndarray) -> Any:
            part = array[channels, ..., kernels]
            full = np.zeros(shape if part.ndim == 3 else (shape[0], shape[2]), np.float32)
            full[tuple(slice(n) for n in part.shape)] = part
            return ops.convert_to_tensor(full)

        return tuple(map(cut, (self.centred, self.mean, self.variance, self.deviation)))


def kernel_similarity(kernel: Any, epsilon: float | None = None) -> np.ndarray:
    """Psi between every pair of a layer's kernels (Eq. 7), exactly.

    Blocked Gram products compiled by XLA, in float32; beside a few copies of the kernel and of
    the result, memory holds one block of channels, never F1 x F2 x F2.

    Where the numerator of L cancels, its power 0.1 magnifies the rounding: of 392,448 pairs of
    random kernels of 512 channels, three were off by more than 1e-5, the worst by 3e-5.

    Args:
        kernel: (k1, ..., F1, F2), Keras layout; a 1x1 kernel gives slices of one value, for
            which C = S = 1 always: see `as_vectors`.
        epsilon: None for a quarter of the layer's initial variance, or an absolute value.

    Returns:
        (F2, F2) float32 in [0, 1], symmetric, ones on the diagonal.

    Raises:
        CKRMError: a kernel that `as_slices` refuses, or an impossible epsilon.

    Example:
        >>> import numpy as np
        >>> from ckrm_tf import kernel_similarity
        >>> slope = np.arange(9.0).reshape(3, 3)
        >>> kernel = np.stack([slope, -slope, slope.T], axis=-1)[:, :, None]  # (3, 3, 1, 3)
        >>> kernel_similarity(kernel, epsilon=0.0).round(2)
        array([[1. , 1. , 0.6],
               [1. , 1. , 0.6],
               [0.6, 0.6, 1. ]], dtype=float32)
    """
    check_shape(np.shape(kernel))
    slices = _Moments.of(kernel, resolve_epsilon(np.shape(kernel), epsilon))
    f1, values, f2 = slices.centred.shape
    shape = depth, _, tile = block_shape(f1, values, f2)
    run = compiled(block_psi, shape)
    scale = ops.convert_to_tensor(slices.epsilon, "float32")
    result = np.zeros((f2, f2), np.float32)
    for channels in cuts(f1, depth):
        count = channels.stop - channels.start
        weights = ops.convert_to_tensor(np.arange(depth) < count, "float32")
        steps = ops.convert_to_tensor(-(-count // UNROLL), "int32")
        blocks = [(cut, slices.block(channels, cut, shape)) for cut in cuts(f2, tile)]
        for i, (rows, x) in enumerate(blocks):
            for columns, y in blocks[i:]:
                part = ops.convert_to_numpy(run(x, y, weights, scale, steps))
                size = (rows.stop - rows.start, columns.stop - columns.start)
                result[rows, columns] += part[: size[0], : size[1]]
    result /= f1
    upper = np.triu(result, 1)
    result = upper + upper.T
    np.fill_diagonal(result, 1.0)
    return np.clip(result, 0.0, 1.0, out=result)


def pair_similarity(
    kernel: Any, first: np.ndarray, second: np.ndarray, epsilon: float | None = None
) -> np.ndarray:
    """Psi (Eq. 7) of chosen pairs of kernels only, in double precision.

    Args:
        kernel: (k1, ..., F1, F2).
        first, second: (pairs,) indices into the F2 kernels.
        epsilon: as in `kernel_similarity`.

    Returns:
        (pairs,) float64.
    """
    check_shape(np.shape(kernel))
    m = _Moments.of(kernel, resolve_epsilon(np.shape(kernel), epsilon), np.float64)
    e, total = m.epsilon, np.zeros(len(first))
    for c in range(len(m.mean)):
        mx, my = m.mean[c, first], m.mean[c, second]
        product = m.deviation[c, first] * m.deviation[c, second]
        covariance = np.einsum("nf,nf->f", m.centred[c][:, first], m.centred[c][:, second])
        luminance = (2 * mx * my + e) / (mx**2 + my**2 + e)
        contrast = (2 * product + e) / (m.variance[c, first] + m.variance[c, second] + e)
        total += np.abs(luminance) ** ALPHA * contrast * np.abs((covariance + e) / (product + e))
    return np.minimum(total / len(m.mean), 1.0)


def as_vectors(kernel: Any) -> np.ndarray:
    """A pointwise kernel (1, ..., F1, F2) as one slice of F1 values per kernel: (F1, 1, F2).

    Ours, not the paper's: with it 1x1 convolutions can be measured too.
    """
    kernel = np.asarray(kernel)
    if kernel.ndim < 3 or math.prod(kernel.shape[:-2]) != 1:
        raise CKRMError(
            "as_vectors", expected="a pointwise kernel (1, 1, F1, F2)", received=kernel.shape
        )
    return kernel.reshape(kernel.shape[-2], 1, kernel.shape[-1])
