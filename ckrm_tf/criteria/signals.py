"""The signals of a network: one for each of its widths."""

from __future__ import annotations

import keras

from ckrm_tf.criteria.base import Criterion, Signal
from ckrm_tf.criteria.ckrm import ckrm_signal
from ckrm_tf.measures.kernels import ConvolutionKernel, model_kernels


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
