"""Sums over images of what the channels say, one block of images after another, compiled.

The products of two channels are summed about the mean of what came so far, so single precision is
enough. Only half of them is computed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from ckrm_tf.measures.blocks import ALPHA
from ckrm_tf.measures.compiled import compiled
from ckrm_tf.measures.responses_compiled import PLAIN, CompiledNetwork
from ckrm_tf.measures.responses_sites import Site, follow
from ckrm_tf.narrowing import keras_graph

# Images of a block, fewer where the largest tensor of so many would have more numbers than this.
BLOCK = 128
LARGEST = 2**25
# Places of a site that are looked at, over all images: a correlation is known to .02. Drawn from
# one seed, so that they are the same in every network of the same shape.
PLACES = 2048
# Channels of one tile of the products.
TILE = 512
# Epsilon of psi, as a share of the mean variance of the maps of an image.
SHARE = 0.25


State = list[Any]


class Summing:
    """The sums of every site of a model, compiled once for any weights of it.

    The state of a site is, for T tensors and C channels: places (T,), their mean (T, C), their
    scale (T,), products (C, C) of the scaled responses about the means, the upper half; with maps
    also the number of images and the sum of psi (C, C).

    Args:
        model: functional or sequential.
        sites: of the model.
        images: how many there will be.
        shapes: of the images, for models that leave sides open.
        maps: sum psi between maps too.
        once: the model is looked at once: nothing is compiled, which takes longer than it saves.
    """

    def __init__(
        self,
        model: keras.Model,
        sites: Sequence[Site],
        images: int,
        shapes: Sequence[tuple[int, ...]],
        *,
        maps: bool = False,
        once: bool = False,
    ) -> None:
        self.model, self.sites, self.maps = model, list(sites), maps
        # The sums of psi walk over images and are slow where they are not compiled.
        self.once = once and not maps
        self.weights = list(model.weights)
        self.block = min(images, block_size(model, shapes))
        self.rows = math.ceil(PLACES / math.ceil(images / self.block))
        self.place_of = {
            t: (n, k) for n, site in enumerate(sites) for k, t in enumerate(site.tensors)
        }
        self.run = None if self.once else CompiledNetwork(self._one_block)

    @property
    def compiled(self) -> str:
        """How it runs, in a few words."""
        return self.run.how if self.run is not None else PLAIN

    def __call__(
        self, arrays: Sequence[np.ndarray], weights: Sequence[Any] | None = None
    ) -> list[State]:
        """The state of every site after all images.

        Args:
            arrays: one for each input of the model.
            weights: in the order of `model.weights`; the model's own if absent.
        """
        given = [ops.convert_to_tensor(w) for w in weights or [v.value for v in self.weights]]
        state = [self._zeros(site) for site in self.sites]
        symbols = keras_graph.inputs(self.model)
        total = len(arrays[0])
        for start in range(0, total, self.block):
            # The last block is filled up with images that do not count.
            rows = np.arange(start, start + self.block)
            values = [
                ops.convert_to_tensor(array[rows % total], dtype=symbol.dtype)
                for array, symbol in zip(arrays, symbols, strict=True)
            ]
            present = ops.convert_to_tensor(rows < total, dtype="float32")
            state = (self.run or self._one_block)(given, values, present, state)
        return state

    def _zeros(self, site: Site) -> State:
        size, tensors = site.channels, len(site.tensors)
        shapes: list[tuple[int, ...]] = [(tensors,), (tensors, size), (tensors,), (size, size)]
        if self._of_maps(site):
            shapes += [(), (size, size)]
        return [ops.zeros(shape, "float32") for shape in shapes]

    def _of_maps(self, site: Site) -> bool:
        """Whether psi is summed: a response of one place is no map."""
        return self.maps and any(side != 1 for side in _others(site))

    def _one_block(
        self, weights: list[Any], values: list[Any], present: Any, state: list[State]
    ) -> list[State]:
        """One pass of the network, and the sums of what was seen."""
        seen: list[list[Any]] = [[None] * len(site.tensors) for site in self.sites]

        def observe(token: int, value: Any) -> None:
            if token in self.place_of:
                number, k = self.place_of[token]
                maps = _channels_last(value, self.sites[number].axis)
                before = seen[number][k]
                # A nested model that is called twice shows more places.
                seen[number][k] = maps if before is None else ops.concatenate([before, maps], 1)

        with keras.StatelessScope(state_mapping=list(zip(self.weights, weights, strict=True))):
            follow(self.model, values, observe)
        return [self._add(old, maps, present) for old, maps in zip(state, seen, strict=True)]

    def _add(self, old: State, seen: list[Any], present: Any) -> State:
        """The state of a site after a block. What is compiled serves every site of its shape."""
        rows = [self._rows(maps, present, len(seen)) for maps in seen]
        shapes = tuple(side for part, _ in rows for side in part.shape)
        if self.once:
            return _add_products(old, rows)
        new: State = compiled(_add_products, shapes)(old[:4], rows)
        if len(old) > 4:
            shapes = tuple(side for maps in seen for side in maps.shape)
            new = [*new, *compiled(_add_psi, shapes)(old[4:], seen, present)]
        return new

    def _rows(self, maps: Any, present: Any, tensors: int) -> tuple[Any, Any]:
        """Rows (places, channels) of a block with their weights; of too many some are drawn."""
        images, places, channels = maps.shape
        rows = ops.reshape(maps, (-1, channels))
        weight = ops.repeat(present, places)
        wanted = max(self.rows // tensors, images)
        if images * places > wanted:
            rng = np.random.default_rng([images, places])
            drawn = np.sort(rng.choice(images * places, wanted, replace=False))
            rows, weight = ops.take(rows, drawn, axis=0), ops.take(weight, drawn)
        return rows, weight


def _others(site: Site) -> list[int | None]:
    """The sides of a site but the channels."""
    return [side for axis, side in enumerate(site.shape, 1) if axis != site.axis]


def block_size(model: keras.Model, shapes: Sequence[tuple[int, ...]]) -> int:
    """Images of a block, so that the largest tensor stays within `LARGEST` numbers."""
    known = [x for step in keras_graph.steps(model) for x in step.outputs]
    sides = [side for shape in shapes for side in shape[1:]]
    most = max(
        (math.prod(side or max(sides) for side in symbol.shape[1:]) for symbol in known), default=1
    )
    return max(1, min(BLOCK, LARGEST // max(most, math.prod(sides), 1)))


def _channels_last(value: Any, axis: int) -> Any:
    """(images, places, channels), float32."""
    value = ops.cast(value, "float32")
    if axis != len(value.shape) - 1:
        value = ops.moveaxis(value, axis, -1)
    return ops.reshape(value, (value.shape[0], -1, value.shape[-1]))


def _add_products(state: State, tensors: Sequence[tuple[Any, Any]]) -> State:
    """Chan's update of counts, means and products, each tensor at unit mean variance."""
    counts, means, scales, products = state
    parts: list[list[Any]] = []
    for k, (rows, weight) in enumerate(tensors):
        count, mean, more = counts[k], means[k], ops.sum(weight)
        total = ops.maximum(count + more, 1.0)
        of_rows = ops.matmul(weight[None], rows)[0] / ops.maximum(more, 1.0)
        centred = (rows - of_rows) * weight[:, None]
        energy = ops.mean(ops.sum(centred * centred, 0)) / ops.maximum(more, 1.0)
        # The first images set the scale.
        scale = ops.where(scales[k] > 0, scales[k], energy)
        gain = 1.0 / ops.where(scale > 0, scale, 1.0)
        moved = of_rows - mean
        between = (gain * count * more / total) * moved[:, None] * moved
        products = products + _upper(centred * ops.sqrt(gain)) + between
        parts.append([count + more, mean + moved * (more / total), scale])
    stacked = [ops.stack([part[i] for part in parts]) for i in range(3)]
    return [*stacked, products]


def _upper(rows: Any) -> Any:
    """Products of all pairs of columns; tiles that lie below the diagonal are left at zero."""
    size = rows.shape[-1]
    turned = ops.transpose(rows)
    if size <= TILE:
        return ops.matmul(turned, rows)
    parts = []
    for start in range(0, size, TILE):
        part = ops.matmul(turned[start : start + TILE], rows[:, start:])
        parts.append(ops.pad(part, ((0, 0), (start, 0))))
    return ops.concatenate(parts)


def _add_psi(state: State, tensors: Sequence[Any], present: Any) -> State:
    """Psi (Eq. 5) of every pair of channels in each image, summed: the map is the slice."""
    images, total = state
    for maps in tensors:
        if maps.shape[1] > 1:
            images, total = images + ops.sum(present), _psi_of_maps(total, maps, present)
    return [images, total]


def _psi_of_maps(total: Any, maps: Any, present: Any) -> Any:
    count, places, _ = maps.shape
    mean = ops.mean(maps, 1)
    centred = maps - mean[:, None]
    variance = ops.mean(centred * centred, 1)
    epsilon = SHARE * ops.mean(variance, 1) + 1e-30

    def add(i: Any, before: Any) -> Any:
        x, m, v, e = centred[i], mean[i], variance[i], epsilon[i]
        s = ops.sqrt(v)
        covariance = ops.matmul(ops.transpose(x), x) / places
        product = s[:, None] * s
        luminance = (2.0 * m[:, None] * m + e) / ((m * m)[:, None] + m * m + e)
        contrast = (2.0 * product + e) / (v[:, None] + v + e)
        structure = ops.abs((covariance + e) / (product + e))
        psi = ops.exp(ALPHA * ops.log(ops.abs(luminance) + 1e-30)) * contrast * structure
        return before + present[i] * psi

    return ops.fori_loop(0, count, add, total)
