"""Whether a written file computes what the model computes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ckrm_tf.errors import CKRMError
from ckrm_tf.export.flat import FlatModel, Port
from ckrm_tf.narrowing.responses import evenly

BATCH = 32
CASES = 8
# Of a size that the network leaves open, in the first call and in the second.
OPEN_SIZES = (32, 48)
# Examples that ranges are read off.
EXAMPLES = 256
BRIGHTEST = 255.0

# Inputs of one call, or its outputs.
Arrays = list[np.ndarray]


def calls_of(flat: FlatModel, inputs: np.ndarray | Sequence[np.ndarray] | None) -> list[Arrays]:
    """The inputs of each call in which files are compared.

    The last call holds one case alone: a file that fixes the size of the batch fails in it. By
    default the cases are seeded noise: the first has values up to 1 and the last up to 255, so
    that a network for either range answers differently; open sizes differ between the calls.

    Raises:
        CKRMError: when `inputs` do not fit the model.
    """
    if inputs is None:
        rng = np.random.default_rng(1)
        cases = ((CASES, OPEN_SIZES[0]), (1, OPEN_SIZES[1]))
        return [[_noise(rng, port, *case) for port in flat.inputs] for case in cases]
    given = [_fitting(port, array) for port, array in _paired(flat, inputs)]
    if not flat.batched:
        return [given, given]
    counts = {len(array) for array in given}
    if len(counts) != 1:
        raise CKRMError(
            "inputs", expected="as many cases of every input", received=f"{sorted(counts)} cases"
        )
    starts = range(0, counts.pop(), BATCH)
    batches = [[array[start : start + BATCH] for array in given] for start in starts]
    return [*batches, [array[:1] for array in given]]


def examples_of(
    flat: FlatModel, given: np.ndarray | Sequence[np.ndarray]
) -> tuple[np.ndarray, ...]:
    """At most `EXAMPLES` cases of every input, taken evenly.

    Raises:
        CKRMError: when they do not fit the model.
    """
    pairs = _paired(flat, given)
    if flat.batched:
        pairs = [(port, evenly(np.asarray(array), EXAMPLES)) for port, array in pairs]
    return tuple(_fitting(port, array) for port, array in pairs)


def difference(
    what: str,
    ports: Sequence[Port],
    expected: Sequence[Arrays],
    received: Sequence[Arrays],
    tolerance: float,
) -> float:
    """Largest difference of an output over all calls, relative to that output's largest value.

    Whole numbers and truth values have to be equal. NaN and infinity are never equal. With an
    infinite tolerance all else is told and not refused.

    Raises:
        CKRMError: when a shape differs or the difference is above `tolerance`.
    """
    worst = 0.0
    for index, port in enumerate(ports):
        pairs = [(one[index], other[index]) for one, other in zip(expected, received, strict=True)]
        found = _relative(pairs)
        rounds = np.isinf(tolerance)
        allowed = tolerance if rounds or port.dtype.startswith("float") else 0.0
        if not found <= allowed:
            shapes = sorted({(one.shape, other.shape) for one, other in pairs})
            raise CKRMError(
                f"output {port.name} of {what}",
                expected=f"the model's, within {allowed:g} of its largest value",
                received=f"a difference of {found:g}; shapes (model, file): {shapes}",
                hint="" if np.isfinite(found) else "Give `inputs` on which the outputs are finite.",
            )
        worst = max(worst, found)
    return worst


def spread(calls: Sequence[Arrays]) -> float:
    """How much outputs vary between the cases of a call, relative to the largest value.

    A difference proves little where this is not far above it. NaN where every call has one case.
    """
    found = [
        float(np.max(np.std(array, axis=0, dtype=np.float64)) / (np.max(np.abs(array)) or 1.0))
        for arrays in calls
        for array in arrays
        if array.ndim and len(array) > 1 and array.size
    ]
    return max(found, default=float("nan"))


def _relative(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    if any(one.shape != other.shape for one, other in pairs):
        return float("nan")
    largest, worst = 0.0, 0.0
    for one, other in pairs:
        if not (np.isfinite(one).all() and np.isfinite(other).all()):
            return float("nan")
        if one.size:
            largest = max(largest, float(np.max(np.abs(one.astype(np.float64)))))
            gap = np.abs(one.astype(np.float64) - other.astype(np.float64))
            worst = max(worst, float(np.max(gap)))
    return worst / (largest or 1.0)


def _noise(rng: np.random.Generator, port: Port, cases: int, open_size: int) -> np.ndarray:
    shape = [open_size if size is None else size for size in port.shape]
    if port.shape and port.shape[0] is None:
        shape[0] = cases
    kind = np.dtype(port.dtype).kind if port.dtype != "string" else "S"
    if kind == "f" or port.dtype == "uint8":
        brightness = np.geomspace(1.0, BRIGHTEST, shape[0]) if shape else np.ones(())
        return (rng.random(shape).T * brightness).T.astype(port.dtype)
    if kind in "iub":
        # An embedding of any size has these two.
        return rng.integers(0, 2, shape).astype(port.dtype)
    raise CKRMError(
        f"input {port.name}", expected="`inputs` to compare files on", received=f"{port.dtype}"
    )


def _paired(
    flat: FlatModel, inputs: np.ndarray | Sequence[np.ndarray]
) -> list[tuple[Port, np.ndarray]]:
    given = [inputs] if isinstance(inputs, np.ndarray) else list(inputs)
    if len(given) != len(flat.inputs):
        raise CKRMError(
            "inputs",
            expected=f"{len(flat.inputs)} arrays: {', '.join(port.name for port in flat.inputs)}",
            received=f"{len(given)}",
        )
    return list(zip(flat.inputs, given, strict=True))


def _fitting(port: Port, given: np.ndarray) -> np.ndarray:
    array = np.asarray(given).astype(port.dtype)
    fits = len(array.shape) == len(port.shape) and all(
        size in (None, found) for size, found in zip(port.shape, array.shape, strict=True)
    )
    if not fits or not array.size:
        raise CKRMError(
            f"input {port.name}", expected=f"shape {port.shape}", received=f"{array.shape}"
        )
    return array
