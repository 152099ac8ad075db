"""The fine-tuning of `search.narrow`: kept where it lowers no AUC."""

from __future__ import annotations

import keras
import numpy as np
from rich.console import Console

from ckrm_tf.data import Dataset
from ckrm_tf.models.facts import ModelFacts, probabilities
from ckrm_tf.stats import macro_auc
from ckrm_tf.train.fine_tune import check_taught, fine_tune


def train(
    console: Console,
    small: keras.Model,
    data: Dataset,
    facts: ModelFacts,
    choosing: str,
    epochs: int,
    learning_rate: float,
    seed: int,
    taught_by: np.ndarray | None,
) -> None:
    """Fine-tune, and keep the result where the AUC of the choosing split has not fallen."""
    split = data.splits()[choosing]

    def auc() -> float:
        return macro_auc(split.labels, probabilities(small, split.images, data.scale, facts))

    weights, before = small.get_weights(), auc()
    with console.status("fine-tuning"):
        loss = fine_tune(
            small,
            data.train.images,
            data.train.labels,
            data.scale,
            facts,
            epochs=epochs,
            learning_rate=learning_rate,
            seed=seed,
            taught_by=taught_by,
        )
    told = "" if taught_by is None else ", taught by the model as given"
    after = auc()
    if after < before:
        small.set_weights(weights)
    console.print(
        f"trained   {epochs} epoch(s){told}, loss {loss:.3f}: AUC of the {choosing} split "
        f"{before:.3f} -> {after:.3f}, " + ("kept" if after >= before else "not kept"),
        highlight=False,
    )


def taught_by_given(given: keras.Model, data: Dataset, facts: ModelFacts) -> np.ndarray:
    """Probabilities of the model as given on the training images, in which nothing judges."""
    found = probabilities(given, data.train.images, data.scale, facts)
    check_taught(facts, found, len(data.train))
    return found
