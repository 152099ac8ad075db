"""The numbers that a host of a search may give an axis, and the design among them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ckrm_tf.design.axes import Axis, settled
from ckrm_tf.design.design import Design


@dataclass(frozen=True, slots=True)
class Bounds:
    """Whole numbers from `low` to `high`, both of them among these.

    Attributes:
        step: between two of them.
        log: they are better drawn on a logarithmic scale.
    """

    low: int
    high: int
    step: int = 1
    log: bool = False


def bounds(axis: Axis, floor: int = 4) -> Bounds:
    """The range of an axis.

    Widths range from `floor` to the starting network's on a logarithmic scale, or by the multiples
    of their axis, depths from the least of theirs.

    Args:
        axis: one of a family.
        floor: smallest width.

    Example:
        >>> bounds(Axis("stem", 64, "width", "stem"))
        Bounds(low=4, high=64, step=1, log=True)
    """
    step = axis.multiple
    log = step == 1 and axis.kind == "width" and axis.size > 0
    return Bounds(axis.least(floor), axis.size, step, log)


def design_in(values: Mapping[str, Any], axes: Sequence[Axis]) -> Design:
    """The design among the values of a trial.

    What was drawn for the widths of a stage that is absent makes no difference, and one stage
    stays.
    """
    return settled(values, axes, most={axis.name: axis.size for axis in axes})
