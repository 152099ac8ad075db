"""Networks trained with several seeds: their validation AUC, their probabilities on a split."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np

from ckrm_tf.data import Split
from ckrm_tf.errors import CKRMError
from ckrm_tf.families.widths import Widths
from ckrm_tf.store.record import COMPLETED
from ckrm_tf.train.trainer import predict
from ckrm_tf.tuning.runner import Runner
from search.settings import CONFIRMED_SHARE


def train_all(runner: Runner, widths: Widths, seeds: Sequence[int]) -> list[float]:
    """Validation AUC of each seed, trained or looked up.

    Raises:
        CKRMError: when a training failed.
    """
    found = [runner.run(widths, seed) for seed in seeds]
    runner.release()
    for training in found:
        if training.status != COMPLETED or training.val_auc is None:
            raise CKRMError(
                f"training of {widths} with seed {training.seed}",
                expected="a finished training",
                received=training.reason,
                hint=f"Recorded in {runner.journal.path}: without that line it is trained again.",
            )
    return [t.val_auc for t in found if t.val_auc is not None]


def confirmed(
    runner: Runner, start: Widths, candidates: Sequence[Widths], seeds: Sequence[int], margin: float
) -> Widths:
    """The first candidate whose mean validation AUC over the seeds keeps to half the margin.

    Args:
        runner: trains and remembers.
        start: the starting network, the answer when no candidate holds.
        candidates: in the order of preference, the smallest first.
        seeds: trained for each network looked at.
        margin: loss of mean validation AUC that is acceptable.
    """
    bar = fmean(train_all(runner, start, seeds)) - CONFIRMED_SHARE * margin
    for widths in candidates:
        if widths == start or _mean(runner, widths, seeds) >= bar:
            return widths
    return start


def _mean(runner: Runner, widths: Widths, seeds: Sequence[int]) -> float:
    """Mean validation AUC; below any other when a training failed: such a network does not hold."""
    try:
        return fmean(train_all(runner, widths, seeds))
    except CKRMError:
        return float("-inf")


def probabilities(runner: Runner, widths: Widths, seeds: Sequence[int], split: Split) -> Any:
    """Class probabilities of each seed's network: (seeds, n, classes)."""
    model = runner.build(widths)
    found = []
    for seed in seeds:
        path = runner.weights_path(widths, seed)
        if path is None or not path.exists():
            raise CKRMError(
                "weights",
                expected=f"those of {widths}, seed {seed}",
                received="none",
                hint="Were they moved out of the run folder?",
            )
        model.load_weights(path)
        found.append(predict(model, split, runner.data.scale))
    return np.stack(found)
