"""Parts of a network that go altogether: what is linear in what they read stays of them."""

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
from ckrm_tf.narrowing.plan import Channels
from ckrm_tf.narrowing.responses import BATCH, as_inputs
from ckrm_tf.narrowing.slice_weights import SliceWeights


@dataclass(frozen=True)
class Bypass:
    """A stage with a shortcut that has weights: by that alone it can be passed.

    In a network without the stage the next kernels read what the stage read. They may take any
    linear function of it. So may the shortcut, and the rest of the network stays as it is.

    Attributes:
        conv: path of the shortcut's 1x1 convolution.
        norm: of the batch norm behind it.
        ends: of the batch norms that end the branches beside it; they are silenced.
        output: of the layer whose output the shortcut is to give: the last sum of the stage.
        inner: axes of the design that count no more, those of widths within the branches.
    """

    conv: str
    norm: str
    ends: tuple[str, ...]
    output: str
    inner: tuple[str, ...] = ()


@dataclass(frozen=True)
class Bridge:
    """What the shortcut becomes: the ridge regression of the stage's sum on what the stage reads.

    Attributes:
        kernel: (1, 1, read, written).
        shift: (written,), added to the convolution.
    """

    kernel: np.ndarray
    shift: np.ndarray


class Bridged:
    """The variables of a bypass in one model, and their values in its slices.

    Attributes:
        variables: the shortcut's kernel, then gamma and beta of its norm.
    """

    def __init__(
        self, bypass: Bypass, bridge: Bridge, channels: Channels, weights: SliceWeights
    ) -> None:
        self._channels, self.bypass, self._bridge = channels, bypass, bridge
        self._conv, self._norm = _layers(channels, bypass)
        self.variables = [self._conv.kernel, self._norm.gamma, self._norm.beta]
        self._kernel: Callable[[np.ndarray], np.ndarray] = weights.stand_in(
            self._conv.kernel, bridge.kernel
        )

    def values(self, alive: np.ndarray) -> list[Any]:
        """Of the variables, in a slice: the norm becomes a shift and no more."""
        norm = self._norm
        scale = np.sqrt(ops.convert_to_numpy(norm.moving_variance) + norm.epsilon)
        start = ops.convert_to_numpy(norm.moving_mean)
        if self._conv.use_bias:
            start = start - ops.convert_to_numpy(self._conv.bias)
        found = [self._kernel(alive), scale, start + self._bridge.shift]
        return [ops.convert_to_tensor(np.asarray(v, np.float32)) for v in found]

    def restricted(self, alive: np.ndarray) -> Bridge:
        """The bridge of the slice in which so much is alive."""
        kernel, shift = self._kernel(alive), self._bridge.shift
        for axis, ids in self._channels.trace.uses[id(self._conv.kernel)].items():
            if ids is not None:
                keeps = self._channels.mask(ids, alive)
                kernel = np.compress(keeps, kernel, axis)
                if axis == kernel.ndim - 1:
                    shift = shift[keeps]
        return Bridge(kernel, shift)


def bridges(
    channels: Channels, bypasses: Mapping[str, Bypass], images: Any, ridge: float
) -> dict[str, Bridge]:
    """The bridge of each bypass by its name, from one pass over images.

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
    layers = dict(channels.trace.layers)
    steps, outputs = [], []
    for bypass in bypasses.values():
        conv, _ = _layers(channels, bypass)
        steps.append(conv.strides)
        outputs += [conv.input, layers[bypass.output].output]
    model = keras.Model(channels.model.inputs, outputs)
    arrays = as_inputs(channels.model, images)
    sums = [_Sums() for _ in steps]
    for start in range(0, len(arrays[0]), BATCH):
        found = model([ops.convert_to_tensor(a[start : start + BATCH]) for a in arrays])
        for number, (rows, columns) in enumerate(steps):
            read, target = found[2 * number : 2 * number + 2]
            sums[number].add(read[:, ::rows, ::columns], target)
    solved = [part.bridge(ridge) for part in sums]
    return dict(zip(bypasses, solved, strict=True))


class _Sums:
    """Second moments of what a stage reads, a 1 beside it, and of that with what it gives."""

    def __init__(self) -> None:
        self._own: np.ndarray | float = 0.0
        self._cross: np.ndarray | float = 0.0

    def add(self, read: Any, target: Any) -> None:
        x = ops.reshape(ops.cast(read, "float32"), (-1, read.shape[-1]))
        y = ops.reshape(ops.cast(target, "float32"), (-1, target.shape[-1]))
        x = ops.concatenate([x, ops.ones_like(x[:, :1])], 1)
        self._own = self._own + _numpy(ops.matmul(ops.transpose(x), x))
        self._cross = self._cross + _numpy(ops.matmul(ops.transpose(x), y))

    def bridge(self, ridge: float) -> Bridge:
        own, cross = np.asarray(self._own), np.asarray(self._cross)
        mean, count = own[-1, :-1], own[-1, -1]
        products = own[:-1, :-1] - np.outer(mean, mean) / count
        level = level_of(products, np.ones(len(products), bool), max(ridge, LEAST))
        centred = cross[:-1] - np.outer(mean, cross[-1]) / count
        kernel = linalg.cho_solve(factor(products, level), centred, check_finite=False)
        shift = (cross[-1] - mean @ kernel) / count
        return Bridge(kernel[None, None].astype(np.float32), shift.astype(np.float32))


def _numpy(tensor: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(tensor), np.float64)


def _layers(channels: Channels, bypass: Bypass) -> tuple[Any, Any]:
    layers = dict(channels.trace.layers)
    conv: Any = layers.get(bypass.conv)
    norm: Any = layers.get(bypass.norm)
    fits = (
        type(conv) is keras.layers.Conv2D
        and conv.kernel_size == (1, 1)
        and conv.groups == 1
        and conv.data_format == "channels_last"
        and type(norm) is keras.layers.BatchNormalization
        and norm.scale
        and norm.center
        and bypass.output in layers
    )
    if not fits:
        raise CKRMError(
            f"bypass by {bypass.conv}",
            expected=f"a plain 1x1 convolution, the batch norm {bypass.norm} and {bypass.output}",
            received=f"{conv!r}, {norm!r}",
        )
    return conv, norm
