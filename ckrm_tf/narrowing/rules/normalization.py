"""Norms and per-channel scales."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import layers

from ckrm_tf.narrowing.atoms import Label
from ckrm_tf.narrowing.call import Call, NoRuleError
from ckrm_tf.narrowing.rules.base import RULES, channel_rule


@channel_rule(layers.BatchNormalization)
def batch_norm(call: Call) -> list[Label]:
    """Scale, shift and statistics, one a channel."""
    layer = call.layer
    axis = layer.axis % len(call.shapes[0])
    ids = call.labels[0][axis]
    for variable in (layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance):
        call.use(variable, 0, ids)
    return call.same()


def _axes(axis: Any, rank: int) -> list[int]:
    return [a % rank for a in (axis if isinstance(axis, list | tuple) else [axis])]


@channel_rule(layers.LayerNormalization, layers.RMSNormalization)
def layer_norm(call: Call) -> list[Label]:
    """Scale and shift per channel; mean and variance are over the channels that are left."""
    layer = call.layer
    axes = _axes(layer.axis, len(call.shapes[0]))
    for place, axis in enumerate(axes):
        ids = call.labels[0][axis]
        if ids is None:
            continue
        for name in ("gamma", "beta", "scale"):
            variable = getattr(layer, name, None)
            if variable is not None and hasattr(variable, "shape"):
                call.use(variable, place, ids)
        call.trace.inexact.append(call.path)
    return call.same()


@channel_rule(layers.UnitNormalization)
def unit_norm(call: Call) -> list[Label]:
    """The norm is over the channels that are left."""
    if any(call.labels[0][a] is not None for a in _axes(call.layer.axis, len(call.shapes[0]))):
        call.trace.inexact.append(call.path)
    return call.same()


@channel_rule(layers.GroupNormalization)
def group_norm(call: Call) -> list[Label]:
    """Whole groups go, so that the statistics of the others stay; one group: as a layer norm."""
    layer = call.layer
    axis = layer.axis % len(call.shapes[0])
    ids = call.labels[0][axis]
    for variable in (layer.gamma, layer.beta):
        call.use(variable, 0, ids)
    if ids is None:
        return call.same()
    # Keras writes the number of channels in place of -1 when it builds the layer.
    groups = len(ids) if layer.groups == -1 else layer.groups
    if groups == 1:
        call.trace.inexact.append(call.path)
        return call.same()
    blocks = ids.reshape(groups, -1)
    for column in range(1, blocks.shape[1]):
        call.tie(blocks[:, 0], blocks[:, column])
    call.sets("groups", blocks[:, 0].copy())
    return call.same()


@channel_rule(layers.SpectralNormalization)
def spectral_norm(call: Call) -> list[Label]:
    """The wrapped kernel is divided by its norm over all channels."""
    raise NoRuleError("the norm of the whole kernel changes with its channels")


@channel_rule(layers.Rescaling)
def rescaling(call: Call) -> list[Label]:
    """Numbers that are the same for every channel pass; one a channel freezes."""
    if any(np.size(value) > 1 for value in (call.layer.scale, call.layer.offset)):
        raise NoRuleError("it has a constant for each channel")
    return call.same()


@channel_rule(layers.Normalization)
def normalization(call: Call) -> list[Label]:
    """Its statistics are one a channel unless it has no axis."""
    if call.layer.axis not in (None, (), []) and any(i is not None for i in call.labels[0]):
        raise NoRuleError("it has a constant for each channel")
    return call.same()


def layer_scale(call: Call) -> list[Label]:
    """ConvNeXt's gain, one a channel."""
    call.use(call.layer.gamma, -1, call.channels())
    call.sets("projection_dim", call.channels())
    return call.same()


def _register_private() -> None:
    """Layers that live inside keras.applications; where Keras moved them they have no rule."""
    try:
        from keras.src.applications.convnext import LayerScale  # noqa: PLC0415
    except ImportError:
        return
    RULES[LayerScale] = layer_scale


_register_private()
