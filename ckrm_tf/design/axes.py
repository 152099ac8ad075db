"""What may change of a network: one axis for each width and each depth. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ckrm_tf.design.design import Design
from ckrm_tf.errors import CKRMError


@dataclass(frozen=True, slots=True)
class Axis:
    """One number of a design, and the values that it may take.

    Attributes:
        name: the name in the design, such as `stage1/mid`.
        size: its number in the starting network, the largest of a search; 0 where that network
            lacks the stage.
        kind: "width", a number of channels; or "depth", a number of layers or blocks.
        group: axes of one group shrink and grow together: a stage.
        floor: smallest number; 0 for a depth that may go altogether.
        multiple: numbers below `size` are multiples of it, as grouped convolutions need. A size
            that is no larger stays as it is.
        within: the depth that a width is part of: where that is 0, so is the width.

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
    within: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("width", "depth"):
            raise CKRMError(
                f"axis {self.name}: kind", expected="width or depth", received=self.kind
            )
        absent = self.floor == 0 or self.within is not None
        leasts = {"floor": int(self.kind == "width"), "size": int(not absent), "multiple": 1}
        for field, least in leasts.items():
            if getattr(self, field) < least:
                raise CKRMError(
                    f"axis {self.name}: {field}",
                    expected=f"at least {least}",
                    received=getattr(self, field),
                )

    def least(self, floor: int = 1) -> int:
        """The smallest number: the axis's floor and, for a width, the one given; never above size.

        Args:
            floor: of widths, in channels.
        """
        least = max(self.floor, floor if self.kind == "width" else 0)
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
        if not near and 2 * number >= self.multiple:
            # Python rounds a half to the even 0; half a block is still a block.
            near = self.multiple
        return max(min(self.least(floor), most), min(most, near))


def settled(
    numbers: Mapping[str, int], axes: Sequence[Axis], most: Mapping[str, int] | None = None
) -> Design:
    """The design of these numbers, in the order of the axes: the one form of its network.

    The widths of a stage that is absent are 0, whatever was given for them.

    Args:
        numbers: one for each axis; others are ignored.
        axes: those of a family.
        most: of the network that is narrowed. Where none of its depths would be left, the last
            that it has stays at 1; without it all may go.

    Raises:
        CKRMError: a 0 where the axis must have more.

    Example:
        >>> axes = (
        ...     Axis("stage1/depth", 2, "depth", "stage1", floor=0),
        ...     Axis("stage1/width", 8, "width", "stage1", within="stage1/depth"),
        ... )
        >>> settled({"stage1/depth": 0, "stage1/width": 5}, axes)
        Design({'stage1/depth': 0, 'stage1/width': 0})
    """
    found = {axis.name: int(numbers[axis.name]) for axis in axes}
    if most is not None:
        depths = [axis.name for axis in axes if axis.kind == "depth" and most[axis.name] > 0]
        if depths and not any(found[name] for name in depths):
            found[depths[-1]] = 1
    for axis in axes:
        absent = axis.within is not None and found[axis.within] == 0
        if absent:
            found[axis.name] = 0
        elif found[axis.name] == 0 and axis.floor > 0:
            raise CKRMError(f"design: {axis.name}", expected="at least 1", received=0)
    return Design(found)
