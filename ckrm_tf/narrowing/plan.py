"""What a model becomes at given widths, by counting: no network is built."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ckrm_tf.errors import CKRMError, unknown_name
from ckrm_tf.narrowing import keras_graph
from ckrm_tf.narrowing.atoms import Ids
from ckrm_tf.narrowing.call import Shape, Term
from ckrm_tf.narrowing.groups import ALWAYS, Units, find_groups
from ckrm_tf.narrowing.rules import rule_for
from ckrm_tf.narrowing.trace import Trace, concrete_shapes, walk

ASSUMED_SIDE = 224

Keep = Mapping[str, np.ndarray]  # group -> the kept units, numbered within the group, ascending


@dataclass
class Channels:
    """The channels of a model: its trace, groups, and what follows from a choice of them.

    Args:
        model: a built functional or sequential model.
        freeze: names or paths of layers whose channels stay.
        input_shape: of one image, where the model leaves sides open; sides that are still open are
            taken as 224, and `assumed` says so.
    """

    model: Any
    freeze: Iterable[str] = ()
    input_shape: tuple[int, ...] | None = None
    assumed: str = field(default="", init=False)

    def __post_init__(self) -> None:
        keras_graph.functional(self.model)
        self.trace: Trace = walk(self.model, rule_for, self._shapes())
        self._freeze_layers([self.freeze] if isinstance(self.freeze, str) else list(self.freeze))
        self.units: Units = find_groups(self.trace)
        self.groups = self.units.groups

    def _shapes(self) -> dict[int, Shape]:
        symbols = keras_graph.inputs(self.model)
        own = [tuple(x.shape) for x in symbols]
        if self.input_shape is not None:
            return self._at_shape(own)
        if all(side is not None for shape in own for side in shape[1:]):
            return {}
        given: list[Shape] = [
            (shape[0], *(ASSUMED_SIDE if s is None else s for s in shape[1:])) for shape in own
        ]
        try:
            found = concrete_shapes(self.model, given)
        except Exception:  # whatever a layer says of a size that it does not take
            self.assumed = "sides of unknown size count as 1"
            return {}
        self.assumed = f"sides of unknown size are taken as {ASSUMED_SIDE}"
        return found

    def _at_shape(self, own: list[Shape]) -> dict[int, Shape]:
        """The shapes where the input has the sides asked for."""
        asked: Any = self.input_shape
        sides = tuple(asked) if isinstance(asked, list | tuple) else (asked,)
        fits = len(own) == 1 and len(sides) == len(own[0]) - 1
        if not fits or not all(
            isinstance(side, int) and side > 0 and want in (None, side)
            for side, want in zip(sides, own[0][1:], strict=True)
        ):
            raise CKRMError(
                "input_shape", expected=f"the sides of one input {own[0][1:]}", received=asked
            )
        try:
            return concrete_shapes(self.model, [(None, *sides)])
        except Exception as error:  # whatever a layer says of a size that it does not take
            raise CKRMError(
                "input_shape",
                expected=f"a size that the layers of {self.model.name} take",
                received=asked,
                hint=" ".join(str(error).split())[:120],
            ) from error

    def _freeze_layers(self, names: list[str]) -> None:
        by_path = dict(self.trace.layers)
        for name in names:
            paths = [p for p in by_path if p == name or p.startswith(f"{name}/")]
            paths += [p for p in by_path if p.rpartition("/")[2] == name and p not in paths]
            if not paths:
                raise unknown_name("layer in freeze", name, list(by_path))
            for path in paths:
                self._freeze_layer(by_path[path])

    def _freeze_layer(self, layer: Any) -> None:
        reason = "frozen on request"
        for variable in getattr(layer, "variables", ()):
            for ids in self.trace.uses.get(id(variable), {}).values():
                if ids is not None:
                    self.trace.atoms.freeze(ids, reason)

    @property
    def widths(self) -> dict[str, int]:
        """The width of every free group."""
        return {name: group.width for name, group in self.groups.free.items()}

    def all(self) -> dict[str, np.ndarray]:
        """Every unit kept."""
        return {name: np.arange(len(m)) for name, m in self.units.members.items()}

    def alive(self, keep: Keep) -> np.ndarray:
        """Per unit whether it stays; one entry more, for atoms that always do."""
        alive = np.ones(self.units.count + 1, bool)
        for name, kept in keep.items():
            members = self.units.members[name]
            alive[members] = False
            alive[members[np.asarray(kept, int)]] = True
        return alive

    def mask(self, ids: Ids, alive: np.ndarray) -> np.ndarray:
        """Which of these atoms live."""
        found: np.ndarray = alive[self.units.units(ids)]
        return found

    @cached_property
    def params(self) -> list[Term]:
        """Trainable parameters, one term a weight."""
        return self._sizes(self.model.trainable_variables)

    @cached_property
    def statistics(self) -> list[Term]:
        """Weights that are not trained, moving statistics among them, one term a weight."""
        return self._sizes(self.model.non_trainable_weights)

    @cached_property
    def largest(self) -> int:
        """Numbers in the largest tensor of one image: what a batch costs in memory."""
        whole = self.alive(self.all())
        return max(self.value(term, whole) for term in self.trace.activations)

    def _sizes(self, variables: Iterable[Any]) -> list[Term]:
        wanted = {id(v) for v in variables}
        found = []
        for path, layer in self.trace.layers:
            if keras_graph.is_model(layer):
                continue
            for variable in getattr(layer, "variables", ()):
                if id(variable) in wanted:
                    wanted.remove(id(variable))
                    found.append(self._size(path, variable))
        return found

    def _size(self, path: str, variable: Any) -> Term:
        axes = self.trace.uses.get(id(variable), {})
        factor, ids = 1, []
        for axis, side in enumerate(variable.shape):
            along = axes.get(axis)
            if along is None:
                factor *= int(side)
            else:
                ids.append(along)
        return Term(path, factor, tuple(ids))

    def value(self, term: Term, alive: np.ndarray) -> int:
        """A term at a choice of channels."""
        total = term.factor
        for ids in term.ids:
            total *= int(self.mask(ids, alive).sum())
        return total

    def total(self, terms: Iterable[Term], alive: np.ndarray) -> int:
        """The sum of terms at a choice of channels."""
        return sum(self.value(term, alive) for term in terms)

    def first(self, widths: Mapping[str, int]) -> dict[str, np.ndarray]:
        """The first units of every group: enough to count with."""
        return {
            name: np.arange(widths.get(name, len(members)))
            for name, members in self.units.members.items()
        }

    def costs(self, keep: Keep) -> tuple[int, int]:
        """Trainable parameters and multiply-accumulates at a choice of channels."""
        alive = self.alive(keep)
        return self.total(self.params, alive), self.total(self.trace.macs, alive)

    def counter(self, terms: Iterable[Term]) -> Counter:
        """A quick count by widths alone."""
        return Counter(self, terms)


class Counter:
    """Counts a sum of terms at given widths, quickly: for searches over widths.

    Exact where every unit of a group stands for equally many atoms of a weight, which holds but for
    odd graphs; there the first units are counted.
    """

    def __init__(self, channels: Channels, terms: Iterable[Term]) -> None:
        numbers = {}
        for name, members in channels.units.members.items():
            for number, unit in enumerate(members.tolist()):
                numbers[unit] = (name, number)
        self._terms: dict[tuple[tuple[Any, ...], ...], int] = {}
        cache: dict[int, tuple[Any, ...]] = {}
        for term in terms:
            key = []
            for ids in term.ids:
                if id(ids) not in cache:
                    cache[id(ids)] = _profile(channels, ids, numbers)
                key.append(cache[id(ids)])
            place = tuple(key)
            self._terms[place] = self._terms.get(place, 0) + term.factor

    def __call__(self, widths: Mapping[str, int]) -> int:
        """The sum at these widths; a group that is not named stays whole."""
        total = 0
        for factors, weight in self._terms.items():
            value = weight
            for fixed, parts in factors:
                value *= fixed + sum(counts[widths.get(name, -1)] for name, counts in parts)
            total += value
        return total


def _profile(
    channels: Channels, ids: Ids, numbers: Mapping[int, tuple[str, int]]
) -> tuple[int, tuple[tuple[str, tuple[int, ...]], ...]]:
    """How many atoms are fixed, and per group how many the first w units have, for every w."""
    units = channels.units.units(ids)
    counts: dict[str, np.ndarray] = {}
    for unit in units[units != ALWAYS].tolist():
        name, place = numbers[unit]
        if name not in counts:
            counts[name] = np.zeros(len(channels.units.members[name]), int)
        counts[name][place] += 1
    parts = tuple((name, (0, *np.cumsum(found).tolist())) for name, found in sorted(counts.items()))
    return int(np.sum(units == ALWAYS)), parts
