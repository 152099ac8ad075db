"""The kinds of layers that hold convolutions: which arrays a file has of them, and their rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import layers

from ckrm_tf.measures.kernels import GATES, ConvolutionKernel, depthwise, prepared, recurrent
from ckrm_tf.models.stored_weights import snake_case


def has_gates(kernel: np.ndarray | None, inner: np.ndarray | None) -> bool:
    """Whether two kernels are those of a ConvLSTM."""
    if kernel is None or inner is None or not 3 <= kernel.ndim == inner.ndim <= 5:
        return False
    gates = (GATES * inner.shape[-2],) * 2
    return (kernel.shape[-1], inner.shape[-1]) == gates


def separates(kernel: np.ndarray | None, second: np.ndarray | None) -> bool:
    """Whether two kernels are those of a separable convolution."""
    if kernel is None or second is None or not 3 <= kernel.ndim == second.ndim <= 4:
        return False
    return second.shape[:-1] == (1,) * (kernel.ndim - 2) + (kernel.shape[-2] * kernel.shape[-1],)


def has_length(bias: np.ndarray | None, length: int, but: int | None = None) -> bool:
    """Whether a bias has this length, where that is not another one."""
    return bias is not None and bias.shape == (length,) and length != but


def _plain(
    path: str, values: dict[str, np.ndarray], groups: int, pointwise: bool, scale: Any
) -> Iterator[ConvolutionKernel]:
    yield prepared(path, values["kernel"], groups, pointwise, scale)


def _transposed(
    path: str, values: dict[str, np.ndarray], groups: int, pointwise: bool, scale: Any
) -> Iterator[ConvolutionKernel]:
    yield prepared(path, np.swapaxes(values["kernel"], -1, -2), 1, pointwise, scale)


def _depthwise(
    path: str, values: dict[str, np.ndarray], groups: int, pointwise: bool, scale: Any
) -> Iterator[ConvolutionKernel]:
    yield depthwise(path, values["depthwise_kernel"], pointwise, scale)


def separable_rows(
    path: str, values: dict[str, np.ndarray], groups: int, pointwise: bool, scale: Any
) -> Iterator[ConvolutionKernel]:
    """The two convolutions of a separable one."""
    yield depthwise(f"{path}/depthwise", values["depthwise_kernel"], pointwise)
    yield prepared(f"{path}/pointwise", values["pointwise_kernel"], 1, pointwise, scale)


def recurrent_rows(
    path: str, values: dict[str, np.ndarray], groups: int, pointwise: bool, scale: Any
) -> Iterator[ConvolutionKernel]:
    """The row of a ConvLSTM."""
    yield recurrent(path, values["kernel"], values["recurrent_kernel"], pointwise)


@dataclass(frozen=True)
class _Kind:
    """A kind of layer: the names of its kernels in the order in which Keras writes them."""

    names: tuple[str, ...]
    build: Any


KINDS = {
    **{f"{name}{n}D": _Kind(("kernel",), _plain) for n in (1, 2, 3)
       for name in ("Conv", "Convolution")},
    **{f"{name}{n}DTranspose": _Kind(("kernel",), _transposed) for n in (1, 2, 3)
       for name in ("Conv", "Convolution")},
    **{f"DepthwiseConv{n}D": _Kind(("depthwise_kernel",), _depthwise) for n in (1, 2)},
    **{f"SeparableConv{n}D": _Kind(("depthwise_kernel", "pointwise_kernel"), separable_rows)
       for n in (1, 2)},
    **{f"ConvLSTM{n}D": _Kind(("kernel", "recurrent_kernel"), recurrent_rows) for n in (1, 2, 3)},
}  # fmt: skip
GROUPED = {f"Conv{n}D" for n in (1, 2, 3)}
# The class by the name of the place that Keras gives to its weights.
PLACES = {snake_case(kind): kind for kind in KINDS if hasattr(layers, kind)}
# Lambda is code of the file, but holds no weights.
BUILT_IN = {name for name in dir(layers) if isinstance(getattr(layers, name), type)}
