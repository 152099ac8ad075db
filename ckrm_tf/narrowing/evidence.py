"""What a choice of channels can rest on: weights, responses to images, gradients. Made once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import keras
import numpy as np

from ckrm_tf.errors import CKRMError
from ckrm_tf.narrowing.groups import Group
from ckrm_tf.narrowing.plan import Channels
from ckrm_tf.narrowing.responses import Gram, gram_matrices

# Weights that are squared at once: few enough for the cache of a processor.
BLOCK = 2**18


class Evidence:
    """Weights and, with images, responses of every group's units.

    Args:
        channels: of the model.
        images: as the model takes them, or None.
        labels: of the images, for criteria that need a loss.
        seed: of criteria that draw.
    """

    def __init__(
        self, channels: Channels, images: Any = None, labels: Any = None, seed: int = 0
    ) -> None:
        self.channels, self.images, self.labels, self.seed = channels, images, labels, seed
        self._moments: dict[str, tuple[np.ndarray, np.ndarray] | None] = {}

    @cached_property
    def grams(self) -> Mapping[int, Gram]:
        """Gram matrices of what each kernel reads.

        Raises:
            CKRMError: without images.
        """
        if self.images is None:
            raise CKRMError(
                "narrow: images", expected="images for a choice by responses", received="none"
            )
        return gram_matrices(self.channels, self.images)

    def moments(self, group: Group) -> tuple[np.ndarray, np.ndarray] | None:
        """Second moments (units, units) and means (units,) of a group's responses.

        Summed over all kernels that read the group, each at unit mean energy; None where none is
        measured. Where a unit has several channels in a tensor, they count as further places.
        """
        if group.name not in self._moments:
            self._moments[group.name] = self._measured(group)
        return self._moments[group.name]

    def _measured(self, group: Group) -> tuple[np.ndarray, np.ndarray] | None:
        members = self.channels.units.members[group.name]
        first = int(members[0])
        products = np.zeros((len(members), len(members)))
        means = np.zeros(len(members))
        heard = 0
        for gram in self.grams.values():
            units = self.channels.units.units(gram.ids)
            places = [np.flatnonzero(units == first + k) for k in range(len(members))]
            times = {len(p) for p in places}
            if len(times) != 1 or times == {0} or not gram.rows:
                continue
            for column in np.stack(places).T:
                block = gram.products[np.ix_(column, column)] / gram.rows
                energy = float(np.trace(block)) / len(members)
                if not np.isfinite(energy) or energy <= 0:
                    continue
                products += block / energy
                means += gram.sums[column] / gram.rows / np.sqrt(energy)
                heard += 1
        return (products / heard, means / heard) if heard else None

    def kernels(self, group: Group) -> list[np.ndarray]:
        """The kernels that make a group's channels, folded with the batch norm that follows.

        Each (..., in, units): where a unit has several channels, they stand along the axis before.
        """
        found = []
        for value, axis, gain, places in self._makers(group):
            scaled = np.moveaxis(np.asarray(value, np.float64), axis, -1) * gain
            # (..., in, units, times) -> (..., in * times, units)
            picked = np.moveaxis(scaled[..., places], -1, -3)
            found.append(picked.reshape(*picked.shape[:-3], -1, picked.shape[-1]))
        return found

    def energies(self, group: Group) -> list[np.ndarray]:
        """The energy of each unit in each of these kernels, (units,): their sums of squares."""
        found = []
        for value, axis, gain, places in self._makers(group):
            total = np.zeros(value.shape[axis])
            flat = np.moveaxis(value, axis, -1).reshape(-1, len(total))
            size = max(1, BLOCK // len(total))
            for start in range(0, len(flat), size):
                rows = np.asarray(flat[start : start + size], np.float64)
                total += np.einsum("ij,ij->j", rows, rows)
            found.append((total * gain**2)[places].sum(axis=1))
        return found

    def _makers(self, group: Group) -> Iterator[tuple[np.ndarray, int, np.ndarray, np.ndarray]]:
        """Each kernel with an axis that goes with the channels of a group.

        Yields the kernel, the axis, the gain of the batch norm that follows by channel, and the
        channels of each unit (units, times).
        """
        members, trace = self.channels.units.members[group.name], self.channels.trace
        made = [
            (number, variable)
            for number, (path, layer) in enumerate(trace.producers)
            if path in group.layers
            for variable in getattr(layer, "variables", ())
        ]
        for number, variable in made:
            for axis, ids in trace.uses.get(id(variable), {}).items():
                own = ids is not None and trace.atoms.producer(int(ids[0])) == number
                if ids is None or not own or len(variable.shape) < 2:
                    continue
                units = self.channels.units.units(ids)
                places = [np.flatnonzero(units == unit) for unit in members]
                if len({len(p) for p in places}) == 1 and len(places[0]):
                    value = keras.ops.convert_to_numpy(variable.value)
                    yield value, axis, self._gain(ids), np.stack(places)

    def _gain(self, ids: np.ndarray) -> np.ndarray:
        """gamma / sqrt(variance + epsilon) of the batch norm on exactly these channels, else 1."""
        for layer, uses in self._norms:
            if uses is ids or np.array_equal(uses, ids):
                variance = np.asarray(keras.ops.convert_to_numpy(layer.moving_variance), np.float64)
                gain = 1 / np.sqrt(variance + layer.epsilon)
                if layer.gamma is not None:
                    gain = gain * np.asarray(keras.ops.convert_to_numpy(layer.gamma), np.float64)
                return gain
        return np.ones(len(ids))

    @cached_property
    def _norms(self) -> list[tuple[Any, np.ndarray]]:
        found = []
        for _, layer in self.channels.trace.layers:
            if type(layer) is keras.layers.BatchNormalization:
                ids = self.channels.trace.uses.get(id(layer.moving_variance), {}).get(0)
                if ids is not None:
                    found.append((layer, ids))
        return found
