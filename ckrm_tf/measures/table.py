"""The CKRM table of a model: one row per convolution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pandas as pd

from ckrm_tf.errors import CKRMError
from ckrm_tf.measures.kernels import ConvolutionKernel, model_kernels
from ckrm_tf.measures.redundancy import (
    QUANTILES,
    THRESHOLD,
    Redundancy,
    check_pairs,
    check_threshold,
    null,
    redundancy,
)
from ckrm_tf.measures.similarity import resolve_epsilon

COLUMNS = (
    "name", "shape", "lambda", "null", "mean",
    *(f"q{round(100 * q):02d}" for q in QUANTILES),
    "max", "pairs", "dissimilar", "epsilon", "low", "high", "skipped",
)  # fmt: skip


def measure(
    model: keras.Model,
    images: Any = None,
    *,
    threshold: float = THRESHOLD,
    epsilon: float | None = None,
    pairs: int | None = None,
    pointwise: bool = False,
    seed: int = 1,
    progress: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Measure every convolution of a built Keras model.

    Args:
        model: functional, sequential or subclassed; nested layers are found.
        images: must be None.
        threshold: t of Eq. 9.
        epsilon: None for a quarter of each layer's initial variance, or one absolute value.
        pairs: compare only so many random pairs per layer; None compares all.
        pointwise: measure 1x1 convolutions by the vector over their input channels.
        seed: chooses the sampled pairs.
        progress: called with a layer's name before it is measured.

    Returns:
        One row per convolution: `name`, `shape`, `lambda`, `null` (lambda of random kernels of
        the same shape), mean, quantiles and max of Omega, `pairs` compared, `dissimilar` (number
        of mutually dissimilar kernels), `epsilon` used, `low` and `high` (95% interval, sampled
        only), `skipped` (the reason, else empty).

    Raises:
        CKRMError: bad arguments, a model that is not built or has no convolution.
    """
    check_threshold(threshold)
    check_pairs(pairs)
    if images is not None:
        raise CKRMError("images", expected="None", received=type(images).__name__)
    if not getattr(model, "built", False):
        raise CKRMError("model", expected="a built Keras model", received=repr(model))
    rows = []
    for kernel in model_kernels(model, pointwise=pointwise):
        if progress is not None:
            progress(kernel.name)
        rows.append(_row(kernel, threshold, epsilon, pairs, seed))
    if not rows:
        raise CKRMError("model", expected="at least one convolution", received="none")
    return pd.DataFrame(rows, columns=list(COLUMNS))


def redundancy_of(
    kernel: ConvolutionKernel,
    threshold: float,
    epsilon: float | None,
    pairs: int | None = None,
    seed: int = 1,
) -> Redundancy:
    """The pooled redundancy of a convolution's groups: only pairs within a group are compared."""
    # Fans count the whole layer, so the groups share the epsilon of the full shape.
    absolute = resolve_epsilon(kernel.shape, epsilon)
    share = None if pairs is None else max(1, pairs // len(kernel.groups))
    parts = [
        redundancy(group, threshold, absolute, pairs=share, seed=seed + number)
        for number, group in enumerate(kernel.groups)
    ]
    if len(parts) == 1:
        return parts[0]
    values = np.concatenate([p.omega for p in parts])
    counts = [p.dissimilar for p in parts]
    known = [c for c in counts if c is not None]
    needed = sum(known) if len(known) == len(counts) else None
    lam = float(np.mean(values > threshold))
    interval = None
    if all(p.interval for p in parts):
        low, high = (float(np.mean([p.interval[i] for p in parts if p.interval])) for i in (0, 1))
        interval = (low, high)
    return Redundancy(lam, interval, len(values), needed, values, absolute)


def measured_lambdas(model: keras.Model, threshold: float = THRESHOLD) -> dict[str, float]:
    """Lambda of every convolution that is not pointwise, by layer name: the cheap part of the
    table, for a trial's record.
    """
    return {
        kernel.name: redundancy_of(kernel, threshold, None).lam
        for kernel in model_kernels(model)
        if kernel.reason is None
    }


def _row(
    kernel: ConvolutionKernel,
    threshold: float,
    epsilon: float | None,
    pairs: int | None,
    seed: int,
) -> dict[str, object]:
    row: dict[str, object] = {"name": kernel.name, "shape": kernel.shape, "skipped": ""}
    if kernel.reason is not None:
        return row | {"skipped": kernel.reason}
    found = redundancy_of(kernel, threshold, epsilon, pairs, seed)
    quantiles = np.quantile(found.omega, QUANTILES)
    row |= {f"q{round(100 * q):02d}": float(v) for q, v in zip(QUANTILES, quantiles, strict=True)}
    low, high = found.interval or (None, None)
    return row | {
        "lambda": found.lam,
        "null": null(kernel.shape, threshold, found.epsilon, pointwise=kernel.pointwise).lam,
        "mean": float(np.mean(found.omega)),
        "max": float(np.max(found.omega)),
        "pairs": found.pairs,
        "dissimilar": found.dissimilar,
        "epsilon": found.epsilon,
        "low": low,
        "high": high,
    }
