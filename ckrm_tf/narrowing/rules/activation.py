"""Activations: channel by channel, or mixing channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

from ckrm_tf.narrowing import keras_graph
from ckrm_tf.narrowing.atoms import Ids, Label
from ckrm_tf.narrowing.call import Call, NoRuleError
from ckrm_tf.narrowing.rules.base import channel_rule, op_rule

MIXING = ("softmax", "log_softmax", "sparsemax", "glu")


def why_mixed(activation: Any) -> str | None:
    """Why an activation is not known to work on each channel alone; None where it is."""
    if activation is None:
        return None
    name = getattr(activation, "__name__", type(activation).__name__)
    # By the object: a function of the user's own may bear a known name.
    known = getattr(keras.activations, name, None) is activation
    if not known and isinstance(activation, layers.Layer):
        known = type(activation) in (layers.ReLU, layers.LeakyReLU, layers.ELU)
    if not known:
        return f"the activation {name} is not one of Keras's"
    return f"the activation {name} mixes channels" if name in MIXING else None


def activated(call: Call, made: Ids | None, others: Sequence[Ids | None] = ()) -> Ids | None:
    """The channels that leave a layer with an activation of its own.

    One that mixes them freezes what the layer makes, not what it reads: a classifier with a softmax
    leaves the features before it free. One that is not known freezes the `others` too.
    """
    reason = why_mixed(call.layer.activation)
    if reason is None:
        return made
    for ids in (made, *others):
        call.freeze(ids, reason)
    return None


@channel_rule(layers.Activation)
def activation(call: Call) -> list[Label]:
    """By the function it applies; softmax and the like work along the last axis."""
    function = call.layer.activation
    name = getattr(function, "__name__", "")
    if name in MIXING and name != "glu" and getattr(keras.activations, name, None) is function:
        call.freeze(call.channels(-1), f"{name} mixes channels")
        return call.result(None) if call.channels(-1) is not None else call.same()
    reason = why_mixed(function)
    if reason is not None:
        raise NoRuleError(reason)
    return call.same()


@channel_rule(
    layers.ReLU,
    layers.LeakyReLU,
    layers.ELU,
    *keras_graph.IDLE,
    layers.ActivityRegularization,
)
def through(call: Call) -> list[Label]:
    """Each channel alone; a noise shape that names a count of channels is refused."""
    shape = getattr(call.layer, "noise_shape", None)
    if shape is not None:
        for axis, ids in enumerate(call.labels[0]):
            if ids is not None and axis < len(shape) and shape[axis] not in (None, 1):
                raise NoRuleError("noise_shape names a number of channels")
    return call.same()


@channel_rule(layers.Masking)
def masking(call: Call) -> list[Label]:
    """A place is passed over where all its channels have one value: none may go."""
    call.freeze(call.channels(), "a place is masked by all its channels")
    return call.result(None)


@channel_rule(layers.Softmax)
def softmax(call: Call) -> list[Label]:
    """Mixes what lies along its axis."""
    axes = call.layer.axis
    label = list(call.labels[0])
    for axis in axes if isinstance(axes, list | tuple) else [axes]:
        call.freeze(label[axis], "softmax mixes channels")
        label[axis] = None
    return [label]


@channel_rule(layers.PReLU)
def prelu(call: Call) -> list[Label]:
    """One slope a channel, unless the axis is shared."""
    for axis, ids in enumerate(call.labels[0]):
        if ids is not None and call.layer.alpha.shape[axis - 1] != 1:
            call.use(call.layer.alpha, axis - 1, ids)
    return call.same()


@op_rule(
    *("Relu", "Relu6", "Sigmoid", "SparseSigmoid", "Softplus", "Softsign", "SoftShrink"),
    *("SparsePlus", "Silu", "Squareplus", "LogSigmoid", "LeakyRelu", "HardSigmoid", "HardSilu"),
    *("Elu", "Selu", "Gelu", "Celu", "TanhShrink", "HardTanh", "HardShrink", "Threshold"),
    *("Absolute", "Abs", "Ceil", "Clip", "Cos", "Cosh", "Exp", "Exp2", "Expm1", "Floor", "Log"),
    *("Log10", "Log1p", "Log2", "Negative", "Reciprocal", "Round", "Sign", "Sin", "Sinh", "Sqrt"),
    *("Square", "Tan", "Tanh", "Trunc", "Rsqrt", "Erf", "Erfc", "Cast", "StopGradient", "Copy"),
    *("NanToNum", "Arctan", "Arcsinh", "Cbrt", "Isfinite", "Isnan", "Isinf"),
    *("OnesLike", "ZerosLike", "LogicalNot"),
)
def unary(call: Call) -> list[Label]:
    """Each element alone."""
    if len(call.labels) != 1:
        raise NoRuleError("an argument is a tensor")
    for bound in ("x_min", "x_max"):
        if np.size(getattr(call.layer, bound, 0)) > 1:
            raise NoRuleError("it has a constant for each channel")
    return call.same()


@op_rule("Softmax", "LogSoftmax", "Sparsemax")
def mixing(call: Call) -> list[Label]:
    """Mixes what lies along its axis."""
    label = list(call.labels[0])
    axis = getattr(call.layer, "axis", -1)
    axes = range(len(label)) if axis is None else axis if isinstance(axis, list | tuple) else [axis]
    for a in axes:
        call.freeze(label[a], "softmax mixes channels")
        label[a] = None
    return [label]
