"""Convolutions of every kind."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from keras import layers, ops

from ckrm_tf.narrowing.atoms import Ids, Label
from ckrm_tf.narrowing.call import Call, NoRuleError, Shape
from ckrm_tf.narrowing.rules.activation import activated
from ckrm_tf.narrowing.rules.base import channel_rule


def channel_axis(layer: Any, rank: int) -> int:
    """The axis of a layer's channels, by its data format."""
    return 1 if getattr(layer, "data_format", "channels_last") == "channels_first" else rank - 1


def positions(shape: Shape, axis: int) -> int:
    """The number of places of a map; a side that is not known counts as one."""
    return math.prod(s or 1 for i, s in enumerate(shape) if i not in (0, axis))


def equal_blocks(call: Call, ids: Ids, groups: int) -> Ids:
    """Tie position p of every block to position p of the first: counts stay equal in all."""
    blocks = ids.reshape(groups, -1)
    for block in blocks[1:]:
        call.tie(blocks[0], block)
    return blocks[0]


def check_plain(layer: Any) -> None:
    """Refuse kernels that are not plain variables."""
    if getattr(layer, "lora_enabled", False):
        raise NoRuleError("LoRA is enabled; merge it into the kernel first")
    if getattr(layer, "quantization_mode", None):
        raise NoRuleError("the kernel is quantised")


@channel_rule(layers.Conv1D, layers.Conv2D, layers.Conv3D)
def convolution(call: Call) -> list[Label]:
    """Kernel (..., in / groups, out): reads channels, makes channels."""
    layer = call.layer
    check_plain(layer)
    axis = channel_axis(layer, len(call.shapes[0]))
    ids = call.only(axis)
    inside = layer.kernel.shape[-2]
    if layer.groups > 1 and inside == 1:
        return _channelwise(call, axis, ids)
    made = call.new(layer.filters)
    if layer.groups > 1:
        equal_blocks(call, made, layer.groups)
        if ids is not None:
            equal_blocks(call, ids, layer.groups)
    call.read(layer.kernel, -2, ids, along=axis, groups=layer.groups, bias=layer.bias)
    call.use(layer.kernel, -1, made)
    call.use(layer.bias, 0, made)
    call.sets("filters", made)
    taps = math.prod(layer.kernel.shape[:-2]) * positions(call.out_shapes[0], axis)
    inner = inside if ids is None else ids[:inside]
    call.macs(taps, inner, made)
    return call.result(activated(call, made), axis)


def _channelwise(call: Call, axis: int, ids: Ids | None) -> list[Label]:
    """A convolution with as many groups as channels: each channel has filters of its own."""
    layer = call.layer
    multiplier = layer.filters // layer.groups
    made = None if ids is None else np.repeat(ids, multiplier)
    call.use(layer.kernel, -1, made)
    call.use(layer.bias, 0, made)
    call.sets("filters", made)
    call.sets("groups", ids)
    taps = math.prod(layer.kernel.shape[:-1]) * positions(call.out_shapes[0], axis)
    call.macs(taps, layer.filters if made is None else made)
    return call.result(activated(call, made), axis)


@channel_rule(layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
def transposed(call: Call) -> list[Label]:
    """Kernel (..., out, in): the two last axes are the other way round."""
    layer = call.layer
    check_plain(layer)
    axis = channel_axis(layer, len(call.shapes[0]))
    ids = call.only(axis)
    made = call.new(layer.filters)
    call.read(layer.kernel, -1, ids, along=axis, bias=layer.bias)
    call.use(layer.kernel, -2, made)
    call.use(layer.bias, 0, made)
    call.sets("filters", made)
    taps = math.prod(layer.kernel.shape[:-2]) * positions(call.shapes[0], axis)
    call.macs(taps, layer.kernel.shape[-1] if ids is None else ids, made)
    return call.result(activated(call, made), axis)


@channel_rule(layers.DepthwiseConv1D, layers.DepthwiseConv2D)
def depthwise(call: Call) -> list[Label]:
    """Kernel (..., in, multiplier): channel i makes outputs i m to i m + m - 1."""
    layer = call.layer
    axis = channel_axis(layer, len(call.shapes[0]))
    ids = call.only(axis)
    multiplier = layer.depth_multiplier
    made = None if ids is None else np.repeat(ids, multiplier)
    call.use(layer.kernel, -2, ids)
    call.use(layer.bias, 0, made)
    taps = math.prod(layer.kernel.shape[:-2]) * positions(call.out_shapes[0], axis)
    call.macs(taps, layer.kernel.shape[-2] * multiplier if made is None else made)
    return call.result(activated(call, made), axis)


@channel_rule(layers.SeparableConv1D, layers.SeparableConv2D)
def separable(call: Call) -> list[Label]:
    """A depthwise kernel, then a pointwise one that reads what it made."""
    layer = call.layer
    axis = channel_axis(layer, len(call.shapes[0]))
    ids = call.only(axis)
    multiplier = layer.depth_multiplier
    between = None if ids is None else np.repeat(ids, multiplier)
    made = call.new(layer.filters)
    call.use(layer.depthwise_kernel, -2, ids)

    def prepare(x: Any) -> Any:
        return ops.depthwise_conv(
            x,
            ops.cast(layer.depthwise_kernel, x.dtype),
            strides=layer.strides,
            padding="same" if layer.padding == "same" else "valid",
            dilation_rate=layer.dilation_rate,
            data_format=layer.data_format,
        )

    call.read(layer.pointwise_kernel, -2, between, along=axis, bias=layer.bias, prepare=prepare)
    call.use(layer.pointwise_kernel, -1, made)
    call.use(layer.bias, 0, made)
    call.sets("filters", made)
    places = positions(call.out_shapes[0], axis)
    inner = layer.pointwise_kernel.shape[-2] if between is None else between
    call.macs(math.prod(layer.depthwise_kernel.shape[:-2]) * places, inner)
    call.macs(places, inner, made)
    return call.result(activated(call, made), axis)
