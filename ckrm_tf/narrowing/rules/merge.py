"""Layers and ops with several inputs: sums, products, concatenation, dot products."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

from ckrm_tf.narrowing.atoms import FIXED, Ids, Label
from ckrm_tf.narrowing.call import Call, NoRuleError, Shape
from ckrm_tf.narrowing.rules.base import RULES, channel_rule, op_rule

Operand = tuple[Label, Shape]


def joined(call: Call, operands: list[Operand]) -> Label:
    """What an elementwise combination of tensors of equal rank carries.

    Along each axis the channels are tied one to one. A tensor of fixed width freezes the others.
    A tensor with one channel is spread over all: its channel stays, the others are free.
    """
    label: Label = []
    for axis in range(len(operands[0][1])):
        sides = [(label_[axis], shape[axis]) for label_, shape in operands]
        label.append(_joined_axis(call, sides))
    return label


def _joined_axis(call: Call, sides: list[tuple[Ids | None, int | None]]) -> Ids | None:
    widest = max((side for _, side in sides if side is not None), default=None)
    full = [(ids, side) for ids, side in sides if side != 1 or widest == 1]
    for ids, side in sides:
        if ids is not None and side == 1 and widest != 1:
            call.freeze(ids, "one channel is spread over all")
    carried = [ids for ids, _ in full if ids is not None]
    if not carried:
        return None
    if len(carried) < len(full):
        for ids in carried:
            call.freeze(ids, "joined to a tensor of fixed width")
        return None
    for ids in carried[1:]:
        call.tie(carried[0], ids)
    return carried[0]


@channel_rule(
    layers.Add,
    layers.Subtract,
    layers.Multiply,
    layers.Average,
    layers.Maximum,
    layers.Minimum,
)
def merge_layer(call: Call) -> list[Label]:
    """Keras's merging layers put the axes that a tensor lacks after the batch axis."""
    rank = max(len(shape) for shape in call.shapes)
    operands: list[Operand] = []
    for label, shape in zip(call.labels, call.shapes, strict=True):
        missing = rank - len(shape)
        operands.append(
            ([*label[:1], *[None] * missing, *label[1:]], (*shape[:1], *[1] * missing, *shape[1:]))
        )
    return [joined(call, operands)]


@op_rule(
    *("Add", "Subtract", "Multiply", "Divide", "TrueDivide", "DivideNoNan", "FloorDivide"),
    *("Maximum", "Minimum", "Fmax", "Fmin", "Power", "Mod", "Arctan2", "Hypot", "Where"),
    *("Equal", "NotEqual", "Greater", "GreaterEqual", "Less", "LessEqual", "LogicalAnd"),
    *("LogicalOr", "LogicalXor", "Logaddexp"),
)
def merge_op(call: Call) -> list[Label]:
    """Ops broadcast from the last axis; constants take part with their own shape."""
    rank = len(call.out_shapes[0])
    place = {id(x): i for i, x in enumerate(call.step.inputs)}
    operands: list[Operand] = []
    for value in (*call.step.args, *call.step.kwargs.values()):
        if isinstance(value, keras.KerasTensor):
            index = place[id(value)]
            label, shape = call.labels[index], call.shapes[index]
        elif value is None or isinstance(value, str):
            continue
        else:
            shape = tuple(np.shape(value))
            label = [None] * len(shape)
        missing = rank - len(shape)
        operands.append(([*[None] * missing, *label], (*[1] * missing, *shape)))
    return [joined(call, operands)]


def scaled_sum(call: Call) -> list[Label]:
    """InceptionResNet's x + scale * y."""
    return [joined(call, list(zip(call.labels, call.shapes, strict=True)))]


def _register_private() -> None:
    try:
        from keras.src.applications.inception_resnet_v2 import (  # noqa: PLC0415
            CustomScaleLayer,
        )
    except ImportError:
        return
    RULES[CustomScaleLayer] = scaled_sum


_register_private()


def concatenated(call: Call, axis: int) -> Label:
    """Channels side by side along `axis`; tied along the other axes."""
    rank = len(call.shapes[0])
    axis %= rank
    label: Label = []
    for a in range(rank):
        sides = [(lab[a], shape[a]) for lab, shape in zip(call.labels, call.shapes, strict=True)]
        if a != axis:
            label.append(_equal_axis(call, sides))
        elif all(ids is None for ids, _ in sides):
            label.append(None)
        elif any(ids is None and side is None for ids, side in sides):
            for ids, _ in sides:
                call.freeze(ids, "a part of unknown size stands beside it")
            label.append(None)
        else:
            parts = [
                np.full(side or 0, FIXED, np.int64) if ids is None else ids for ids, side in sides
            ]
            label.append(np.concatenate(parts))
    return label


def _equal_axis(call: Call, sides: list[tuple[Ids | None, int | None]]) -> Ids | None:
    carried = [ids for ids, _ in sides if ids is not None]
    if carried and len(carried) < len(sides):
        for ids in carried:
            call.freeze(ids, "joined to a tensor of fixed width")
        return None
    for ids in carried[1:]:
        call.tie(carried[0], ids)
    return carried[0] if carried else None


@channel_rule(layers.Concatenate)
def concatenate_layer(call: Call) -> list[Label]:
    """Side by side along its axis."""
    return [concatenated(call, call.layer.axis)]


@op_rule("Concatenate")
def concatenate_op(call: Call) -> list[Label]:
    """As the layer, where every part is a tensor of the graph."""
    given = call.step.args[0] if call.step.args else call.step.kwargs["xs"]
    if len(given) != len(call.labels):
        raise NoRuleError("a part is a constant")
    return [concatenated(call, call.layer.axis)]


@op_rule("Stack")
def stack(call: Call) -> list[Label]:
    """Tensors of one shape along a new axis."""
    rank = len(call.out_shapes[0])
    sides = list(zip(call.labels, call.shapes, strict=True))
    label = [
        _equal_axis(call, [(lab[a], shape[a]) for lab, shape in sides]) for a in range(rank - 1)
    ]
    label.insert(call.layer.axis % rank, None)
    return [label]


def contracted(call: Call, a: Ids | None, b: Ids | None) -> None:
    """Two axes that are multiplied and summed: their channels go together."""
    if (a is None) != (b is None):
        call.freeze(a if b is None else b, "contracted with a tensor of fixed width")
    elif a is not None and b is not None:
        call.tie(a, b)


@channel_rule(layers.Dot)
def dot(call: Call) -> list[Label]:
    """Contracts one axis of each of two tensors."""
    if call.layer.normalize and any(i is not None for lab in call.labels for i in lab):
        raise NoRuleError("the norm changes with the channels")
    axes = call.layer.axes
    x, y = call.labels
    a, b = (axes, axes) if isinstance(axes, int) else axes
    a, b = a % len(x), b % len(y)
    contracted(call, x[a], y[b])
    label = [i for k, i in enumerate(x) if k != a] + [i for k, i in enumerate(y) if k not in (0, b)]
    # Two vectors give one number, kept as an axis of its own.
    return [label if len(label) == len(call.out_shapes[0]) else [None] * len(call.out_shapes[0])]


@op_rule("Matmul")
def matmul(call: Call) -> list[Label]:
    """Contracts the last axis of one tensor with the last but one of the other."""
    if len(call.labels) != 2 or min(len(s) for s in call.shapes) < 2:
        raise NoRuleError("not a product of two batches of matrices")
    x, y = call.labels
    contracted(call, x[-1], y[-2])
    rank = len(call.out_shapes[0])
    heads: list[Operand] = []
    for label, shape in zip(call.labels, call.shapes, strict=True):
        missing = rank - len(shape)
        heads.append(([*[None] * missing, *label[:-2]], (*[1] * missing, *shape[:-2])))
    before: Any = joined(call, heads) if rank > 2 else []
    return [[*before, x[-2], y[-1]]]
