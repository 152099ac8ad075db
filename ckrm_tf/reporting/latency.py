"""How long networks take for a batch, measured in the formats that users run."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import keras
import numpy as np

from ckrm_tf.errors import CKRMError
from ckrm_tf.export.base import Call, Format
from ckrm_tf.export.files import write
from ckrm_tf.export.flat import FlatModel
from ckrm_tf.export.inference import inference_model
from ckrm_tf.export.registry import FORMATS
from ckrm_tf.reporting.files import size_on_disk
from ckrm_tf.reporting.record import Latency

BATCHES = (1, 32)
CALLS, WARM = 30, 3

# The formats that are timed, and what runs them.
RUNTIMES = {
    "saved_model": "TensorFlow, SavedModel, CPU",
    "litert": "LiteRT, CPU",
    "onnx": "ONNX Runtime, CPU",
}


def measure_latency(
    models: Mapping[str, keras.Model],
    scale: float,
    *,
    batches: Sequence[int] = BATCHES,
    calls: int = CALLS,
    formats: Sequence[str] = tuple(RUNTIMES),
) -> tuple[Latency, ...]:
    """Time each network in each format that is installed.

    The networks take turns call by call, so that what else the machine does meets all alike.

    Args:
        models: trained networks by name, from `image` in [0, 1] to `logits`.
        scale: the pixel value of full brightness.
        batches: images at once.
        calls: timed calls, after a few to warm up.
        formats: of `RUNTIMES`; those that are not installed are passed over.

    Returns:
        One row for each network, runtime and batch: median, fastest and slowest call.

    Raises:
        CKRMError: as `ckrm_tf.export.inference.inference_model`.
    """
    flats = {name: FlatModel.of(inference_model(model, scale)) for name, model in models.items()}
    return time_models(flats, scale, batches=batches, calls=calls, formats=formats)


def time_models(
    flats: Mapping[str, FlatModel],
    scale: float = 1.0,
    *,
    batches: Sequence[int] = BATCHES,
    calls: int = CALLS,
    formats: Sequence[str] = tuple(RUNTIMES),
    open_side: int = 1,
) -> tuple[Latency, ...]:
    """`measure_latency` of any models, called as they are.

    Args:
        flats: models by name, of any number of inputs.
        scale: the largest number of an input.
        batches, calls, formats: as in `measure_latency`.
        open_side: the size of a side that a model leaves open.
    """
    rows = []
    for name in formats:
        one, runtime = FORMATS[name], RUNTIMES[name]
        if not _installed(one):
            continue
        with tempfile.TemporaryDirectory() as folder:
            called, sizes = {}, {}
            for number, (network, flat) in enumerate(flats.items()):
                path = Path(folder) / f"{number}" / one.file
                called[network] = _reader(one, flat, path)
                sizes[network] = size_on_disk(path).bytes
            for batch in batches:
                given = {n: _drawn(flats[n], batch, scale, open_side) for n in called}
                timed = _timed(called, given, calls)
                rows += [
                    Latency(n, runtime, batch, median(t), min(t), max(t), calls, sizes[n])
                    for n, t in timed.items()
                ]
    return tuple(rows)


def _installed(one: Format) -> bool:
    try:
        one.check_installed()
    except CKRMError:
        return False
    return True


def _reader(one: Format, flat: FlatModel, path: Path) -> Call:
    path.parent.mkdir()
    write(one, flat, path, {})
    return one.read(path, flat)


def _drawn(flat: FlatModel, batch: int, scale: float, open_side: int) -> list[np.ndarray]:
    """Seeded noise for every input."""
    random = np.random.default_rng(1)
    shapes = [(batch, *(side or open_side for side in port.shape[1:])) for port in flat.inputs]
    pairs = zip(shapes, flat.inputs, strict=True)
    return [random.uniform(0, scale, shape).astype(port.dtype) for shape, port in pairs]


def _timed(
    called: Mapping[str, Call], given: Mapping[str, list[np.ndarray]], calls: int
) -> dict[str, list[float]]:
    """Seconds of each timed call, by network."""
    times: dict[str, list[float]] = {name: [] for name in called}
    for number in range(WARM + calls):
        for name, call in called.items():
            started = time.perf_counter()
            call(given[name])
            if number >= WARM:
                times[name].append(time.perf_counter() - started)
    return times
