"""The compiled part of the measure: psi of one block of kernels against another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from keras import ops

ALPHA = 0.1

# Fixed block shapes: a search measures ever new widths, and each new shape would be compiled anew.
# Only the channels that are there are computed, so a deep block costs a narrow layer nothing.
CHANNEL_BLOCKS = (4, 512)
KERNEL_TILES = (32, 128)
SLICE_SIZES = (9, 64, 512, 4096)
BLOCK_VALUES = 2**22
UNROLL = 4


def block_psi(x: tuple, y: tuple, weights: Any, epsilon: Any, steps: Any) -> Any:
    """Sum over a block of channels of psi between every kernel of x and every kernel of y.

    Args:
        x, y: blocks of `similarity`'s moments: (C, n, T), (C, T), (C, T), (C, T).
        weights: (C,) one for a channel, zero for padding.
        epsilon: scalar.
        steps: how many times `UNROLL` channels to add; the rest of the block is not looked at.

    Returns:
        (T, T) float32. No array larger than T x T is made: the channels are a loop.
    """

    def of_channel(c: Any) -> Any:
        (a, mx, vx, sx), (b, my, vy, sy) = ([p[c] for p in x], [p[c] for p in y])
        # Whatever depends on one kernel alone is kept out of the T x T arithmetic.
        mx2, twice = (mx * mx + epsilon)[:, None], (2.0 * mx)[:, None]
        vx, sx = (vx + epsilon)[:, None], sx[:, None]
        covariance = ops.matmul(ops.transpose(a), b)
        product = sx * sy
        luminance = (twice * my + epsilon) / (mx2 + my * my)
        # x^alpha as exp(alpha log x), which XLA vectorises and pow does not.
        weight = weights[c] * ops.exp(ALPHA * ops.log(ops.abs(luminance)))
        # Contrast times structure, in one division.
        numerator = (2.0 * product + epsilon) * ops.abs(covariance + epsilon)
        return weight * (numerator / ((vx + vy) * (product + epsilon)))

    def add_channels(step: Any, total: Any) -> Any:
        for k in range(UNROLL):
            total = total + of_channel(step * UNROLL + k)
        return total

    zero = ops.zeros((x[0].shape[-1], y[0].shape[-1]), "float32")
    return ops.fori_loop(0, steps, add_channels, zero)


def _fit(size: int, choices: tuple[int, ...]) -> int:
    return next((c for c in choices if c >= size), choices[-1])


def cuts(size: int, step: int) -> Iterator[slice]:
    """Slices of at most `step` that cover `size`."""
    return (slice(start, min(start + step, size)) for start in range(0, size, step))


def block_shape(f1: int, values: int, f2: int) -> tuple[int, int, int]:
    """(channels, values, kernels) of a block: few different ones, none above `BLOCK_VALUES`."""
    tile, values = _fit(f2, KERNEL_TILES), max(_fit(values, SLICE_SIZES), values)
    deepest = max(BLOCK_VALUES // (values * tile) // UNROLL, 1) * UNROLL
    return min(_fit(f1, CHANNEL_BLOCKS), deepest), values, tile
