"""Width groups: the channels of a model that can be chosen together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ckrm_tf.errors import unknown_name
from ckrm_tf.narrowing.atoms import FIXED, Ids
from ckrm_tf.narrowing.trace import Trace

ALWAYS = -1  # the number of an atom that stays


@dataclass(frozen=True, eq=False)
class Group:
    """Layers that share one width.

    Attributes:
        name: the path of the first layer that makes the channels; the same in a narrowed model.
        width: how many units can be kept or removed one by one.
        layers: the paths of all layers that make these channels.
        step: channels of the first layer that one unit stands for; above 1 where channels go
            together, as in the groups of a group norm or of a grouped convolution.
        reason: why the width is not free; None where it is.
    """

    name: str
    width: int
    layers: tuple[str, ...]
    step: int = 1
    reason: str | None = None

    @property
    def free(self) -> bool:
        """Whether the width may be lowered."""
        return self.reason is None


class Groups(Mapping[str, Group]):
    """The width groups of a model by name, frozen ones with the reason; prints as a table."""

    def __init__(self, groups: Mapping[str, Group], frozen: Mapping[str, str]) -> None:
        self._groups, self.frozen = dict(groups), dict(frozen)

    def __getitem__(self, name: str) -> Group:
        if name not in self._groups:
            raise unknown_name("width group", name, list(self._groups))
        return self._groups[name]

    def __contains__(self, name: object) -> bool:
        return name in self._groups

    def __iter__(self) -> Iterator[str]:
        return iter(self._groups)

    def __len__(self) -> int:
        return len(self._groups)

    @property
    def free(self) -> dict[str, Group]:
        """The groups that may be narrowed."""
        return {name: group for name, group in self.items() if group.free}

    def __str__(self) -> str:
        rows = [("group", "width", "step", "layers", "why not")]
        for group in self.values():
            more = f" +{len(group.layers) - 1}" if len(group.layers) > 1 else ""
            rows.append(
                (
                    group.name,
                    str(group.width),
                    str(group.step),
                    f"{group.layers[0]}{more}",
                    group.reason or "",
                )
            )
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        lines = [
            "  ".join(
                [
                    row[0].ljust(widths[0]),
                    row[1].rjust(widths[1]),
                    row[2].rjust(widths[2]),
                    row[3].ljust(widths[3]),
                    row[4],
                ]
            ).rstrip()
            for row in rows
        ]
        return "\n".join(lines)

    __repr__ = __str__


@dataclass(frozen=True, eq=False)
class Units:
    """Which unit of which group each atom belongs to.

    Attributes:
        groups: names in order, free ones and those of one unit.
        of_atom: per atom, the number of its unit, or ALWAYS.
        members: per group, the numbers of its units in the order of its channels.
        covers: sets of units of which at least one must stay, or a tensor would be empty.
    """

    groups: Groups
    of_atom: np.ndarray
    members: Mapping[str, np.ndarray]
    covers: tuple[frozenset[int], ...]
    count: int

    def units(self, ids: Ids) -> np.ndarray:
        """The unit of each atom."""
        return self.of_atom[ids]


def find_groups(trace: Trace) -> Units:
    """Gather the atoms of a trace into units and groups."""
    atoms = trace.atoms
    ids = np.arange(len(atoms), dtype=np.int64)
    roots = atoms.roots(ids)
    producers: dict[int, set[int]] = {}
    for atom, root in enumerate(roots.tolist()):
        if atom != FIXED:
            producers.setdefault(root, set()).add(atoms.producer(atom))
    gathered: dict[tuple[frozenset[int], bool], list[int]] = {}
    for root, made_by in producers.items():
        key = frozenset(made_by), atoms.reason(root) is not None
        gathered.setdefault(key, []).append(root)
    of_atom = np.full(len(atoms), ALWAYS, np.int64)
    groups: dict[str, Group] = {}
    members: dict[str, np.ndarray] = {}
    count = 0
    for (makers, frozen), found in sorted(gathered.items(), key=lambda item: min(item[1])):
        first = min(makers)
        name = _unused(trace.producers[first][0], groups)
        step = _step(trace, roots, found, first)
        if frozen:
            reason = atoms.reason(found[0])
        elif len(found) == 1:
            reason = "it has one channel" if step == 1 else "its channels only go together"
        else:
            reason = None
        groups[name] = Group(
            name,
            len(found),
            tuple(trace.producers[p][0] for p in sorted(makers)),
            step,
            reason,
        )
        if not frozen:
            numbers = np.arange(count, count + len(found))
            count += len(found)
            members[name] = numbers
            lookup = dict(zip(found, numbers.tolist(), strict=True))
            mask = np.isin(roots, found)
            of_atom[mask] = [lookup[r] for r in roots[mask].tolist()]
    return Units(
        Groups(groups, trace.frozen), of_atom, members, _covers(trace, of_atom, members), count
    )


def _unused(name: str, taken: Mapping[str, Any]) -> str:
    number, found = 2, name
    while found in taken:
        found, number = f"{name}~{number}", number + 1
    return found


def _step(trace: Trace, roots: np.ndarray, found: list[int], producer: int) -> int:
    """Channels of the first producing layer for each unit."""
    own = sum(
        1
        for atom in np.flatnonzero(np.isin(roots, found)).tolist()
        if trace.atoms.producer(atom) == producer
    )
    return max(1, own // len(found))


def _covers(
    trace: Trace, of_atom: np.ndarray, members: Mapping[str, np.ndarray]
) -> tuple[frozenset[int], ...]:
    """The sets of units that carry a whole tensor, unless a whole group is among them."""
    whole = [frozenset(numbers.tolist()) for numbers in members.values()]
    found: dict[frozenset[int], None] = {}
    seen: set[bytes] = set()
    for ids in (ids for label in trace.labels.values() for ids in label if ids is not None):
        key = ids.tobytes()
        if key in seen:
            continue
        seen.add(key)
        units = of_atom[ids]
        if len(units) and ALWAYS not in units:
            found.setdefault(frozenset(units.tolist()))
    covers = [c for c in found if not any(w <= c for w in whole)]
    return tuple(c for c in covers if not any(other < c for other in covers))
