"""The regression of one kernel, summed over the calls of its layer."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from ckrm_tf.narrowing.call import Read
from ckrm_tf.narrowing.mend import System, fitted, level_of
from ckrm_tf.narrowing.responses import WIDEST, repeats

# Rows of one call: places beyond that are passed over evenly.
ROWS = 32768


class KernelFit:
    """What a kernel read before and reads now, as normal equations.

    Args:
        read: the kernel, at its first call.
        keeps: the channels that stay, of those that `read` goes through.

    Attributes:
        systems: one for each block of channels; empty where there are too many to solve for.
    """

    def __init__(self, read: Read, keeps: np.ndarray) -> None:
        self.variable, self.axis, self.blocks = read.variable, read.axis, read.groups
        times = repeats(read.ids) if read.groups == 1 else 1
        self.keeps = keeps[: len(keeps) // times]
        self.systems: list[System] = []

    def add(self, read: Read, full: Any, slim: Any) -> None:
        """Add what one call reads; channels too many to solve for are passed over."""
        size = len(self.keeps)
        if size > WIDEST or not self.keeps.any():
            return
        x, y = (_rows(read, side, size) for side in (full, slim))
        width = size // self.blocks
        found = []
        for start in range(0, size, width):
            part = slice(start, start + width)
            kept = y[:, part][:, self.keeps[part]]
            gram, cross = kept.T @ kept, kept.T @ x[:, part]
            found.append(System(np.asarray(gram, np.float64), np.asarray(cross, np.float64)))
        old = self.systems
        self.systems = [a + b for a, b in zip(old, found, strict=True)] if old else found

    def solved(self, ridge: float) -> np.ndarray:
        """The kernel, in its own shape."""
        kernel = np.moveaxis(numpy_of(self.variable), self.axis, 0)
        levels = [level_of(one.gram, np.ones(len(one.gram), bool), ridge) for one in self.systems]
        return np.moveaxis(fitted(kernel, self.keeps, self.systems, levels), 0, self.axis)


def numpy_of(variable: Any) -> np.ndarray:
    """The value of a weight."""
    found: np.ndarray = keras.ops.convert_to_numpy(variable.value)
    return found


def _rows(read: Read, value: Any, size: int) -> np.ndarray:
    """What a kernel reads, one row a place: (places, channels) float32."""
    if read.prepare is not None:
        value = read.prepare(value)
    value = ops.cast(value, "float32")
    rank = len(value.shape)
    if read.along % rank != rank - 1:
        value = ops.moveaxis(value, read.along, -1)
    value = ops.reshape(value, (-1, size))
    step = max(1, int(value.shape[0]) // ROWS)
    found: np.ndarray = ops.convert_to_numpy(value[::step])
    return found
