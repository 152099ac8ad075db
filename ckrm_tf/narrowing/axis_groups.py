"""Which width groups of a model each axis of its family drives.

An axis may drive several groups: the filters of a stage are those of each of its convolutions. What
drives what is not told by names. A second network of the family is built in which each width is
another number, and the numbers that come back as widths of its groups say it. A family whose axes
are the groups themselves needs no second network.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ckrm_tf.design.design import Design
from ckrm_tf.errors import CKRMError
from ckrm_tf.narrowing.groups import Group
from ckrm_tf.narrowing.plan import Channels

if TYPE_CHECKING:
    import keras

    from ckrm_tf.families.base import Family

# The least width of the second network, in multiples of the axis: a group of one unit is not free.
LEAST = 2


class AxisGroups(Mapping[str, tuple[str, ...]]):
    """The groups of each axis by name; `axis_groups` makes it.

    An axis of depth drives none. Iterates in the order of the design.

    Attributes:
        design: of the model.
        loose: free groups of the model that no axis drives.
    """

    def __init__(
        self,
        design: Design,
        found: Mapping[str, tuple[str, ...]],
        groups: Mapping[str, Group],
    ) -> None:
        self.design, self._found, self._groups = design, dict(found), dict(groups)
        driven = {name for names in found.values() for name in names}
        self.loose = tuple(name for name in groups if name not in driven)

    def __getitem__(self, axis: str) -> tuple[str, ...]:
        return self._found[axis]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def widths(self, design: Mapping[str, int]) -> dict[str, int]:
        """The width of every driven group, in units, at a design no wider than the model's.

        Raises:
            CKRMError: a design that is no slice of the model: another depth, a wider number, one
                between two units, or widths that follow no axis.
        """
        found: dict[str, int] = {}
        for axis, whole in self.design.items():
            number = design[axis]
            if number == whole:
                found |= {name: self._groups[name].width for name in self[axis]}
                continue
            if not self[axis]:
                raise CKRMError(
                    f"slice: {axis}",
                    expected=f"{whole}, as in the model: it is no width that can be chosen",
                    received=number,
                )
            if self.loose:
                raise CKRMError(
                    f"slice: {axis}",
                    expected="a model whose free widths all follow an axis",
                    received=f"{len(self.loose)} that follow none, {self.loose[0]} the first",
                )
            for name in self[axis]:
                step = whole // self._groups[name].width
                if number > whole or number % step:
                    raise CKRMError(
                        f"slice: {axis}",
                        expected=f"at most {whole}" + (f", a multiple of {step}" * (step > 1)),
                        received=number,
                    )
                found[name] = number // step
        return found


def axis_groups(family: Family, model: keras.Model, design: Design | None = None) -> AxisGroups:
    """The width groups of a model that each axis of its family drives.

    Builds one small network of the family unless its axes are groups: keep what is returned.

    Args:
        family: of the model.
        model: a network of the family, or what a `ModelFamily` was made from.
        design: of the model; the family's start by default.

    Raises:
        CKRMError: a model that is not of this design.

    Example:
        >>> from ckrm_tf.families.base import StartOptions
        >>> from ckrm_tf.families.registry import FAMILIES
        >>> family = FAMILIES["vgg"](StartOptions(8, 1.5, (2, 1)), (16, 16, 1), 3)
        >>> found = axis_groups(family, family.build(family.start))
        >>> found["stage1/filters"]
        ('stage1_conv1', 'stage1_conv2')
        >>> found.widths(family.start.replace({"stage1/filters": 5}))
        {'stage1_conv1': 5, 'stage1_conv2': 5, 'stage2_conv1': 12}
    """
    design = family.start if design is None else family.checked(design)
    free = Channels(model).groups.free
    widths = [axis.name for axis in family.axes if axis.kind == "width"]
    found = _by_name(widths, free) or _by_number(family, design, widths, free)
    _check(model, design, found, free)
    return AxisGroups(design, {name: found.get(name, ()) for name in design}, free)


def family_widths(family: Family, model: keras.Model, design: Mapping[str, int]) -> dict[str, int]:
    """The width of every group of a model, the family's start, at a design: {group: units}.

    For many designs keep `axis_groups(family, model)` and ask its `widths`.
    """
    return axis_groups(family, model).widths(design)


def _by_name(axes: list[str], free: Mapping[str, Group]) -> dict[str, tuple[str, ...]]:
    """Axes that are groups of the model, which may stand inside another; empty where one is not."""
    found: dict[str, tuple[str, ...]] = {}
    for axis in axes:
        own = [name for name in free if name == axis or name.endswith(f"/{axis}")]
        if not own:
            return {}
        found[axis] = (min(own, key=len),)
    return found


def _by_number(
    family: Family, design: Design, axes: list[str], free: Mapping[str, Group]
) -> dict[str, tuple[str, ...]]:
    """Axes by the numbers that come back from a network in which all differ."""
    multiples = {axis.name: axis.multiple for axis in family.axes}
    numbers: dict[str, int] = {}
    for axis in axes:
        number = LEAST * multiples[axis]
        while number in numbers.values():
            number += multiples[axis]
        numbers[axis] = number
    groups = Channels(family.build(design.replace(numbers))).groups.free
    made = {name: group.width * group.step for name, group in groups.items()}
    return {
        axis: tuple(name for name in free if made.get(name) == number)
        for axis, number in numbers.items()
    }


def _check(
    model: Any, design: Design, found: Mapping[str, tuple[str, ...]], free: Mapping[str, Group]
) -> None:
    for axis, names in found.items():
        for name in names:
            group = free[name]
            # An axis that is a group counts its units, any other its channels.
            if design[axis] not in (group.width, group.width * group.step):
                raise CKRMError(
                    f"model {model.name}: {name}",
                    expected=f"{design[axis]} channels by {axis} of the design",
                    received=group.width * group.step,
                )
