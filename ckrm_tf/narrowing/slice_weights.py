"""The weights of many slices of one model, in its old size: what is removed at zero."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import keras
import numpy as np

from ckrm_tf.narrowing import keras_graph
from ckrm_tf.narrowing.atoms import Ids
from ckrm_tf.narrowing.call import Read
from ckrm_tf.narrowing.groups import ALWAYS
from ckrm_tf.narrowing.mend import LEAST, RIDGE, level_of
from ckrm_tf.narrowing.nested import Nested, Recent
from ckrm_tf.narrowing.plan import Channels
from ckrm_tf.narrowing.responses import Gram


@dataclass
class _Reader:
    """A kernel that reads channels, and the regressions of its blocks; none if it is not mended.

    `given` stands in for the kernel's own numbers.
    """

    read: Read
    ids: Ids
    repeats: int
    systems: list[Nested]
    given: np.ndarray | None = None

    @property
    def variable(self) -> Any:
        return self.read.variable

    def value(self, keeps: np.ndarray) -> np.ndarray:
        """The kernel in its old shape, mended; zero where it reads what is removed."""
        parts = np.split(keeps, self.read.groups)
        found = [self._mended(block, part) for block, part in enumerate(parts)]
        moved = np.concatenate([self._unrolled(rows) for rows in found], -1)
        return np.moveaxis(moved, 0, self.read.axis)

    def _mended(self, block: int, keeps: np.ndarray) -> np.ndarray:
        order, rows = self._orders[block], self._rows[block]
        in_order = keeps[order]
        count = int(in_order.sum())
        # The beginning of the order is looked at, not copied.
        nested = in_order[:count].all()
        stays: Any = slice(count) if nested else in_order
        goes: Any = slice(count, None) if nested else ~in_order
        found = np.zeros_like(rows)
        found[order[stays]] = rows[stays]
        if self.systems and 0 < count < len(order):
            weights = self.systems[block].weights(keeps)
            found[order[stays]] += _product(weights, rows[goes])
        return found

    @cached_property
    def _orders(self) -> list[np.ndarray]:
        size = len(self.ids) // self.read.groups
        return [s.order for s in self.systems] or [np.arange(size)] * self.read.groups

    @cached_property
    def _rows(self) -> list[np.ndarray]:
        """What each channel of a block is multiplied by: (channels, columns), in the order."""
        value = self.given
        if value is None:
            value = np.asarray(keras.ops.convert_to_numpy(self.variable.value), np.float32)
        parts = np.split(np.moveaxis(value, self.read.axis, 0), self.read.groups, -1)
        self._shape = parts[0].shape
        size = len(self._orders[0])
        flat = [p.reshape(self.repeats, size, -1).swapaxes(0, 1).reshape(size, -1) for p in parts]
        return [rows[order] for rows, order in zip(flat, self._orders, strict=True)]

    def _unrolled(self, rows: np.ndarray) -> np.ndarray:
        """A block in the shape that it has in the kernel, the axis that reads first."""
        found = rows.reshape(len(rows), self.repeats, -1).swapaxes(0, 1)
        return found.reshape(self._shape)

    def restricted(self, read: Read, keeps: np.ndarray, memo: dict[int, Nested]) -> _Reader:
        """The kernel of the narrowed model with the systems among what stays."""
        parts = np.split(keeps, self.read.groups)
        systems = []
        for system, part in zip(self.systems, parts, strict=False):
            if id(system) not in memo:
                memo[id(system)] = system.restricted(part)
            systems.append(memo[id(system)])
        return _Reader(read, read.ids[: int(keeps.sum())], self.repeats, systems)


@dataclass
class _Masked:
    """A weight that goes with channels but is no kernel that is mended: zero where they go."""

    variable: Any
    axes: dict[int, Ids]

    def value(self, keeps: np.ndarray) -> np.ndarray:
        """The weight, zero along each axis where a channel is removed."""
        value = np.array(keras.ops.convert_to_numpy(self.variable.value))
        start = 0
        for axis, ids in self.axes.items():
            np.moveaxis(value, axis, 0)[~keeps[start : start + len(ids)]] = 0
            start += len(ids)
        return value

    @property
    def ids(self) -> Ids:
        """The channels along all axes, one axis after the other."""
        return np.concatenate(list(self.axes.values()))


class SliceWeights:
    """What the weights of a model become in its slices, in their old shape.

    Args:
        channels: of the model.
        readers: of its kernels; `of` measures them.

    Attributes:
        variables: the weights that differ between slices, in the order of `tensors`.
    """

    def __init__(self, channels: Channels, readers: list[_Reader]) -> None:
        self.channels = channels
        self._readers = [r for r in readers if self._free(r.ids)]
        self._parts: list[_Reader | _Masked] = [*self._readers, *self._masked()]
        self._recent = [Recent() for _ in self._parts]
        self.variables = [part.variable for part in self._parts]

    @classmethod
    def of(
        cls,
        channels: Channels,
        order: Mapping[str, np.ndarray],
        grams: Mapping[int, Gram],
        ridge: float = RIDGE,
    ) -> SliceWeights:
        """The weights of a model's slices.

        Args:
            channels: of the model.
            order: the units of every free group, the most wanted first.
            grams: of what each kernel reads, from `gram_matrices`.
            ridge: a, as a share of the mean energy of a channel.
        """
        rank = np.full(channels.units.count + 1, ALWAYS)
        for name, units in order.items():
            rank[channels.units.members[name][units]] = np.arange(len(units))
        known: list[tuple[Ids, np.ndarray, Nested]] = []

        def system(ids: Ids, products: np.ndarray) -> Nested:
            for others, gram, found in known:
                # Kernels that read one tensor share its factor.
                if np.array_equal(others, ids) and np.array_equal(gram, products):
                    return found
            place = np.argsort(rank[channels.units.units(ids)], kind="stable")
            level = level_of(products, np.ones(len(ids), bool), max(ridge, LEAST))
            known.append((ids, products, Nested(place, products[np.ix_(place, place)], level)))
            return known[-1][2]

        readers = []
        for key, read in _reads(channels).items():
            gram = grams.get(key)
            if gram is None:
                readers.append(_Reader(read, read.ids, 1, []))
                continue
            size = len(gram.ids) // read.groups
            blocks = [slice(b * size, (b + 1) * size) for b in range(read.groups)]
            own = [system(gram.ids[b], gram.products[b, b]) for b in blocks]
            readers.append(_Reader(read, gram.ids, gram.repeats, own))
        return cls(channels, readers)

    @property
    def solved(self) -> int:
        """How many regressions were solved: a tensor's serves all kernels that read it."""
        systems = {id(s): s for reader in self._readers for s in reader.systems}
        return sum(system.solved for system in systems.values())

    def tensors(self, alive: np.ndarray) -> list[Any]:
        """The value of each of `variables` in a slice; what was asked for last is at hand."""
        found = []
        for part, recent in zip(self._parts, self._recent, strict=True):
            keeps = self.channels.mask(part.ids, alive)
            make = _maker(part, keeps)
            found.append(recent.get_or(keeps.tobytes(), make))
        return found

    def stand_in(self, variable: Any, value: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """A function of what is alive: another kernel in the place of one, mended as that one is.

        Args:
            variable: the kernel; in a slice that reads all its channels `value` is what is found.
            value: in the kernel's shape.
        """
        reader = next((r for r in self._readers if r.variable is variable), None)
        if reader is None:
            return lambda _: value
        other = replace(reader, given=value)
        return lambda alive: other.value(self.channels.mask(other.ids, alive))

    def restricted(self, channels: Channels, alive: np.ndarray) -> SliceWeights:
        """The same of a slice that was built: its slices are those of this model.

        Its kernels are mended, so W' = (G_KK + a I)^-1 (G W + a W)_K, and what they become at fewer
        channels is what this model's become there: with one a for all widths the regressions of
        regressions are those of the whole.

        Args:
            channels: of the slice, built with the values of `tensors`.
            alive: what stayed in it.
        """
        twins = _twins(self.channels, channels)
        reads = _reads(channels)
        memo: dict[int, Nested] = {}
        readers = []
        for reader in self._readers:
            read = reads.get(id(twins[id(reader.variable)]))
            if read is not None:  # a single channel that is left may be free no more
                keeps = self.channels.mask(reader.ids, alive)
                readers.append(reader.restricted(read, keeps, memo))
        return SliceWeights(channels, readers)

    def _free(self, ids: Ids) -> bool:
        return bool(np.any(self.channels.units.units(ids) != ALWAYS))

    def _masked(self) -> list[_Masked]:
        """Weights that no `Read` speaks of, such as attention's last kernel.

        A batch norm and a bias give each channel what is its own, and no more.
        """
        reads = _reads(self.channels)
        passed = set(reads) | {id(r.bias) for r in reads.values() if r.bias is not None}
        found = []
        for _, layer in self.channels.trace.layers:
            if keras_graph.is_model(layer) or type(layer) is keras.layers.BatchNormalization:
                continue
            for variable in getattr(layer, "variables", ()):
                uses = self.channels.trace.uses.get(id(variable), {})
                axes = {a: ids for a, ids in uses.items() if ids is not None and self._free(ids)}
                if axes and id(variable) not in passed:
                    passed.add(id(variable))
                    found.append(_Masked(variable, axes))
        return found


def _product(weights: np.ndarray, rows: np.ndarray) -> Any:
    """weights @ rows on the backend, whose threads do not wait busily for each other."""
    product = keras.ops.matmul(
        keras.ops.convert_to_tensor(weights), keras.ops.convert_to_tensor(rows)
    )
    return keras.ops.convert_to_numpy(product)


def _maker(part: _Reader | _Masked, keeps: np.ndarray) -> Callable[[], Any]:
    def make() -> Any:
        return keras.ops.convert_to_tensor(part.value(keeps), dtype=part.variable.dtype)

    return make


def _reads(channels: Channels) -> dict[int, Read]:
    """The kernels that read channels, by `id`."""
    found: dict[int, Read] = {}
    for reads in channels.trace.reads.values():
        for read in reads:
            found.setdefault(id(read.variable), read)
    return found


def _twins(old: Channels, new: Channels) -> dict[int, Any]:
    """The variable of the narrowed model for each of the model's, by `id`."""
    layers = dict(new.trace.layers)
    return {
        id(before): after
        for path, layer in old.trace.layers
        if not keras_graph.is_model(layer)
        for before, after in zip(
            getattr(layer, "variables", ()), getattr(layers[path], "variables", ()), strict=True
        )
    }
