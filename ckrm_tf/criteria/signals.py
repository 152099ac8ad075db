"""The signals of a network: one for each of its widths."""

from __future__ import annotations

import keras

from ckrm_tf.criteria.base import Criterion, Signal
from ckrm_tf.criteria.ckrm import ckrm_signal
from ckrm_tf.families.base import Family


def width_signals(
    model: keras.Model, family: Family, rule: Criterion = ckrm_signal
) -> dict[str, Signal]:
    """The signal of every width of a network, under the names of its design.

    Args:
        model: a network that `family` built.
        family: says which kernels speak for each width.
        rule: the criterion.
    """
    return {width: rule(kernels) for width, kernels in family.kernels(model).items()}
