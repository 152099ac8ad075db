"""The cost of the pieces that families are made of. Pure."""

from __future__ import annotations

from ckrm_tf.design.cost import Cost
from ckrm_tf.layers.slim_shape import check_groups


def conv_bn_cost(
    size: tuple[int, int],
    channels: int,
    filters: int,
    kernel: int,
    *,
    bias: bool,
    groups: int = 1,
) -> Cost:
    """A convolution whose output is `size` (height, width), and the batch norm after it."""
    check_groups(channels, groups)
    check_groups(filters, groups)
    weights = kernel * kernel * channels * filters // groups
    return Cost(
        params=weights + (filters if bias else 0) + 2 * filters,
        statistics=2 * filters,
        macs=weights * size[0] * size[1],
    )


def downsampled(size: tuple[int, int], stride: int) -> tuple[int, int]:
    """The size after a strided convolution with "same" padding."""
    return -(-size[0] // stride), -(-size[1] // stride)
