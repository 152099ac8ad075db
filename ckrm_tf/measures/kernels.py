"""Which kernels of a model can be compared, and why the others cannot."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from keras import layers

from ckrm_tf.measures import folding
from ckrm_tf.measures.similarity import as_vectors, energy_epsilon, resolve_epsilon

POINTWISE = (
    "1x1: slices of one value have C = S = 1, so lambda is 1 always; "
    "pointwise=True takes the vector over the input channels as the slice"
)
CHANNEL_OWN = "depthwise: each kernel reads a channel of its own, so no two can be compared"
NOT_BUILT = "not built: it has no weights yet"
NOT_FINITE = "NaN or infinity among its weights"
NORM_NOT_FINITE = "NaN or infinity in the batch norm that follows"
# i, f, c and o of an LSTM.
GATES = 4


@dataclass(frozen=True)
class ConvolutionKernel:
    """One convolution of a model, ready to be measured or with the reason why not.

    Attributes:
        name: layer name; layers inside others are named `outer/inner`. No two are equal.
        shape: the kernel as Keras stores it, with the filters last.
        groups: kernels that may be compared with each other, (k1, ..., F1, F2) each; more than
            one for a grouped convolution.
        reason: why it is skipped, or None.
        pointwise: the groups hold vectors over the input channels.
        folded: the groups are scaled by the batch norm that follows.
        outward: for a convolution inside a layer, whether its filters are channels of the layer's
            output; True elsewhere.
    """

    name: str
    shape: tuple[int, ...]
    groups: tuple[np.ndarray, ...] = ()
    reason: str | None = None
    pointwise: bool = False
    folded: bool = False
    outward: bool = True

    @property
    def finite(self) -> bool:
        """False where NaN or infinity is what keeps it from being measured."""
        return self.reason not in (NOT_FINITE, NORM_NOT_FINITE)

    def epsilon(self, given: float | None = None) -> float:
        """An absolute epsilon: the one given, or a quarter of the kernels' own energy.

        Raises:
            CKRMError: an impossible number.
        """
        if given is not None:
            return resolve_epsilon(self.shape, given)
        return float(np.mean([energy_epsilon(group) for group in self.groups]))


def model_kernels(
    model: keras.Model, *, pointwise: bool = False, fold: bool = True
) -> Iterator[ConvolutionKernel]:
    """Every convolution of a built model in order, also inside nested models and layers.

    A layer that is called several times, or that several models share, comes once.

    Args:
        model: any built Keras model.
        pointwise: measure 1x1 convolutions too, by the vector over their input channels.
        fold: scale each kernel by the batch norm that follows it: gamma / sqrt(variance + epsilon).
    """
    graph = folding.readers(model)
    norms = folding.batch_norms(graph) if fold else {}
    outward = folding.makers(graph)
    entered = {id(operation) for operation, *_ in graph.calls}
    seen: set[int] = set()
    names: set[str] = set()
    for path, layer, inside in _walk(model, "", False):
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        for kernel in _kernels_of(layer, path, norms.get(id(layer)), pointwise):
            name = unused_name(kernel.name, names)
            hidden = inside and id(layer) in entered and id(layer) not in outward
            yield replace(kernel, name=name, outward=not hidden)


def comparable_kernels(model: keras.Model) -> list[ConvolutionKernel]:
    """Every convolution whose kernels can be compared, 1x1 ones by their vectors, in order."""
    return [k for k in model_kernels(model, pointwise=True) if k.reason is None]


def inner_convolutions(model: keras.Model) -> Iterator[tuple[str, Any]]:
    """The convolutions inside layers that are no models, with their paths."""
    for path, layer, inside in _walk(model, "", False):
        if inside and folding.is_convolution(layer):
            yield path, layer


def _walk(layer: keras.Layer, path: str, inside: bool) -> Iterator[tuple[str, Any, bool]]:
    """Every layer with its path and whether it stands inside a layer that is no model."""
    for inner in layer._flatten_layers(include_self=False, recursive=False):
        name = f"{path}/{inner.name}" if path else inner.name
        yield name, inner, inside
        yield from _walk(inner, name, inside or folding.is_composite(inner))


def unused_name(name: str, names: set[str]) -> str:
    """The name, with a number where it is among `names`, to which it is added."""
    number, free = 1, name
    while free in names:
        number += 1
        free = f"{name}#{number}"
    names.add(free)
    return free


def _kernels_of(layer: Any, path: str, norm: Any, pointwise: bool) -> Iterator[ConvolutionKernel]:
    """The kernels of one layer; nothing where it is no convolution."""
    prepare = next((rule for kinds, rule in PREPARED if isinstance(layer, kinds)), None)
    if prepare is None:
        yield from _unknown(layer, path)
    elif not layer.built:
        yield ConvolutionKernel(path, (), reason=NOT_BUILT)
    else:
        scale = None if norm is None else folding.scale_of(norm)
        yield from prepare(layer, path, scale, pointwise)


def _plain(layer: Any, path: str, scale: Any, pointwise: bool) -> Iterator[ConvolutionKernel]:
    yield prepared(path, _weights(layer.kernel), layer.groups, pointwise, scale)


def _transposed(layer: Any, path: str, scale: Any, pointwise: bool) -> Iterator[ConvolutionKernel]:
    # Keras stores (k, out, in) here; the measure wants filters last.
    yield prepared(path, np.swapaxes(_weights(layer.kernel), -1, -2), 1, pointwise, scale)


def _depthwise(layer: Any, path: str, scale: Any, pointwise: bool) -> Iterator[ConvolutionKernel]:
    yield depthwise(path, _weights(layer.kernel), pointwise, scale)


def _separable(layer: Any, path: str, scale: Any, pointwise: bool) -> Iterator[ConvolutionKernel]:
    yield depthwise(f"{path}/depthwise", _weights(layer.depthwise_kernel), pointwise)
    yield prepared(f"{path}/pointwise", _weights(layer.pointwise_kernel), 1, pointwise, scale)


def _recurrent(layer: Any, path: str, scale: Any, pointwise: bool) -> Iterator[ConvolutionKernel]:
    cell = layer.cell
    yield recurrent(path, _weights(cell.kernel), _weights(cell.recurrent_kernel), pointwise)


Prepare = Callable[[Any, str, Any, bool], Iterator[ConvolutionKernel]]
PREPARED: tuple[tuple[tuple[type, ...], Prepare], ...] = (
    ((layers.DepthwiseConv1D, layers.DepthwiseConv2D), _depthwise),
    ((layers.SeparableConv1D, layers.SeparableConv2D), _separable),
    ((layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose), _transposed),
    ((layers.Conv1D, layers.Conv2D, layers.Conv3D), _plain),
    ((layers.ConvLSTM1D, layers.ConvLSTM2D, layers.ConvLSTM3D), _recurrent),
)


def prepared(
    name: str, kernel: np.ndarray, groups: int, pointwise: bool, scale: np.ndarray | None = None
) -> ConvolutionKernel:
    """A kernel (k1, ..., F1, F2) ready to be measured.

    Args:
        name: of the row.
        kernel: filters last.
        groups: of the convolution.
        pointwise: measure 1x1 kernels as vectors.
        scale: (F2,), of the batch norm that follows.
    """
    shape = kernel.shape
    if shape[-1] // groups < 2:
        why = "one filter" if groups == 1 else "one filter a group"
        return ConvolutionKernel(name, shape, reason=f"{why}: nothing to compare")
    vector = math.prod(shape[:-2]) == 1
    if vector and (not pointwise or shape[-2] < 2):
        return ConvolutionKernel(name, shape, reason=POINTWISE)
    kernel, reason = _folded(kernel, scale)
    if reason is not None:
        return ConvolutionKernel(name, shape, reason=reason)
    if vector:
        kernel = as_vectors(kernel)
    return ConvolutionKernel(
        name,
        shape,
        tuple(np.split(kernel, groups, axis=-1)),
        pointwise=vector,
        folded=scale is not None,
    )


def depthwise(
    name: str, kernel: np.ndarray, pointwise: bool, scale: np.ndarray | None = None
) -> ConvolutionKernel:
    """A depthwise kernel (k1, ..., C, D): the D kernels that read one channel are a group."""
    shape = kernel.shape
    if shape[-1] < 2:
        return ConvolutionKernel(name, shape, reason=CHANNEL_OWN)
    if math.prod(shape[:-2]) == 1:
        return ConvolutionKernel(name, shape, reason=POINTWISE)
    kernel, reason = _folded(kernel, None if scale is None else scale.reshape(shape[-2:]))
    if reason is not None:
        return ConvolutionKernel(name, shape, reason=reason)
    groups = tuple(np.split(kernel, shape[-2], axis=-2))
    return ConvolutionKernel(name, shape, groups, folded=scale is not None)


def recurrent(
    name: str, kernel: np.ndarray, inner: np.ndarray, pointwise: bool
) -> ConvolutionKernel:
    """The kernels of a ConvLSTM, (k1, ..., in, 4 f) and (k1, ..., f, 4 f).

    One filter is one hidden channel. Its slices are those of its four gates, over the channels of
    the input and of the hidden state.
    """

    def by_gate(part: np.ndarray) -> np.ndarray:
        return part.reshape(*part.shape[:-2], part.shape[-2] * GATES, part.shape[-1] // GATES)

    together = np.concatenate([by_gate(kernel), by_gate(inner)], axis=-2)
    return replace(prepared(name, together, 1, pointwise), shape=kernel.shape)


def _folded(kernel: np.ndarray, scale: np.ndarray | None) -> tuple[np.ndarray, str | None]:
    if not np.isfinite(kernel).all():
        return kernel, NOT_FINITE
    if scale is None:
        return kernel, None
    folded = kernel * scale
    return folded, None if np.isfinite(folded).all() else NORM_NOT_FINITE


def _unknown(layer: Any, path: str) -> Iterator[ConvolutionKernel]:
    """A layer of the user's own with a kernel that may be a convolution's: listed, not measured."""
    if type(layer).__module__.split(".")[0] == "keras":
        return
    for weight in getattr(layer, "_trainable_variables", ()):
        if len(weight.shape) >= 4 or (len(weight.shape) == 3 and weight.name == "kernel"):
            reason = f"{weight.name} of {type(layer).__name__}: a layer of unknown kind"
            yield ConvolutionKernel(f"{path}/{weight.name}", tuple(weight.shape), reason=reason)


def _weights(kernel: Any) -> np.ndarray:
    # A layer with LoRA gives the sum, which is no variable.
    value = kernel.value if isinstance(kernel, keras.Variable) else kernel
    return np.asarray(keras.ops.convert_to_numpy(value), np.float64)
