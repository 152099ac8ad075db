"""The project's own layers."""

from __future__ import annotations

import numpy as np

from ckrm_tf.layers.cam import CAMHead
from ckrm_tf.layers.slim_conv import SlimConv2D
from ckrm_tf.narrowing.atoms import FIXED, Ids, Label
from ckrm_tf.narrowing.call import Call
from ckrm_tf.narrowing.rules.base import channel_rule
from ckrm_tf.narrowing.rules.convolution import equal_blocks, positions


@channel_rule(CAMHead)
def cam_head(call: Call) -> list[Label]:
    """A pointwise kernel (in, classes), then a mean; the sum keeps the divisor it had."""
    layer = call.layer
    ids = call.only(-1)
    classes = call.new(layer.classes)
    call.read(layer.kernel, 0, ids)
    call.use(layer.kernel, 1, classes)
    call.use(layer.bias, 0, classes)
    call.sets("classes", classes)
    call.sets("divisor", ids, lambda alive: layer.depth)
    inner = layer.kernel.shape[0] if ids is None else ids
    call.macs(positions(call.shapes[0], 3), inner, classes)
    return [[None, classes], [None, None, None, classes]]


@channel_rule(SlimConv2D)
def slim(call: Call) -> list[Label]:
    """Two folded branches with weights (arXiv 2003.07469, Fig. 2).

    Channels whose numbers agree modulo the fold width are added, so they go together; channel c is
    weighed by the weight of c in one branch and of C - 1 - c in the other, so these do too.
    """
    layer = call.layer
    ids = call.only(3)
    top_kernel, bottom_kernel = layer.conv_top.kernel, layer.conv_bottom.kernel
    width = layer.width
    folded = _folded(call, ids, width)
    squeezed = call.new(layer.weigh_squeeze.filters, "squeeze")
    top = call.new(layer.conv_top.filters, "top")
    reduced = call.new(layer.conv_reduce.filters, "reduce")
    bottom = call.new(layer.conv_bottom.filters, "bottom")
    upper_in = _blocks(call, folded, top, layer.conv_top.groups)
    lower_in = _blocks(call, reduced, bottom, layer.conv_bottom.groups)
    for kernel, into, out in (
        (layer.weigh_squeeze.kernel, ids, squeezed),
        (layer.weigh_excite.kernel, squeezed, ids),
        (top_kernel, upper_in, top),
        (layer.conv_reduce.kernel, folded, reduced),
        (bottom_kernel, lower_in, bottom),
    ):
        call.use(kernel, -2, into)
        call.use(kernel, -1, out)
    call.use(layer.weigh_excite.bias, 0, ids)
    for norm, made in (
        (layer.weigh_squeeze_bn, squeezed),
        (layer.conv_top_bn, top),
        (layer.conv_reduce_bn, reduced),
        (layer.conv_bottom_bn, bottom),
    ):
        for variable in (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance):
            call.use(variable, 0, made)
    inner = [squeezed, np.full(width, FIXED) if folded is None else folded, top, reduced, bottom]
    ends = np.cumsum([len(part) for part in inner])[:-1]
    call.sets(
        "shape",
        np.concatenate(inner),
        lambda alive: [int(part.sum()) for part in np.split(alive, ends)],
    )
    channels = call.shapes[0][-1] or 0
    before, after = positions(call.shapes[0], 3), positions(call.out_shapes[0], 3)
    for _ in range(2):
        call.macs(channels if ids is None else ids, squeezed)
    taps = 9 * after
    call.macs(taps, top_kernel.shape[-2] if upper_in is None else upper_in, top)
    call.macs(before, width if folded is None else folded, reduced)
    call.macs(taps, bottom_kernel.shape[-2] if lower_in is None else lower_in, bottom)
    return call.result(np.concatenate([top, bottom]))


def _folded(call: Call, ids: Ids | None, width: int) -> Ids | None:
    """The channels after folding, once those that go together are tied."""
    if ids is None:
        return None
    for start in range(width, len(ids), width):
        chunk = ids[start : start + width]
        call.tie(ids[: len(chunk)], chunk)
    call.tie(ids, ids[::-1])
    return ids[:width]


def _blocks(call: Call, into: Ids | None, out: Ids, groups: int) -> Ids | None:
    """The channels that a filter reads, in and out tied over the groups."""
    if groups > 1:
        equal_blocks(call, out, groups)
        if into is not None:
            equal_blocks(call, into, groups)
    return None if into is None else into[: len(into) // groups]
