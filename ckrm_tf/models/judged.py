"""What a model as given is worth on these data, before anything is made of it."""

from __future__ import annotations

import numpy as np

from ckrm_tf.errors import CKRMError
from ckrm_tf.stats import macro_auc_interval


def check_above_chance(labels: np.ndarray, probabilities: np.ndarray, split: str) -> None:
    """Refuse a model that knows nothing of the classes: its input or classes must be wrong.

    Args:
        labels: (n,), class indices.
        probabilities: (n, classes).
        split: whose images these are, for the message.

    Raises:
        CKRMError: the interval of its macro AUC reaches down to one half.
    """
    interval = macro_auc_interval(labels, probabilities[None])
    if interval.low <= 0.5:
        raise CKRMError(
            f"the model as given on the {split} split",
            expected="an AUC above chance",
            received=f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]",
            hint="Are --pixels, --output and the order of the classes right?",
        )
