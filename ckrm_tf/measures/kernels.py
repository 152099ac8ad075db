"""Which kernels of a model can be compared, and why the others cannot."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers

from ckrm_tf.measures.similarity import as_vectors

CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D)
TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)

POINTWISE = (
    "1x1: slices of one value have C = S = 1, so lambda is 1 always; "
    "pointwise=True takes the vector over the input channels as the slice"
)
CHANNEL_OWN = "depthwise: each kernel reads a channel of its own, so no two can be compared"


@dataclass(frozen=True)
class ConvolutionKernel:
    """One convolution of a model, ready to be measured or with the reason why not.

    Attributes:
        name: layer name; layers inside others are named `outer/inner`.
        shape: the kernel as Keras stores it.
        groups: kernels that may be compared with each other, (k1, ..., F1, F2) each; more than
            one for a grouped convolution.
        reason: why it is skipped, or None.
        pointwise: the groups hold vectors over the input channels.
    """

    name: str
    shape: tuple[int, ...]
    groups: tuple[np.ndarray, ...] = ()
    reason: str | None = None
    pointwise: bool = False


def model_kernels(model: keras.Model, *, pointwise: bool = False) -> Iterator[ConvolutionKernel]:
    """Every convolution of a built model in order, also inside nested models and layers.

    Args:
        model: any built Keras model.
        pointwise: measure 1x1 convolutions too, by the vector over their input channels.
    """
    for path, layer in _walk(model, ""):
        if not layer.built and isinstance(layer, (*CONVOLUTIONS, *TRANSPOSED)):
            yield ConvolutionKernel(path, (), reason="not built: it has no weights yet")
        elif isinstance(layer, DEPTHWISE):
            yield ConvolutionKernel(path, tuple(layer.kernel.shape), reason=CHANNEL_OWN)
        elif isinstance(layer, SEPARABLE):
            shape = tuple(layer.depthwise_kernel.shape)
            yield ConvolutionKernel(f"{path}/depthwise", shape, reason=CHANNEL_OWN)
            yield _prepare(f"{path}/pointwise", _weights(layer.pointwise_kernel), 1, pointwise)
        elif isinstance(layer, TRANSPOSED):
            # Keras stores (k, out, in) here; the measure wants filters last.
            yield _prepare(path, np.swapaxes(_weights(layer.kernel), -1, -2), 1, pointwise)
        elif isinstance(layer, CONVOLUTIONS):
            yield _prepare(path, _weights(layer.kernel), layer.groups, pointwise)


def comparable_kernels(model: keras.Model) -> list[ConvolutionKernel]:
    """Every convolution whose kernels can be compared, 1x1 ones by their vectors, in order."""
    return [k for k in model_kernels(model, pointwise=True) if k.reason is None]


def _weights(variable: keras.Variable) -> np.ndarray:
    return np.asarray(variable.numpy())


def _walk(layer: keras.Layer, path: str) -> Iterator[tuple[str, keras.Layer]]:
    for inner in layer._flatten_layers(include_self=False, recursive=False):
        name = f"{path}/{inner.name}" if path else inner.name
        yield name, inner
        yield from _walk(inner, name)


def _prepare(name: str, kernel: np.ndarray, groups: int, pointwise: bool) -> ConvolutionKernel:
    shape = kernel.shape
    if shape[-1] // groups < 2:
        why = "one filter" if groups == 1 else "one filter a group"
        return ConvolutionKernel(name, shape, reason=f"{why}: nothing to compare")
    vector = math.prod(shape[:-2]) == 1
    if vector:
        if not pointwise or shape[-2] < 2:
            return ConvolutionKernel(name, shape, reason=POINTWISE)
        kernel = as_vectors(kernel)
    return ConvolutionKernel(
        name, shape, tuple(np.split(kernel, groups, axis=-1)), pointwise=vector
    )
