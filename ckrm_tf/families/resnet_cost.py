"""Parameters and multiply-accumulates of a network by arithmetic, block by block.

Mirrors `ckrm_tf.families.resnet_model`: whoever changes a block there changes its cost here, and
the tests compare the two on random widths.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckrm_tf.design.cost import Cost
from ckrm_tf.errors import CKRMError
from ckrm_tf.families.arithmetic import conv_bn_cost, downsampled
from ckrm_tf.families.layout import Layout
from ckrm_tf.layers.slim_shape import slim_shape

if TYPE_CHECKING:
    from ckrm_tf.families.widths import Stage, Widths


def slim_cost(
    size: tuple[int, int], channels: int, stride: int, layout: Layout
) -> tuple[Cost, int]:
    """A `SlimConv2D` on an input of `size` (height, width): its cost and its output channels."""
    shape = slim_shape(channels, layout.ratio, layout.groups, layout.bottom_groups)
    after = downsampled(size, stride)
    cost = conv_bn_cost((1, 1), channels, shape.squeeze, 1, bias=False)
    excite = shape.squeeze * channels
    cost += Cost(params=excite + channels, macs=excite)
    cost += conv_bn_cost(after, shape.top, shape.top, 3, bias=False, groups=shape.groups)
    cost += conv_bn_cost(size, shape.top, shape.bottom, 1, bias=False)
    cost += conv_bn_cost(
        after, shape.bottom, shape.bottom, 3, bias=False, groups=shape.bottom_groups
    )
    return cost, shape.output


def middle_cost(
    size: tuple[int, int], channels: int, stride: int, layout: Layout
) -> tuple[Cost, int]:
    """The 3x3 of a bottleneck on an input of `size`: its cost and its output channels."""
    if layout.conv == "slim":
        return slim_cost(size, channels, stride, layout)
    after = downsampled(size, stride)
    cost = conv_bn_cost(after, channels, channels, 3, bias=layout.bias, groups=layout.groups)
    return cost, channels


def block_cost(
    size: tuple[int, int], channels: int, stage: Stage, stride: int, layout: Layout, *, first: bool
) -> Cost:
    """One bottleneck on an input of `size` and `channels`; the first of a stage projects."""
    after = downsampled(size, stride)
    inner, rest = (after, 1) if layout.stride_conv == 1 else (size, stride)
    cost = conv_bn_cost(inner, channels, stage.mid, 1, bias=layout.bias)
    middle, filters = middle_cost(inner, stage.mid, rest, layout)
    cost += middle + conv_bn_cost(after, filters, stage.out, 1, bias=layout.bias)
    if first:
        cost += conv_bn_cost(after, channels, stage.out, 1, bias=layout.bias)
    return cost


def check_input(input_shape: tuple[int, int, int], classes: int, widths: Widths) -> None:
    """Refuse an input that the network's strides would reduce to nothing, or one class."""
    listed = isinstance(input_shape, tuple | list) and len(input_shape) == 3
    if not listed or not all(isinstance(side, int) and side > 0 for side in input_shape):
        raise CKRMError(
            "input_shape",
            expected="(height, width, channels), each at least 1",
            received=input_shape,
        )
    stages = max((n for n, stage in enumerate(widths.stages, start=1) if stage.blocks), default=0)
    smallest = 2**stages
    if min(input_shape[:2]) < smallest:
        raise CKRMError(
            "image size too small for the network",
            expected=f"sides of at least {smallest} pixels ({stages} stages)",
            received=f"{input_shape[0]}x{input_shape[1]}",
        )
    if not isinstance(classes, int) or classes < 2:
        raise CKRMError("classes", expected="at least 2", received=classes)


def network_cost(
    widths: Widths, input_shape: tuple[int, int, int], classes: int, layout: Layout
) -> Cost:
    """The whole network: stem, stages, dense head.

    A CAM head has the same parameters, and its logits need no more multiply-accumulates: they are
    linear, so the mean may be taken before the weights.

    Raises:
        CKRMError: for an input, classes or groups the network cannot be built with.
    """
    check_input(input_shape, classes, widths)
    height, width, channels = input_shape
    size = downsampled((height, width), 2)
    cost = conv_bn_cost(size, channels, widths.stem, 7, bias=layout.bias)
    if layout.pool:
        size = downsampled(size, 2)
    channels = widths.stem
    strides = layout.strides([stage.blocks for stage in widths.stages])
    for stage, stride in zip(widths.stages, strides, strict=True):
        for block in range(stage.blocks):
            first = block == 0
            cost += block_cost(size, channels, stage, stride if first else 1, layout, first=first)
            if first:
                size = downsampled(size, stride)
            channels = stage.out
    head = Cost(params=(channels + 1) * classes, macs=channels * classes)
    return cost + head
