"""Networks trained with several seeds: their validation AUC, their probabilities on a split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ckrm_tf.data import Split
from ckrm_tf.design.design import Design
from ckrm_tf.errors import CKRMError
from ckrm_tf.judge import select
from ckrm_tf.store.record import COMPLETED
from ckrm_tf.train.trainer import predict
from ckrm_tf.train.way import PLAIN, Way
from ckrm_tf.tuning.history import Outcome
from ckrm_tf.tuning.runner import Runner


def train_all(
    runner: Runner, design: Design, seeds: Sequence[int], way: Way = PLAIN
) -> list[float]:
    """Validation AUC of each seed, trained or looked up; plainly by default.

    Raises:
        CKRMError: when a training failed.
    """
    runner.expect(((design, seed) for seed in seeds), way)
    found = [runner.run(design, seed, way=way) for seed in seeds]
    runner.release()
    for training in found:
        if training.status != COMPLETED or training.val_auc is None:
            raise CKRMError(
                f"training of {runner.family.describe(design)} with seed {training.seed}",
                expected="a finished training",
                received=training.reason,
                hint=f"Recorded in {runner.journal.path}: without that line it is trained again.",
            )
    return [t.val_auc for t in found if t.val_auc is not None]


def retrained(runner: Runner, outcome: Outcome, seeds: Sequence[int]) -> Outcome:
    """A network's AUC over the given seeds, trained plainly or looked up, without failed ones."""
    runner.expect((outcome.design, seed) for seed in seeds)
    trainings = [runner.run(outcome.design, seed) for seed in seeds]
    runner.release()
    done = [t for t in trainings if t.val_auc is not None]
    aucs = tuple(t.val_auc for t in done if t.val_auc is not None)
    folds = tuple(t.fold for t in done if t.fold is not None)
    return Outcome(outcome.design, aucs, outcome.params, folds=folds)


def confirmed(
    runner: Runner,
    history: Sequence[Outcome],
    seeds: Sequence[int],
    margin: float,
    known: Sequence[float] = (),
) -> Design:
    """The smallest network of a search that holds over the seeds, the starting one if none does.

    See `ckrm_tf.judge.select.recommend`. A network of which a seed fails does not hold: what
    follows needs the weights of each.

    Args:
        runner: trains and remembers.
        history: of the search, the starting network first.
        seeds: trained for each network looked at.
        margin: loss of mean validation AUC that is accepted.
        known: validation AUC of other trainings of the starting network. Nothing chose them by it,
            so they set the bar as well. Without folds alone.
    """

    def again(outcome: Outcome) -> Outcome:
        found = retrained(runner, outcome, seeds)
        return found if len(found.aucs) == len(seeds) else replace(found, aucs=())

    # Both networks are trained with every seed in the end, so the start is too before it judges.
    start = again(history[0])
    if start.aucs and not start.folds:
        start = replace(start, aucs=(*start.aucs, *known))
    return select.recommend([start, *history[1:]], margin, again)[1].design


def probabilities(
    runner: Runner, design: Design, seeds: Sequence[int], split: Split, way: Way = PLAIN
) -> Any:
    """Class probabilities of each seed's network: (seeds, n, classes)."""
    model = runner.build(design)
    found = []
    for path in runner.kept_weights(design, seeds, way):
        model.load_weights(path)
        found.append(predict(model, split, runner.data.scale))
    return np.stack(found)
