"""Slices of lower depth: a shortcut takes over the linear part of what the blocks that go gave."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops
from scipy import linalg

from ckrm_tf.errors import CKRMError
from ckrm_tf.narrowing.mend import LEAST, factor, level_of
from ckrm_tf.narrowing.nested import Recent
from ckrm_tf.narrowing.plan import Channels
from ckrm_tf.narrowing.responses import BATCH, as_inputs
from ckrm_tf.narrowing.slice_weights import SliceWeights


@dataclass(frozen=True)
class Bypass:
    """A stage of residual blocks whose first has a shortcut with weights.

    A network with fewer blocks is trained to do without the others. In a slice the shortcut, a 1x1
    convolution, does so: what the blocks that go added is regressed on what the stage reads. A
    stage that goes altogether keeps the shortcut alone: the next kernels of a network without the
    stage may take any linear function of what the stage read.

    Attributes:
        conv: path of the shortcut's convolution.
        norm: of the batch norm behind it.
        ends: of the batch norm that ends the branch of each block.
        sums: of the layer that adds each block's branch, in the same order.
        inner: axes of the design that count no more once the stage is gone, those of widths within
            the branches.
    """

    conv: str
    norm: str
    ends: tuple[str, ...]
    sums: tuple[str, ...]
    inner: tuple[str, ...] = ()


@dataclass(frozen=True)
class Bridge:
    """The shortcut of a stage at one depth, its batch norm folded in.

    Attributes:
        kernel: (1, 1, read, written).
        shift: (written,), added to the convolution.
    """

    kernel: np.ndarray
    shift: np.ndarray


class Bridged:
    """The variables of a stage that change with its depth, and their values in slices of a model.

    Args:
        bypass: the stage.
        bridges: its shortcut at each depth from 0 up to one block less than it has.
        channels: of the model.
        weights: of its slices.
    """

    def __init__(
        self,
        bypass: Bypass,
        bridges: tuple[Bridge, ...],
        channels: Channels,
        weights: SliceWeights,
    ) -> None:
        self.bypass, self._bridges, self._channels = bypass, bridges, channels
        layers = _Layers(channels, bypass)
        self._conv, self._norm = layers.conv, layers.norm
        self._ends = [(norm.gamma, norm.beta) for norm in layers.ends]
        own = [self._conv.kernel, self._norm.gamma, self._norm.beta]
        self.variables = own + [variable for pair in self._ends for variable in pair]
        self._kernels: list[Callable[[np.ndarray], np.ndarray]] = [
            weights.stand_in(self._conv.kernel, bridge.kernel) for bridge in bridges
        ]
        self._recent = Recent()

    def values(self, alive: np.ndarray, depth: int) -> list[tuple[Any, Any]]:
        """Variables and their values in a slice of so many blocks; none at full depth.

        Raises:
            CKRMError: a depth that the stage has not.
        """
        blocks = len(self._bridges)
        if not 0 <= depth <= blocks:
            raise CKRMError(
                f"depth of the stage of {self.bypass.conv}",
                expected=f"a whole number from 0 to {blocks}",
                received=depth,
            )
        if depth == blocks:
            return []
        key = str(depth).encode() + alive.tobytes()
        shortcut = self._recent.get_or(key, lambda: self._shortcut(alive, depth))
        silent = [variable for pair in self._ends[depth:] for variable in pair]
        return [
            *zip(self.variables[:3], shortcut, strict=True),
            *((variable, ops.zeros_like(variable)) for variable in silent),
        ]

    def _shortcut(self, alive: np.ndarray, depth: int) -> list[Any]:
        """Kernel, gamma and beta: the norm becomes a shift and no more."""
        scale = np.sqrt(_numpy(self._norm.moving_variance) + self._norm.epsilon)
        start = _numpy(self._norm.moving_mean)
        if self._conv.use_bias:
            start = start - _numpy(self._conv.bias)
        found = (self._kernels[depth](alive), scale, start + self._bridges[depth].shift)
        return [ops.convert_to_tensor(np.asarray(value, np.float32)) for value in found]

    def restricted(self, alive: np.ndarray) -> tuple[Bridge, ...]:
        """The bridges of the slice in which so much is alive."""
        uses = self._channels.trace.uses[id(self._conv.kernel)]
        keeps = {a: self._channels.mask(i, alive) for a, i in uses.items() if i is not None}
        found = []
        for kernel_of, bridge in zip(self._kernels, self._bridges, strict=True):
            kernel, shift = kernel_of(alive), bridge.shift
            for axis, keep in keeps.items():
                kernel = np.compress(keep, kernel, axis)
            written = keeps.get(kernel.ndim - 1)
            found.append(Bridge(kernel, shift if written is None else shift[written]))
        return tuple(found)


def bridges(
    channels: Channels, bypasses: Mapping[str, Bypass], images: Any, ridge: float
) -> dict[str, tuple[Bridge, ...]]:
    """The bridges of each stage by its name, from one pass over images.

    With A what the stage reads and S_k the sum after block k, S_0 being what the shortcut gives,
    the shortcut of depth k is the present one and the ridge regression of S_n - S_k on A.

    Args:
        channels: of the model.
        bypasses: those wanted.
        images: as the model takes them.
        ridge: as a share of the mean energy of a channel.

    Raises:
        CKRMError: a bypass that the model does not have.
    """
    if not bypasses:
        return {}
    stages = [_Layers(channels, bypass) for bypass in bypasses.values()]
    parts = [[s.conv.input, s.norm.output, *(add.output for add in s.sums)] for s in stages]
    model = keras.Model(channels.model.inputs, [tensor for part in parts for tensor in part])
    arrays = as_inputs(channels.model, images)
    moments = [_Moments() for _ in stages]
    for start in range(0, len(arrays[0]), BATCH):
        found = iter(model([ops.convert_to_tensor(a[start : start + BATCH]) for a in arrays]))
        for stage, moment in zip(stages, moments, strict=True):
            rows, columns = stage.conv.strides
            read, sums = next(found), [next(found) for _ in range(1 + len(stage.sums))]
            gone = [sums[-1] - before for before in sums[:-1]]
            moment.add(read[:, ::rows, ::columns], ops.concatenate(gone, -1))
    solved = [
        stage.bridges(*moment.regression(ridge))
        for stage, moment in zip(stages, moments, strict=True)
    ]
    return dict(zip(bypasses, solved, strict=True))


class _Moments:
    """Second moments of what a stage reads, a 1 beside it, and of that with what blocks add."""

    def __init__(self) -> None:
        self._own: np.ndarray | float = 0.0
        self._cross: np.ndarray | float = 0.0

    def add(self, read: Any, target: Any) -> None:
        x = ops.reshape(ops.cast(read, "float32"), (-1, read.shape[-1]))
        y = ops.reshape(ops.cast(target, "float32"), (-1, target.shape[-1]))
        x = ops.concatenate([x, ops.ones_like(x[:, :1])], 1)
        self._own = self._own + _numpy(ops.matmul(ops.transpose(x), x))
        self._cross = self._cross + _numpy(ops.matmul(ops.transpose(x), y))

    def regression(self, ridge: float) -> tuple[np.ndarray, np.ndarray]:
        """Weights, (read, targets), and constants, (targets,)."""
        own, cross = np.asarray(self._own), np.asarray(self._cross)
        total, count = own[-1, :-1], own[-1, -1]
        products = own[:-1, :-1] - np.outer(total, total) / count
        level = level_of(products, np.ones(len(products), bool), max(ridge, LEAST))
        centred = cross[:-1] - np.outer(total, cross[-1]) / count
        weights = linalg.cho_solve(factor(products, level), centred, check_finite=False)
        return weights, (cross[-1] - total @ weights) / count


class _Layers:
    """The layers of a bypass in a model.

    Raises:
        CKRMError: where they are not there or of another kind.
    """

    def __init__(self, channels: Channels, bypass: Bypass) -> None:
        layers = dict(channels.trace.layers)
        conv: Any = layers.get(bypass.conv)
        self.conv = conv
        self.norm: Any = layers.get(bypass.norm)
        self.ends: list[Any] = [layers.get(path) for path in bypass.ends]
        self.sums: list[Any] = [layers.get(path) for path in bypass.sums]
        plain = (
            type(conv) is keras.layers.Conv2D
            and conv.kernel_size == (1, 1)
            and conv.groups == 1
            and conv.data_format == "channels_last"
        )
        if not plain:
            raise CKRMError(
                f"bypass by {bypass.conv}",
                expected="a plain 1x1 convolution, channels last",
                received=repr(self.conv),
            )
        for path, norm in zip((bypass.norm, *bypass.ends), (self.norm, *self.ends), strict=True):
            batch_norm = type(norm) is keras.layers.BatchNormalization
            if not batch_norm or not norm.scale or not norm.center:
                raise CKRMError(
                    f"bypass by {bypass.conv}: {path}",
                    expected="a batch norm with gamma and beta",
                    received=repr(norm),
                )
        if not self.sums or None in self.sums or len(self.sums) != len(self.ends):
            raise CKRMError(
                f"bypass by {bypass.conv}",
                expected="the layer that adds each branch",
                received=f"{len(self.ends)} branches, sums {', '.join(bypass.sums)}",
            )

    def bridges(self, weights: np.ndarray, constants: np.ndarray) -> tuple[Bridge, ...]:
        """The shortcut as it is and, for each depth, what is added to it."""
        scale = _numpy(self.norm.gamma) / np.sqrt(
            _numpy(self.norm.moving_variance) + self.norm.epsilon
        )
        bias = _numpy(self.conv.bias) if self.conv.use_bias else 0.0
        kernel = _numpy(self.conv.kernel)[0, 0] * scale
        shift = (bias - _numpy(self.norm.moving_mean)) * scale + _numpy(self.norm.beta)
        parts = zip(
            np.split(weights, len(self.sums), 1), np.split(constants, len(self.sums)), strict=True
        )
        return tuple(
            Bridge((kernel + more)[None, None].astype(np.float32), (shift + by).astype(np.float32))
            for more, by in parts
        )


def _numpy(tensor: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(tensor), np.float64)
