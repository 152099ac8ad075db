"""What rounding costs: the AUC of a file on labelled images, beside that of the model in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ckrm_tf.errors import CKRMError
from ckrm_tf.export.compare import BATCH, Arrays
from ckrm_tf.stats import compare_trained_models, macro_auc_interval


def as_they_are(outputs: np.ndarray) -> np.ndarray:
    """Outputs that are probabilities already."""
    return outputs


@dataclass(frozen=True)
class Judge:
    """Images with labels for files that do not compute what the model computes.

    Attributes:
        inputs: images (n, ...) as the model takes them.
        labels: (n,), class indices.
        split: the images in a word, such as "validation".
        probabilities: from the model's output (n, units) to probabilities (n, classes).
    """

    inputs: np.ndarray
    labels: np.ndarray
    split: str
    probabilities: Callable[[np.ndarray], np.ndarray] = as_they_are

    @property
    def calls(self) -> list[Arrays]:
        """The images in batches, as inputs of calls."""
        starts = range(0, len(self.inputs), BATCH)
        return [[self.inputs[start : start + BATCH]] for start in starts]

    def compare(self, model: Sequence[Arrays], file: Sequence[Arrays]) -> dict[str, Any]:
        """Both macro AUCs with their intervals, and the difference, file minus model.

        The intervals are about other images. Where the labels do not allow it, `why` tells.

        Args:
            model: what the model answers to `calls`, in float32.
            file: the same of the file.
        """
        first, second = (
            self.probabilities(np.concatenate([outputs[0] for outputs in found]))
            for found in (model, file)
        )
        told: dict[str, Any] = {"split": self.split, "images": len(self.labels)}
        try:
            both = compare_trained_models(self.labels, first, second)
            intervals = [asdict(macro_auc_interval(self.labels, p)) for p in (first, second)]
        except CKRMError as error:
            return told | {"why": str(error)}
        names = ("difference", "low", "high", "confidence")
        return (
            told
            | {"model": intervals[0], "file": intervals[1]}
            | {name: getattr(both, name) for name in names}
        )
