"""What the channels say on images: Gram matrices of everything that a kernel reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from ckrm_tf.errors import CKRMError
from ckrm_tf.narrowing import keras_graph
from ckrm_tf.narrowing.atoms import Ids
from ckrm_tf.narrowing.call import Read
from ckrm_tf.narrowing.plan import Channels

BATCH = 32
# Rows of one Gram product: places beyond that are passed over evenly.
ROWS = 4096
# A kernel that reads more channels than this one by one is not mended: 512 MB for the matrix.
WIDEST = 8192


@dataclass
class Gram:
    """Sums over images and places of what one kernel reads.

    Attributes:
        read: the kernel; the first, where one tensor feeds several.
        ids: the atoms of the matrix's rows.
        repeats: how often the kernel's axis goes through them: more than once after a Flatten.
        products: (channels, channels), sum of x x^T.
        sums: (channels,), sum of x.
        rows: number of places summed.
    """

    read: Read
    ids: Ids
    repeats: int
    products: np.ndarray
    sums: np.ndarray
    rows: int = 0


def as_inputs(model: Any, images: Any) -> list[np.ndarray]:
    """The images as one float array for each input of the model, checked.

    Raises:
        CKRMError: when number or shapes do not fit the model, or a number is not finite.
    """
    symbols = keras_graph.inputs(model)
    if isinstance(images, dict):
        names = keras_graph.input_names(model)
        missing = [name for name in names if name not in images]
        if missing:
            raise CKRMError("images", expected=f"inputs {names}", received=list(images))
        given = [images[name] for name in names]
    else:
        given = list(images) if isinstance(images, list | tuple) and len(symbols) > 1 else [images]
    if len(given) != len(symbols):
        raise CKRMError("images", expected=f"{len(symbols)} inputs", received=len(given))
    arrays = [np.asarray(x) for x in given]
    for array, symbol in zip(arrays, symbols, strict=True):
        fits = len(array.shape) == len(symbol.shape) and all(
            want is None or want == got
            for want, got in zip(symbol.shape[1:], array.shape[1:], strict=True)
        )
        if not fits or not len(array):
            raise CKRMError(
                "images",
                expected=f"at least one of shape {tuple(symbol.shape[1:])}",
                received=f"an array of shape {array.shape}",
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise CKRMError("images", expected="finite numbers", received="NaN or infinity")
    return arrays


def evenly(images: np.ndarray, most: int) -> np.ndarray:
    """At most so many images, from the first to the last: data often stand in order of class."""
    if len(images) <= most:
        return images
    return images[np.arange(most) * len(images) // most]


def gram_matrices(channels: Channels, images: Any, batch: int = BATCH) -> dict[int, Gram]:
    """Gram matrices of what each kernel reads, by `id` of the kernel: one pass, no labels.

    Args:
        channels: of the model.
        images: as the model takes them.
        batch: images a step; the largest maps of so many are in memory at once.
    """
    arrays = as_inputs(channels.model, images)
    found: dict[int, Gram] = {}
    for start in range(0, len(arrays[0]), batch):
        values = [
            ops.convert_to_tensor(array[start : start + batch], dtype=symbol.dtype)
            for array, symbol in zip(arrays, keras_graph.inputs(channels.model), strict=True)
        ]
        _one_batch(channels, values, found)
    return found


def _one_batch(channels: Channels, values: list[Any], found: dict[int, Gram]) -> None:
    known: dict[tuple[int, int, int], tuple[Any, np.ndarray, np.ndarray, int]] = {}

    def observe(step: keras_graph.Step, args: Any, kwargs: Any) -> None:
        reads = channels.trace.reads.get(step.key, ())
        if not reads:
            return
        tensors = step.tensors(args, kwargs)
        for read in reads:
            gram = _gram_of(read, found)
            if gram is None:
                continue
            value = tensors[read.index]
            key = (id(value), read.along, gram.repeats)
            if read.prepare is not None:
                value = read.prepare(value)
                key = (id(value), read.along, gram.repeats)
            if key not in known:
                # The value is kept beside its id, so that no other takes its number.
                known[key] = (value, *_products(value, read.along, gram.repeats))
            _, products, sums, rows = known[key]
            gram.products += products
            gram.sums += sums
            gram.rows += rows

    keras_graph.run(channels.model, values, observe)


def _gram_of(read: Read, found: dict[int, Gram]) -> Gram | None:
    if id(read.variable) not in found:
        times = repeats(read.ids) if read.groups == 1 else 1
        ids = read.ids[: len(read.ids) // times]
        if len(ids) > WIDEST:
            return None
        size = len(ids)
        found[id(read.variable)] = Gram(read, ids, times, np.zeros((size, size)), np.zeros(size))
    return found[id(read.variable)]


def repeats(ids: Ids) -> int:
    """How often the atoms go round in the same order, as after a Flatten of a map."""
    again = np.flatnonzero(ids[1:] == ids[0]) + 1
    for period in again.tolist():
        if len(ids) % period == 0 and np.all(ids.reshape(-1, period) == ids[:period]):
            return len(ids) // period
    return 1


def _products(value: Any, along: int, repeats: int) -> tuple[np.ndarray, np.ndarray, int]:
    value = ops.cast(value, "float32")
    rank = len(value.shape)
    if along % rank != rank - 1:
        value = ops.moveaxis(value, along, -1)
    size = value.shape[-1] // repeats
    value = ops.reshape(value, (-1, size))
    step = max(1, int(value.shape[0]) // ROWS)
    if step > 1:
        value = value[::step]
    products = ops.matmul(ops.transpose(value), value)
    return (
        np.asarray(ops.convert_to_numpy(products), np.float64),
        np.asarray(ops.convert_to_numpy(ops.sum(value, 0)), np.float64),
        int(value.shape[0]),
    )
