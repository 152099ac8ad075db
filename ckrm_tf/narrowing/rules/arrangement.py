"""Channels that are repeated, turned, or exchanged with places."""

from __future__ import annotations

import numpy as np

from ckrm_tf.narrowing.atoms import Label
from ckrm_tf.narrowing.call import Call, NoRuleError
from ckrm_tf.narrowing.rules.base import op_rule


@op_rule("Tile")
def tile(call: Call) -> list[Label]:
    """All of an axis several times; axes that the tensor lacks stand before it."""
    times = call.layer.repeats
    rank = len(call.out_shapes[0])
    times = [times] if isinstance(times, int) else list(times)
    times = [1] * (rank - len(times)) + times
    label = [None] * (rank - len(call.labels[0])) + list(call.labels[0])
    return [[None if i is None else np.tile(i, n) for i, n in zip(label, times, strict=True)]]


@op_rule("Roll")
def roll(call: Call) -> list[Label]:
    """Round along an axis. The channels that come round must not change with those that go."""
    axis, shift = call.layer.axis, call.layer.shift
    if not isinstance(axis, int):
        raise NoRuleError("several axes are turned, or none is given")
    ids = call.labels[0][axis]
    if ids is not None:
        if not isinstance(shift, int):
            raise NoRuleError("several shifts are given")
        # Of the channels that stay, as many as lived among the last `shift` come round.
        last = shift % len(ids)
        call.sets("shift", ids, lambda alive: int(alive[len(alive) - last :].sum()))
        return call.result(np.roll(ids, shift), axis)
    return call.same()


def _block(call: Call) -> int:
    if call.layer.data_format == "channels_first":
        raise NoRuleError("channels_first")
    size: int = call.layer.block_size
    return size


@op_rule("DepthToSpace")
def depth_to_space(call: Call) -> list[Label]:
    """Channel (i b + j) C + c goes to place (i, j), channel c: one c stands for b^2 channels."""
    ids = call.only(-1)
    if ids is None:
        return call.same()
    blocks = ids.reshape(_block(call) ** 2, -1)
    for block in blocks[1:]:
        call.tie(blocks[0], block)
    return call.result(blocks[0])


@op_rule("SpaceToDepth")
def space_to_depth(call: Call) -> list[Label]:
    """The other way round: the channels stand side by side, once for each place of a block."""
    ids = call.only(-1)
    return call.same() if ids is None else call.result(np.tile(ids, _block(call) ** 2))
