"""The ablation: the same proposal, its signals replaced by noise."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import replace

from ckrm_tf.criteria.base import Signal
from ckrm_tf.design.design import Design
from ckrm_tf.families.base import Family
from ckrm_tf.tuning.answers import Answer
from ckrm_tf.tuning.history import History, Outcome
from ckrm_tf.tuning.propose import propose
from ckrm_tf.tuning.rule import Rule


class NoisyPropose:
    """`propose` on signals dealt out at random: does the measure steer, or shrinking alone?

    Each trial's signals are shuffled among its widths, so that their distribution is the real one
    and only the knowledge of which width they belong to is lost. The host deals out scores of
    slices as well (`ckrm_tf.tuning.registry.Kind`).

    Args:
        seed: of the shuffling; the same history gives the same proposal.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __call__(
        self,
        history: Sequence[Outcome],
        rule: Rule,
        family: Family,
        running: Collection[Design] = (),
    ) -> Answer:
        """See `propose`."""
        shuffled = [self._shuffled(i, outcome) for i, outcome in enumerate(history)]
        scores = history.scores if isinstance(history, History) else None
        # What is scored alone cannot be dealt out: all moves of a place are asked for together.
        return propose(History(shuffled, scores), replace(rule, front=None), family, running)

    def _shuffled(self, index: int, outcome: Outcome) -> Outcome:
        names = sorted(outcome.signals)
        signals: list[Signal] = [outcome.signals[name] for name in names]
        random.Random(f"{self.seed}/{index}").shuffle(signals)
        return replace(outcome, signals=dict(zip(names, signals, strict=True)))
