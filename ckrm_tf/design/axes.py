"""What may change of a network: one axis for each width and each depth. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ckrm_tf.errors import CKRMError


@dataclass(frozen=True, slots=True)
class Axis:
    """One number of a design, and the values that it may take.

    Attributes:
        name: the name in the design, such as `stage1/mid`.
        size: its number in the starting network, the largest of a search.
        kind: "width", a number of channels; or "depth", a number of layers or blocks.
        group: axes of one group shrink and grow together: a stage.
        floor: smallest number.
        multiple: numbers below `size` are multiples of it, as grouped convolutions need.

    Raises:
        CKRMError: an impossible size, kind, floor or multiple.

    Example:
        >>> Axis("stage1/mid", 64, "width", "stage1", multiple=8).fit(27.2, most=64)
        24
    """

    name: str
    size: int
    kind: Literal["width", "depth"]
    group: str
    floor: int = 1
    multiple: int = 1

    def __post_init__(self) -> None:
        if self.kind not in ("width", "depth"):
            raise CKRMError(
                f"axis {self.name}: kind", expected="width or depth", received=self.kind
            )
        for field in ("size", "floor", "multiple"):
            if getattr(self, field) < 1:
                raise CKRMError(
                    f"axis {self.name}: {field}",
                    expected="at least 1",
                    received=getattr(self, field),
                )

    def least(self, floor: int = 1) -> int:
        """The smallest number: the axis's floor and, for a width, the one given; never above size.

        Args:
            floor: of widths, in channels.
        """
        least = max(self.floor, floor if self.kind == "width" else 1)
        return min(-(-least // self.multiple) * self.multiple, self.size)

    def fit(self, number: float, most: int, floor: int = 1) -> int:
        """The allowed number nearest to `number`, at most `most`.

        Args:
            number: what is wished for.
            most: the number of the network to be narrowed.
            floor: of widths, in channels.
        """
        if number >= most:
            return most
        near = round(number / self.multiple) * self.multiple
        return max(min(self.least(floor), most), min(most, near))
