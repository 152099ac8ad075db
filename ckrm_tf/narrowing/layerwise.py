"""Mending layer after layer: each kernel is fitted on what the narrowed network gives it.

The model as it is and the narrowed one run side by side, call by call. A kernel that reads x in the
one and x' in the other becomes V = (S + a I)^-1 (C W + a W_K), with S the Gram matrix of the kept
channels of x' and C their products with all channels of x: the ridge regression of what the whole
kernel made of x on x', drawn towards the kernel itself. So a kernel makes up not only for the
channels that it loses but for what came out differently before it. Means are put right at the
biases and in the batch norms. No label is needed.

All calls of a shared layer count: they come side by side, and one pass is enough. A layer that
feeds itself is fitted on its first calls, once more on what all of them read, and its means are put
right after that: three passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from ckrm_tf.narrowing import keras_graph
from ckrm_tf.narrowing.call import Read
from ckrm_tf.narrowing.kernel_fit import KernelFit, numpy_of
from ckrm_tf.narrowing.mend import LEAST, RIDGE
from ckrm_tf.narrowing.plan import Channels
from ckrm_tf.narrowing.responses import as_inputs, evenly
from ckrm_tf.narrowing.schedule import Placed, Schedule

# The largest tensor of one step, in numbers: fewer images are used where maps are large.
LARGEST = 2**26

Values = dict[int, np.ndarray]
# The arguments of one call in the model as it is, and in the narrowed one.
Sides = tuple[Any, Any]


class Layerwise:
    """Mends the kernels of a model for a choice of its channels.

    Args:
        channels: of the model.
        alive: the units that stay.
        ridge: a, as a share of the mean energy of a kept channel.
    """

    def __init__(self, channels: Channels, alive: np.ndarray, ridge: float = RIDGE) -> None:
        self.channels, self.alive, self.ridge = channels, alive, max(ridge, LEAST)

    def mend(self, images: Any) -> Values:
        """New values, in the old shape, of kernels, biases and moving means, by `id`."""
        model = self.channels.model
        arrays = as_inputs(model, images)
        # So many images that no tensor passes the limit.
        most = max(1, LARGEST // self.channels.largest)
        inputs = [
            ops.convert_to_tensor(evenly(array, most), dtype=symbol.dtype)
            for array, symbol in zip(arrays, keras_graph.inputs(model), strict=True)
        ]
        schedule = Schedule.of(model)

        def done(known: Values) -> _Pass:
            found = _Pass(self.channels, self.alive, self.ridge, schedule, known)
            found.run(inputs)
            return found

        found = done({})
        if schedule.returning:
            kernels = found.kernels()
            found = done(kernels | done(kernels).means())
        return found.values


class _Pass:
    """One pass over a model and its narrowed self.

    Args:
        channels, alive, ridge: as in `Layerwise`.
        schedule: of the model.
        known: values that are not to be found any more.

    Attributes:
        values: what is known and what has been found, by `id` of the weight.
    """

    def __init__(
        self,
        channels: Channels,
        alive: np.ndarray,
        ridge: float,
        schedule: Schedule,
        known: Values,
    ) -> None:
        self.channels, self.alive, self.ridge = channels, alive, ridge
        self.schedule, self.returning = schedule, schedule.returning
        self.values: Values = dict(known)
        # Of layers that feed themselves: by kernel its regression, by bias or moving mean the
        # weight and how far it is off by each call.
        self._fits: dict[int, KernelFit] = {}
        self._off: dict[int, tuple[Any, list[np.ndarray]]] = {}

    def run(self, inputs: Sequence[Any]) -> None:
        """Find every value."""
        tensors = {n: (x, x) for n, x in zip(self.schedule.inputs, inputs, strict=True)}
        left = self.schedule.uses()
        for group in self.schedule.groups:
            sides: list[Sides] = [
                (
                    one.step.filled({k: tensors[n][0] for k, n in one.inputs.items()}),
                    one.step.filled({k: tensors[n][1] for k, n in one.inputs.items()}),
                )
                for one in group
            ]
            for one, found in zip(group, self._call(group, sides), strict=True):
                for number in one.inputs.values():
                    left[number] -= 1
                    if not left[number]:
                        del tensors[number]
                tensors |= dict(zip(one.outputs, zip(*found, strict=True), strict=True))

    def kernels(self) -> Values:
        """The kernels of layers that feed themselves, fitted on what all their calls read."""
        fits = {key: fit for key, fit in self._fits.items() if fit.systems}
        return {key: fit.solved(self.ridge) for key, fit in fits.items()}

    def means(self) -> Values:
        """Their biases and moving means, put right for all calls."""
        return {key: numpy_of(one) + np.mean(off, axis=0) for key, (one, off) in self._off.items()}

    def _call(
        self, group: Sequence[Placed], sides: Sequence[Sides]
    ) -> list[tuple[list[Any], list[Any]]]:
        """Both sides' outputs of each call, with what the layer's weights become."""
        operation = group[0].step.operation
        reads = self._fit(group, sides)
        if type(operation) is keras.layers.BatchNormalization:
            off = []
            for one, (full, slim) in zip(group, sides, strict=True):
                x, y = one.step.tensors(*full)[0], one.step.tensors(*slim)[0]
                off.append(_mean(y, operation.axis) - _mean(x, operation.axis))
            self._put_right(operation, operation.moving_mean, off)
        wanted = [keras_graph.call(operation, *full) for full, _ in sides]
        found = [self._masked(operation, *slim) for _, slim in sides]
        if len(reads) == 1 and _shifts(reads[0], operation):
            bias = reads[0].bias
            axis = 1 if getattr(operation, "data_format", None) == "channels_first" else -1
            moved = self.values.get(id(bias), numpy_of(bias)) - numpy_of(bias)
            pairs = zip(wanted, found, strict=True)
            off = [_mean(a[0], axis) - _mean(b[0], axis) + moved for a, b in pairs]
            if self._put_right(operation, bias, off):
                found = [self._masked(operation, *slim) for _, slim in sides]
        return list(zip(wanted, found, strict=True))

    def _fit(self, group: Sequence[Placed], sides: Sequence[Sides]) -> list[Read]:
        """Fit the kernels of a layer on what its calls read; the reads of one call."""
        reads: list[Read] = []
        fits: dict[int, KernelFit] = {}
        for one, (full, slim) in zip(group, sides, strict=True):
            reads = self.channels.trace.reads.get(one.step.key, [])
            tensors = one.step.tensors(*full), one.step.tensors(*slim)
            for read in reads:
                key = id(read.variable)
                if key not in fits:
                    known = self._fits.get(key)
                    keeps = self.channels.mask(read.ids, self.alive)
                    fits[key] = KernelFit(read, keeps) if known is None else known
                fits[key].add(read, *(side[read.index] for side in tensors))
        for key, fit in fits.items():
            if key not in self.values and fit.systems:
                self.values[key] = fit.solved(self.ridge)
        if id(group[0].step.operation) in self.returning:
            self._fits |= fits
        return reads

    def _put_right(self, layer: Any, variable: Any, off: list[np.ndarray]) -> bool:
        """Move a bias or a moving mean as far as it is off; whether it has moved now."""
        key = id(variable)
        if id(layer) in self.returning:
            self._off.setdefault(key, (variable, []))[1].extend(off)
        if key in self.values:
            return False
        self.values[key] = numpy_of(variable) + np.mean(off, axis=0)
        return True

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
        value = np.array(numpy_of(variable) if changed is None else changed)
        for axis, mask in dead.items():
            np.moveaxis(value, axis, 0)[mask] = 0
        return value


def _shifts(read: Read, layer: Any) -> bool:
    """Whether a layer's bias moves its output as it is.

    A wrapper's own activation says nothing of the layer inside.
    """
    if read.bias is None or isinstance(layer, keras.layers.Wrapper):
        return False
    return getattr(layer, "activation", None) in (None, keras.activations.linear)


def _mean(value: Any, axis: int) -> np.ndarray:
    """The mean of each channel over images and places."""
    rank = len(value.shape)
    others = tuple(a for a in range(rank) if a != axis % rank)
    found: np.ndarray = ops.convert_to_numpy(ops.mean(ops.cast(value, "float32"), others))
    return found
