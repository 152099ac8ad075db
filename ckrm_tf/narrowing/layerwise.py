"""Mending layer after layer: each kernel is fitted on what the narrowed network gives it.

The model as it is and the narrowed one run side by side, step by step. A kernel that reads x in the
one and x' in the other becomes V = (S + a I)^-1 (C W + a W_K), with S the Gram matrix of the kept
channels of x' and C their products with all channels of x: the ridge regression of what the whole
kernel made of x on x', drawn towards the kernel itself. So a kernel makes up not only for the
channels that it loses but for what came out differently before it. Means are put right at the
biases and in the batch norms. No label is needed, and one pass.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import keras
import numpy as np
from keras import ops
from scipy import linalg

from ckrm_tf.narrowing import keras_graph
from ckrm_tf.narrowing.call import Read
from ckrm_tf.narrowing.mend import LEAST, RIDGE, factor
from ckrm_tf.narrowing.plan import Channels
from ckrm_tf.narrowing.responses import WIDEST, as_inputs, evenly, repeats

# Rows of one regression: places beyond that are passed over evenly.
ROWS = 32768
# The largest tensor of one step, in numbers: fewer images are used where maps are large.
LARGEST = 2**26


class Layerwise:
    """One pass over a model and its narrowed self.

    Args:
        channels: of the model.
        alive: the units that stay.
        ridge: a, as a share of the mean energy of a kept channel.
    """

    def __init__(self, channels: Channels, alive: np.ndarray, ridge: float = RIDGE) -> None:
        self.channels, self.alive, self.ridge = channels, alive, max(ridge, LEAST)
        self.values: dict[int, np.ndarray] = {}

    def mend(self, images: Any) -> dict[int, np.ndarray]:
        """New values, in the old shape, of kernels, biases and moving means, by `id`."""
        model = self.channels.model
        arrays = as_inputs(model, images)
        # So many images that no tensor passes the limit.
        most = max(1, LARGEST // self.channels.largest)
        values = [
            ops.convert_to_tensor(evenly(array, most), dtype=symbol.dtype)
            for array, symbol in zip(arrays, keras_graph.inputs(model), strict=True)
        ]
        self._follow(model, values, values)
        return self.values

    def _follow(self, model: Any, full: list[Any], slim: list[Any]) -> tuple[list[Any], list[Any]]:
        symbols = keras_graph.inputs(model)
        known = {id(s): pair for s, pair in zip(symbols, zip(full, slim, strict=True), strict=True)}
        steps = keras_graph.steps(model)
        left = Counter(id(x) for step in steps for x in step.inputs)
        left.update(id(x) for x in keras_graph.outputs(model))
        for step in steps:
            sides = [step.filled({k: pair[i] for k, pair in known.items()}) for i in (0, 1)]
            if keras_graph.is_model(step.operation):
                given = [keras_graph.tensors_among(side, step.operation) for side in sides]
                found = self._follow(step.operation, *given)
            else:
                found = self._call(step, *sides)
            for x in step.inputs:
                left[id(x)] -= 1
                if not left[id(x)]:
                    del known[id(x)]
            for symbol, pair in zip(step.outputs, zip(*found, strict=True), strict=True):
                known[id(symbol)] = pair
        pairs = [known[id(s)] for s in keras_graph.outputs(model)]
        return [p[0] for p in pairs], [p[1] for p in pairs]

    def _call(self, step: keras_graph.Step, full: Any, slim: Any) -> tuple[list[Any], list[Any]]:
        reads = self.channels.trace.reads.get(step.key, [])
        tensors = [step.tensors(*side) for side in (full, slim)]
        for read in reads:
            if id(read.variable) not in self.values:
                self._fit(read, tensors[0][read.index], tensors[1][read.index])
        operation = step.operation
        if type(operation) is keras.layers.BatchNormalization:
            self._shift_mean(operation, tensors[0][0], tensors[1][0])
        wanted = keras_graph.call(operation, *full)
        found = self._masked(operation, *slim)
        if len(reads) == 1 and self._shifts(reads[0], operation):
            self._shift_bias(reads[0], operation, wanted[0], found[0])
            found = self._masked(operation, *slim)
        return wanted, found

    def _masked(self, operation: Any, args: Any, kwargs: Any) -> list[Any]:
        """A call with the new weights, those of removed channels at zero."""
        mapping = []
        for variable in getattr(operation, "variables", ()):
            value = self._masked_value(variable)
            if value is not None:
                mapping.append((variable, ops.convert_to_tensor(value, dtype=variable.dtype)))
        if not mapping:
            return keras_graph.call(operation, args, kwargs)
        with keras.StatelessScope(state_mapping=mapping):
            return keras_graph.call(operation, args, kwargs)

    def _masked_value(self, variable: Any) -> np.ndarray | None:
        uses = self.channels.trace.uses.get(id(variable), {})
        dead = {
            axis: ~self.channels.mask(ids, self.alive)
            for axis, ids in uses.items()
            if ids is not None
        }
        changed = self.values.get(id(variable))
        if changed is None and not any(mask.any() for mask in dead.values()):
            return None
        value = np.array(_numpy(variable) if changed is None else changed)
        for axis, mask in dead.items():
            np.moveaxis(value, axis, 0)[mask] = 0
        return value

    def _fit(self, read: Read, full: Any, slim: Any) -> None:
        times = repeats(read.ids) if read.groups == 1 else 1
        size = len(read.ids) // times
        if size > WIDEST:
            return
        keeps = self.channels.mask(read.ids[:size], self.alive)
        if not keeps.any():
            return
        x, y = (_rows(read, side, size) for side in (full, slim))
        kernel = np.asarray(_numpy(read.variable), np.float64)
        moved = np.moveaxis(kernel, read.axis, 0)
        new = np.zeros_like(moved)
        blocks = read.groups
        width, filters = size // blocks, moved.shape[-1] // blocks
        for block in range(blocks):
            part = slice(block * width, (block + 1) * width)
            own = keeps[part]
            kept = y[:, part][:, own]
            gram = np.asarray(kept.T @ kept, np.float64)
            cross = np.asarray(kept.T @ x[:, part], np.float64)
            level = self.ridge * max(float(np.mean(np.diag(gram))), 1e-30)
            system = factor(gram, level)
            if blocks > 1:
                columns = slice(block * filters, (block + 1) * filters)
                old = moved[..., columns]
                wanted = np.tensordot(cross, old, 1) + level * old[own]
                solved = linalg.cho_solve(system, wanted.reshape(len(gram), -1))
                new[own, ..., columns] = solved.reshape(wanted.shape)
                continue
            for row in range(times):
                rows = slice(row * size, (row + 1) * size)
                old = moved[rows].reshape(size, -1)
                wanted = cross @ old + level * old[own]
                solved = linalg.cho_solve(system, wanted, check_finite=False)
                target = np.zeros_like(old)
                target[own] = solved
                new[rows] = target.reshape(moved[rows].shape)
        self.values[id(read.variable)] = np.moveaxis(new, 0, read.axis).astype(kernel.dtype)

    def _shift_mean(self, layer: Any, full: Any, slim: Any) -> None:
        """Move a batch norm's mean as far as the mean of what it reads has moved."""
        if id(layer.moving_mean) in self.values:
            return
        axis = layer.axis % len(full.shape)
        others = tuple(a for a in range(len(full.shape)) if a != axis)
        moved = ops.mean(ops.cast(slim, "float32"), others) - ops.mean(
            ops.cast(full, "float32"), others
        )
        self.values[id(layer.moving_mean)] = _numpy(layer.moving_mean) + np.asarray(
            ops.convert_to_numpy(moved)
        )

    def _shift_bias(self, read: Read, layer: Any, full: Any, slim: Any) -> None:
        axis = 1 if getattr(layer, "data_format", None) == "channels_first" else -1
        rank = len(full.shape)
        others = tuple(a for a in range(rank) if a != axis % rank)
        moved = ops.mean(ops.cast(full, "float32") - ops.cast(slim, "float32"), others)
        self.values[id(read.bias)] = _numpy(read.bias) + np.asarray(ops.convert_to_numpy(moved))

    def _shifts(self, read: Read, layer: Any) -> bool:
        """Whether a layer's bias moves its output as it is; a shared one moves at the first call.

        A wrapper's own activation says nothing of the layer inside.
        """
        if read.bias is None or id(read.bias) in self.values:
            return False
        if isinstance(layer, keras.layers.Wrapper):
            return False
        return getattr(layer, "activation", None) in (None, keras.activations.linear)


def _numpy(variable: Any) -> np.ndarray:
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
