"""The verdict of `search.narrow`: both models on images that neither has seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from rich.console import Console

from ckrm_tf.data import Dataset
from ckrm_tf.export import Judge
from ckrm_tf.models.facts import ModelFacts, as_pixels, as_probabilities, probabilities
from ckrm_tf.models.judged import check_above_chance
from ckrm_tf.stats import compare_trained_models


@dataclass(frozen=True)
class Judged:
    """Two trained models on the same images."""

    split: str
    images: int
    verdict: Any

    def __str__(self) -> str:
        v = self.verdict
        word = "equivalent" if v.equivalent else "non-inferior" if v.non_inferior else "not shown"
        return (
            f"AUC {v.auc_reference:.3f} as given, {v.auc_candidate:.3f} narrowed, difference "
            f"{v.difference:+.3f} [{v.low:+.3f}, {v.high:+.3f}] on {self.images} images of the "
            f"{self.split} split: {word} at a margin of {v.margin:g}"
        )


def as_given(
    console: Console,
    model: keras.Model,
    data: Dataset | None,
    facts: ModelFacts | None,
    unseen: str,
) -> np.ndarray | None:
    """Probabilities of the model as given on the split that judges, once it is above chance."""
    if data is None or facts is None or unseen == "none":
        return None
    split = data.splits()[unseen]
    found = probabilities(model, split.images, data.scale, facts)
    verdict = compare_trained_models(split.labels, found, found)
    console.print(
        f"as given  AUC {verdict.auc_reference:.3f} on the {unseen} split, taken as never seen by "
        "the model (--unseen)",
        highlight=False,
    )
    check_above_chance(split.labels, found, unseen)
    return found


def judge(
    small: keras.Model,
    data: Dataset,
    facts: ModelFacts,
    unseen: str,
    reference: np.ndarray,
    margin: float,
) -> Judged:
    """Both models on the split that judges.

    Args:
        small: the narrowed model.
        data, facts, unseen: the images, how the models read them, and the split.
        reference: (n, classes), what `as_given` found there.
        margin: loss of macro AUC that is acceptable.
    """
    split = data.splits()[unseen]
    found = probabilities(small, split.images, data.scale, facts)
    verdict = compare_trained_models(split.labels, reference, found, margin=margin)
    return Judged(unseen, len(split.labels), verdict)


def validation(data: Dataset, facts: ModelFacts) -> Judge:
    """The validation split, on which a file that rounds is held against the model in it."""
    return Judge(
        as_pixels(data.val.images, data.scale, facts),
        data.val.labels,
        "validation",
        lambda outputs: as_probabilities(outputs, facts.output),
    )
