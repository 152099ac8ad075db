"""Movement of data: executed on the channels themselves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from keras import layers

from ckrm_tf.narrowing.atoms import Ids, Label
from ckrm_tf.narrowing.call import Call, NoRuleError, Shape
from ckrm_tf.narrowing.rules.base import channel_rule, op_rule


def reshaped(call: Call, label: Label, before: Sequence[int | None], after: Shape) -> Label:
    """What each axis of a reshaped tensor carries.

    The channels along an axis are spread over the whole tensor, the tensor is reshaped, and the
    axes along which they still vary are found. A tensor must stay a rectangle: where they vary
    along several, those of all but the last are tied.
    """
    sides, target = ([1 if s is None else s for s in shape] for shape in (before, after))
    found: Label = [None] * len(after)
    for axis, ids in enumerate(label):
        if ids is None:
            continue
        if np.prod(sides) != np.prod(target):
            raise NoRuleError("sides of unknown size are mixed with channels")
        shape = [1] * len(sides)
        shape[axis] = len(ids)
        full = np.broadcast_to(call.trace.atoms.roots(ids).reshape(shape), sides).reshape(target)
        varying = [a for a in range(len(target)) if np.any(full != full.take([0], axis=a))]
        if not varying:
            continue
        last = varying[-1]
        index = tuple(slice(None) if a == last else slice(0, 1) for a in range(len(target)))
        base = full[index]
        if len(varying) > 1:
            call.tie(np.broadcast_to(base, full.shape), full)
        if found[last] is not None:
            raise NoRuleError("two axes of channels fall into one")
        found[last] = base.reshape(-1).copy()
    return found


@channel_rule(layers.Flatten)
def flatten(call: Call) -> list[Label]:
    """Everything behind the batch axis in one row; channels_first are moved to the end before."""
    label, shape = list(call.labels[0]), list(call.shapes[0])
    if call.layer.data_format == "channels_first" and len(shape) > 2:
        label = [label[0], *label[2:], label[1]]
        shape = [shape[0], *shape[2:], shape[1]]
    return [reshaped(call, label, shape, call.out_shapes[0])]


@channel_rule(layers.Reshape)
def reshape_layer(call: Call) -> list[Label]:
    """The target shape leaves the batch axis out."""
    found = reshaped(call, call.labels[0], call.shapes[0], call.out_shapes[0])
    for place, side in enumerate(call.layer.target_shape):
        if side != -1:
            call.sets(("target_shape", place), found[place + 1])
    return [found]


@op_rule("Reshape")
def reshape_op(call: Call) -> list[Label]:
    """The new shape includes the batch axis."""
    found = reshaped(call, call.labels[0], call.shapes[0], call.out_shapes[0])
    shape = call.layer.newshape
    for place, side in enumerate(shape if isinstance(shape, list | tuple) else [shape]):
        if side not in (-1, None):
            call.sets(("newshape", place), found[place])
    return [found]


def permuted(call: Call, order: Sequence[int]) -> list[Label]:
    """Axes in another order."""
    return [[call.labels[0][a] for a in order]]


@channel_rule(layers.Permute)
def permute(call: Call) -> list[Label]:
    """The dims count from 1 and leave the batch axis out."""
    return permuted(call, (0, *call.layer.dims))


@op_rule("Transpose")
def transpose(call: Call) -> list[Label]:
    """All axes, the batch axis included."""
    rank = len(call.shapes[0])
    axes = call.layer.axes
    return permuted(call, range(rank)[::-1] if axes is None else [a % rank for a in axes])


@op_rule("Swapaxes")
def swapaxes(call: Call) -> list[Label]:
    """Two axes change places."""
    order = list(range(len(call.shapes[0])))
    a, b = call.layer.axis1, call.layer.axis2
    order[a], order[b] = order[b], order[a]
    return permuted(call, order)


@op_rule("Moveaxis")
def moveaxis(call: Call) -> list[Label]:
    """As numpy does it."""
    rank = len(call.shapes[0])
    moved = np.moveaxis(np.empty(range(1, rank + 1)), call.layer.source, call.layer.destination)
    return permuted(call, [side - 1 for side in moved.shape])


@op_rule("ExpandDims")
def expand_dims(call: Call) -> list[Label]:
    """One axis more."""
    label = list(call.labels[0])
    axes = call.layer.axis
    rank = len(call.out_shapes[0])
    for axis in sorted(a % rank for a in (axes if isinstance(axes, list | tuple) else [axes])):
        label.insert(axis, None)
    return [label]


@op_rule("Squeeze")
def squeeze(call: Call) -> list[Label]:
    """Axes of size one go; a channel axis of size one stays what it is."""
    axes = call.layer.axis
    shape = call.shapes[0]
    rank = len(shape)
    if axes is None:
        gone = {a for a, side in enumerate(shape) if side == 1}
    else:
        gone = {a % rank for a in (axes if isinstance(axes, list | tuple) else [axes])}
    for axis in gone:
        call.freeze(call.labels[0][axis], "its axis is dropped")
    return [[ids for a, ids in enumerate(call.labels[0]) if a not in gone]]


@channel_rule(layers.RepeatVector)
def repeat_vector(call: Call) -> list[Label]:
    """(batch, n) becomes (batch, times, n)."""
    return [[None, None, call.channels()]]


@op_rule("Repeat")
def repeat(call: Call) -> list[Label]:
    """Each entry several times along an axis."""
    axis, times = call.layer.axis, call.layer.repeats
    if axis is None or not isinstance(times, int):
        raise NoRuleError("repeats differ or no axis is given")
    label = list(call.labels[0])
    ids = label[axis]
    label[axis] = None if ids is None else np.repeat(ids, times)
    return [label]


@op_rule("Flip")
def flip(call: Call) -> list[Label]:
    """The other way round along an axis."""
    axis = call.layer.axis
    label = list(call.labels[0])
    axes = range(len(label)) if axis is None else axis if isinstance(axis, list | tuple) else [axis]
    for a in axes:
        ids = label[a]
        label[a] = None if ids is None else ids[::-1].copy()
    return [label]


@op_rule("Split")
def split(call: Call) -> list[Label]:
    """Parts along an axis; where channels are split, the points follow the living ones."""
    layer = call.layer
    axis = layer.axis % len(call.shapes[0])
    ids = call.labels[0][axis]
    if ids is None:
        return call.same()
    sections = layer.indices_or_sections
    if isinstance(sections, int):
        points = [len(ids) // sections * k for k in range(1, sections)]
    else:
        points = list(sections)
    call.sets("indices_or_sections", ids, lambda alive: tuple(int(alive[:p].sum()) for p in points))
    found = []
    for part in np.split(ids, points):
        label = list(call.labels[0])
        label[axis] = part
        found.append(label)
    return found


@op_rule("GetItem")
def get_item(call: Call) -> list[Label]:
    """Slices, single places, new axes. A slice of channels follows the living ones."""
    key = call.step.args[1] if len(call.step.args) > 1 else call.step.kwargs["key"]
    if len(call.step.args) < 2:
        raise NoRuleError("the key is given by name")
    single = not isinstance(key, list | tuple)
    parts = [key] if single else list(key)
    rank = len(call.shapes[0])
    used = sum(part is not None and part is not Ellipsis for part in parts)
    label: Label = []
    axis = 0
    for place, part in enumerate(parts):
        if part is None:
            label.append(None)
        elif part is Ellipsis:
            label.extend(call.labels[0][axis : axis + rank - used])
            axis += rank - used
        else:
            kept = _taken(call, part, axis, (0, 1) if single else (0, 1, place))
            if isinstance(part, slice):
                label.append(kept)
            axis += 1
    return [[*label, *call.labels[0][axis:]]]


def _taken(call: Call, part: object, axis: int, path: tuple[int, ...]) -> Ids | None:
    """The channels that one entry of a key takes along an axis."""
    ids = call.labels[0][axis]
    if ids is None or part == slice(None):
        return ids
    if not isinstance(part, slice):
        call.freeze(ids, "one channel is picked by its number")
        return None
    start, stop, step = part.indices(len(ids))
    if step != 1 or stop < start:
        raise NoRuleError("channels are taken by steps")
    call.sets(
        path,
        ids,
        lambda alive: slice(int(alive[:start].sum()), int(alive[:stop].sum()), part.step),
        call=True,
    )
    return ids[start:stop]


@op_rule("Pad")
def pad(call: Call) -> list[Label]:
    """Places are added. Channels of a constant are channels of their own that may go."""
    layer = call.layer
    widths = list(layer.pad_width)
    rank = len(call.shapes[0])
    if len(widths) == 1:
        widths = widths * rank
    label = list(call.labels[0])
    for axis, (before, after) in enumerate(widths):
        ids = label[axis]
        if ids is None or before == after == 0:
            continue
        if layer.mode != "constant" or len(layer.pad_width) == 1:
            raise NoRuleError("channels are padded with others")
        made = call.new(before + after, f"axis{axis}" if axis != rank - 1 else "")
        first, last = made[:before], made[before:]
        for place, part in ((0, first), (1, last)):
            if len(part):
                call.sets(("pad_width", axis, place), part)
        label[axis] = np.concatenate([first, ids, last])
    return [label]


@op_rule(*("Mean", "Sum", "Max", "Min", "Amax", "Amin", "Var", "Std", "Prod", "Any", "All"))
def reduce(call: Call) -> list[Label]:
    """Places may be reduced; a reduction over channels freezes them."""
    rank = len(call.shapes[0])
    axes = call.layer.axis
    if axes is None:
        axes = range(rank)
    gone = {a % rank for a in (axes if isinstance(axes, list | tuple | range) else [axes])}
    keep = getattr(call.layer, "keepdims", False)
    label: Label = []
    for axis, ids in enumerate(call.labels[0]):
        if axis not in gone:
            label.append(ids)
            continue
        call.freeze(ids, "a number over all channels is taken")
        if keep:
            label.append(None)
    return [label]
