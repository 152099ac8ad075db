"""The CKRM table of a model: one row per convolution."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
import pandas as pd

from ckrm_tf.errors import CKRMError
from ckrm_tf.measures.kernels import ConvolutionKernel, model_kernels
from ckrm_tf.measures.null import kernel_null
from ckrm_tf.measures.redundancy import (
    QUANTILES,
    THRESHOLD,
    Redundancy,
    check_pairs,
    check_threshold,
    kernel_energies,
    pooled,
    redundancy,
)
from ckrm_tf.measures.similarity import check_epsilon, group_similarity

COLUMNS = (
    "name", "shape", "lambda", "null", "null_sd", "told", "mean",
    *(f"q{round(100 * q):02d}" for q in QUANTILES),
    "max", "pairs", "dissimilar", "epsilon", "folded", "low", "high", "skipped",
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

    Kernels are measured together with the batch norm that follows them, and epsilon is a share of
    the layer's own energy. So networks that compute the same get the same numbers: layers may be
    scaled, filters scaled and turned about where batch norm takes it up, channels permuted.

    Args:
        model: functional, sequential or subclassed; nested layers are found.
        images: some hundred images as the model takes them, without labels: what the channels say
            on them is measured too (`ckrm_tf.measures.responses`).
        threshold: t of Eq. 9.
        epsilon: None for a quarter of each layer's own mean slice variance, or one absolute value.
        pairs: compare only so many random pairs per layer; None compares all.
        pointwise: measure 1x1 convolutions by the vector over their input channels.
        seed: chooses the sampled pairs.
        progress: called with a layer's name before it is measured.

    Returns:
        One row per convolution: `name`, `shape`, `lambda`, `null` (mean lambda of random kernels of
        the same shape), `null_sd` (its standard deviation from draw to draw), `told` (whether
        lambda exceeds the null by more than that spread explains), mean, quantiles and max of
        Omega, `pairs` compared, `dissimilar` (number of mutually dissimilar kernels), `epsilon`
        used, `folded` (whether a batch norm that follows was taken into the kernel), `low` and
        `high` (95% interval, sampled only), `skipped` (the reason, else empty). With images also
        the columns of `response_measure`, and a row for each sum, dense layer and other width that
        is no convolution's; nothing is skipped for being pointwise.

    Raises:
        CKRMError: bad arguments, a model that is not built or has no convolution; with images, a
            subclassed model or images that do not fit.

    Example:
        >>> from ckrm_tf import Widths, resnet
        >>> table = measure(resnet(Widths.from_rule(4, 2), (32, 32, 1)))
        >>> int((table["skipped"] == "").sum()), bool(table["told"].any())
        (17, False)
    """
    check_arguments(threshold, epsilon, pairs)
    if not getattr(model, "built", False):
        raise CKRMError("model", expected="a built Keras model", received=repr(model))
    kernels = list(model_kernels(model, pointwise=pointwise))
    if images is None:
        return kernel_table(kernels, threshold, epsilon, pairs, seed, progress)
    from ckrm_tf.measures.responses import ResponseMeasure  # noqa: PLC0415 - without images: less
    from ckrm_tf.measures.responses_table import with_responses  # noqa: PLC0415

    made = ResponseMeasure(model, images, threshold)
    table = pd.DataFrame(columns=list(COLUMNS))
    if kernels:
        table = kernel_table(kernels, threshold, epsilon, pairs, seed, progress)
    return with_responses(table, made, made.table(seed=seed))


def check_arguments(threshold: float, epsilon: float | None, pairs: int | None) -> None:
    """Refuse what `measure` cannot work with."""
    check_threshold(threshold)
    check_epsilon(epsilon)
    check_pairs(pairs)


def kernel_table(
    kernels: Iterable[ConvolutionKernel],
    threshold: float = THRESHOLD,
    epsilon: float | None = None,
    pairs: int | None = None,
    seed: int = 1,
    progress: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """The table of `measure` for kernels from anywhere; the arguments are the same.

    Raises:
        CKRMError: no kernel.
    """
    rows = []
    for kernel in kernels:
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
    # The groups share the epsilon of the whole layer.
    absolute = kernel.epsilon(epsilon)
    groups = kernel.groups
    possible = sum(group.shape[-1] * (group.shape[-1] - 1) // 2 for group in groups)
    if pairs is None or pairs >= possible:
        similarities = group_similarity(groups, absolute)
        return pooled(similarities, [kernel_energies(g) for g in groups], threshold, absolute)
    share = max(1, pairs // len(groups))
    parts = [
        redundancy(group, threshold, absolute, pairs=share, seed=seed + number)
        for number, group in enumerate(groups)
    ]
    if len(parts) == 1:
        return parts[0]
    values = np.concatenate([p.omega for p in parts])
    # A group that has no more pairs than its share is compared whole.
    ends = [p.interval or (p.lam, p.lam) for p in parts]
    low, high = (float(np.mean([end[i] for end in ends])) for i in (0, 1))
    lam = float(np.mean(values > threshold))
    return Redundancy(lam, (low, high), len(values), None, values, absolute)


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
    row: dict[str, object] = {
        "name": kernel.name,
        "shape": kernel.shape,
        "told": False,
        "folded": kernel.folded,
        "skipped": "",
    }
    if kernel.reason is not None:
        return row | {"skipped": kernel.reason}
    found = redundancy_of(kernel, threshold, epsilon, pairs, seed)
    quantiles = np.quantile(found.omega, QUANTILES)
    row |= {f"q{round(100 * q):02d}": float(v) for q, v in zip(QUANTILES, quantiles, strict=True)}
    low, high = found.interval or (None, None)
    base = kernel_null([kernel], threshold, epsilon)
    return row | {
        "lambda": found.lam,
        "null": base.lam,
        "null_sd": base.sd,
        # Of sampled pairs the whole interval must lie above.
        "told": (found.lam if low is None else low) > base.ceiling,
        "mean": float(np.mean(found.omega)),
        "max": float(np.max(found.omega)),
        "pairs": found.pairs,
        "dissimilar": found.dissimilar,
        "epsilon": found.epsilon,
        "low": low,
        "high": high,
    }
