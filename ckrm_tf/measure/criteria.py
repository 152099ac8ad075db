"""The one small interface by which any criterion steers the search.

A criterion looks at the kernels that share a width and answers with a `Signal`: how redundant
they are, how many of them are needed, and a finer number that ranks widths when nothing is
redundant outright. The proposal knows signals only, not criteria.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import numpy as np

from ckrm_tf.errors import unknown_name
from ckrm_tf.measure.eigenvalues import CRITERIA as SLICE_CRITERIA
from ckrm_tf.measure.eigenvalues import slice_values, threshold_for
from ckrm_tf.measure.kernels import ConvolutionKernel, model_kernels
from ckrm_tf.measure.redundancy import THRESHOLD, dissimilar_kernels, null, omega
from ckrm_tf.measure.signal import Signal
from ckrm_tf.measure.similarity import initial_variance, kernel_similarity, resolve_epsilon

# A slice counts as dead below this share of the weight it was initialised with.
DEAD_SHARE = 0.5


Criterion = Callable[[Sequence[ConvolutionKernel]], Signal]


def ckrm_signal(kernels: Sequence[ConvolutionKernel], threshold: float = THRESHOLD) -> Signal:
    """CKRM over the convolutions that share a width.

    The measures of several convolutions are averaged: a filter count serves them all. Widths of
    pointwise convolutions are judged on the vectors over their input channels, each convolution
    of the group standing for one slice.
    """
    if kernels[0].pointwise:
        parts = [_joint(kernels, threshold)]
    else:
        parts = [_single(kernel, threshold) for kernel in kernels]
    return Signal(
        redundancy=float(np.mean([p.redundancy for p in parts])),
        needed=float(np.mean([p.needed for p in parts])),
        excess=float(np.mean([p.excess for p in parts])),
    )


def _single(kernel: ConvolutionKernel, threshold: float) -> Signal:
    epsilon = resolve_epsilon(kernel.shape, None)
    similarities = [kernel_similarity(group, epsilon) for group in kernel.groups]
    return _signal(similarities, kernel, epsilon, threshold)


def _joint(kernels: Sequence[ConvolutionKernel], threshold: float) -> Signal:
    """Eq. 7 with one slice per convolution: its vector over the input channels."""
    similarities = [kernel_similarity(k.groups[0], resolve_epsilon(k.shape, None)) for k in kernels]
    first = kernels[0]
    return _signal(
        [np.mean(similarities, axis=0)], first, resolve_epsilon(first.shape, None), threshold
    )


def _signal(
    similarities: Sequence[np.ndarray], kernel: ConvolutionKernel, epsilon: float, threshold: float
) -> Signal:
    values = np.concatenate([omega(s) for s in similarities])
    base = null(kernel.shape, threshold, epsilon, pointwise=kernel.pointwise)
    lam = float(np.mean(values > threshold))
    needed = sum(len(dissimilar_kernels(s, threshold)) for s in similarities)
    return Signal(
        redundancy=max(0.0, (lam - base.lam) / max(1.0 - base.lam, 1e-9)),
        needed=needed / kernel.shape[-1],
        excess=float(np.mean(values)) - base.mean,
    )


def slice_signal(kernels: Sequence[ConvolutionKernel], criterion: str) -> Signal:
    """A slice criterion (arXiv 2102.02804) over the convolutions that share a width.

    A slice is dead when its value is below half of what a slice of initial variance would have;
    a filter is needed while it has a live slice. For pointwise kernels the vectors are judged by
    their mean square.
    """
    dead_shares, needed, weakness = [], [], []
    for kernel in kernels:
        spread = np.sqrt(initial_variance(kernel.shape))
        weights = np.concatenate(kernel.groups, axis=-1)
        if kernel.pointwise or weights.ndim != 4 or weights.shape[0] != weights.shape[1]:
            values = np.sqrt(np.mean(weights.reshape(-1, *weights.shape[-2:]) ** 2, axis=0))
            bar = DEAD_SHARE * spread
        else:
            values = slice_values(weights, criterion)
            bar = threshold_for(criterion, DEAD_SHARE * spread, weights.shape[0])
        dead = values < bar
        dead_shares.append(dead.mean())
        needed.append(max(1, np.sum(~dead.all(axis=0))) / dead.shape[1])
        weakness.append(-float(np.log(np.mean(values) / bar + 1e-12)))
    return Signal(
        redundancy=float(np.mean(dead_shares)),
        needed=float(np.mean(needed)),
        excess=float(np.mean(weakness)),
    )


CRITERIA = ("ckrm", *SLICE_CRITERIA)


def criterion(name: str) -> Criterion:
    """The criterion of that name: "ckrm" or one of the slice criteria.

    Raises:
        CKRMError: an unknown name, with the nearest known one.
    """
    if name == "ckrm":
        return ckrm_signal
    if name not in SLICE_CRITERIA:
        raise unknown_name("criterion", name, CRITERIA)
    return lambda kernels: slice_signal(kernels, name)


def width_signals(model: keras.Model, rule: Criterion = ckrm_signal) -> dict[str, Signal]:
    """The signal of every width of a `resnet` model, under the names of `Widths.items`.

    `stem/filters` hears the stem, `stageN/mid` the 3x3 convolutions of the stage, `stageN/out`
    its last 1x1 convolutions and shortcut, which feed one sum and so share their filters.
    """
    groups: dict[str, list[ConvolutionKernel]] = {}
    for kernel in model_kernels(model, pointwise=True):
        width = _width_of(kernel.name)
        if width is not None and kernel.reason is None:
            groups.setdefault(width, []).append(kernel)
    return {width: rule(kernels) for width, kernels in groups.items()}


def _width_of(name: str) -> str | None:
    if name.startswith("stem_conv"):
        return "stem/filters"
    stage, _, rest = name.partition("_")
    # A SlimConv in place of the 3x3 holds several convolutions: `stage1_block1_conv2/conv_top`.
    part = rest.partition("_")[2].partition("/")[0]
    if not stage.startswith("stage"):
        return None
    if part == "conv2":
        return f"{stage}/mid"
    return f"{stage}/out" if part in ("conv3", "shortcut") else None
