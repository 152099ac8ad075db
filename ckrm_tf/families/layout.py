"""What surrounds the widths: strides, pooling, biases and the kind of 3x3 convolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ckrm_tf.errors import CKRMError
from ckrm_tf.layers.slim_shape import check_groups, fold_count

Convolution = Literal["plain", "slim"]


@dataclass(frozen=True, slots=True)
class Layout:
    """The fixed part of a bottleneck ResNet. The defaults are the CKRM paper's network.

    Attributes:
        pool: a 3x3/2 max-pool after the stem.
        first_stride: stride of the first stage (2 without the pool, 1 with it).
        stride_conv: which convolution of a stage's first block has the stride: 1 (the first 1x1,
            as the CKRM authors) or 2 (the 3x3, as torchvision's "v1.5").
        bias: a bias in every plain convolution, although batch norm follows.
        conv: the kind of 3x3 convolution: "plain", or "slim" (SlimConv, arXiv 2003.07469).
        ratio: SlimConv's k = channels in / channels out; unused by "plain".
        groups: groups of the 3x3 convolution (32 for ResNeXt).
        bottom_groups: groups of SlimConv's lower 3x3; by default as many of `groups` as divide
            its channels. The published SC-ResNeXt-101 32x3d has 16.

    Example:
        >>> from ckrm_tf import Layout, Widths
        >>> widths = Widths.standard()
        >>> widths.params((224, 224, 3), 1000, Layout.torchvision())  # torchvision's ResNet-50
        25557032
        >>> widths.params((224, 224, 3), 1000, Layout.torchvision(conv="slim"))
        16758740
    """

    pool: bool = False
    first_stride: int = 2
    stride_conv: int = 1
    bias: bool = True
    conv: Convolution = "plain"
    ratio: float = 4 / 3
    groups: int = 1
    bottom_groups: int | None = None

    def __post_init__(self) -> None:
        if self.stride_conv not in (1, 2):
            raise CKRMError("stride_conv", expected="1 or 2", received=self.stride_conv)
        if self.first_stride not in (1, 2):
            raise CKRMError("first_stride", expected="1 or 2", received=self.first_stride)
        if self.conv not in ("plain", "slim"):
            raise CKRMError("conv", expected="'plain' or 'slim'", received=repr(self.conv)[:100])
        fold_count(self.ratio)
        check_groups(0, self.groups)
        if self.bottom_groups is not None:
            check_groups(0, self.bottom_groups)

    def strides(self, blocks: Sequence[int]) -> tuple[int, ...]:
        """The stride of the first block of each stage, from the blocks of the stages.

        A stage without blocks leaves its stride to the next stage that is there, whose first block
        strides by the product: the maps of later stages keep their size. The strides of absent
        last stages go with them: the last maps are those of the last stage that is there.

        Returns:
            One stride for each stage, 1 for an absent one, which does nothing.

        Example:
            >>> Layout().strides((3, 0, 6, 0))
            (2, 1, 4, 1)
        """
        found, owed = [], 1
        for number, count in enumerate(blocks):
            owed *= self.first_stride if number == 0 else 2
            found.append(owed if count else 1)
            owed = 1 if count else owed
        return tuple(found)

    @classmethod
    def torchvision(cls, **changes: Any) -> Layout:
        """torchvision's ResNet: max-pool, stride in the 3x3, no biases."""
        base = cls(pool=True, first_stride=1, stride_conv=2, bias=False)
        return replace(base, **changes)
