"""A KerasTuner oracle that reads lambda and validation AUC and proposes the next network."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import keras_tuner

from ckrm_tf.design.design import Design
from ckrm_tf.families.base import Family
from ckrm_tf.tuning.answers import Stop, Train
from ckrm_tf.tuning.asking import Scoring, answer_of
from ckrm_tf.tuning.bounds import design_in
from ckrm_tf.tuning.history import Outcome, merged
from ckrm_tf.tuning.metrics import AUC, OBJECTIVE
from ckrm_tf.tuning.propose import propose
from ckrm_tf.tuning.rule import Rule, Strategy

# How often the network of a trial was tried before; named as KerasTuner's own "tuner/epochs".
REPEAT = "tuner/repeat"
OBSERVED = "observed"


class CKRMOracle(keras_tuner.Oracle):
    """Proposes networks from the history of a search; works in any KerasTuner tuner.

    A trial's hyperparameters are those of `ckrm_tf.tuning.space.declare`. What came of a trial is
    told by `observe`, with the signals of its widths; of a trial that nobody told of, the metric
    `val_auc`, or else the score, is taken, and its network counts as without redundancy. Trial 0
    is the starting network. The objective is `score`, that of
    `Outcome.objective`. A network that is proposed again asks for other seeds: its hyperparameters
    then hold how often it was tried before, as `REPEAT`.

    Args:
        family: the networks, their starting one and what they cost.
        rule: settings of the proposal.
        strategy: the pure function that proposes; `propose` by default.
        kwargs: KerasTuner's own, `max_trials` above all.

    Attributes:
        scoring: scores slices of trained networks between trials; None, as in a tuner that knows
            nothing of it, leaves the signals to decide.
        why: the reason of the last proposal.
        note: told why slices cannot be scored, where they cannot; a warning by default.

    Example:
        >>> from ckrm_tf import CKRMOracle, ResNetFamily, Stage, Widths
        >>> family = ResNetFamily(Widths(8, (Stage(1, 8, 16),)), (16, 16, 1))
        >>> oracle = CKRMOracle(family, max_trials=10)
        >>> list(oracle.populate_space("0")["values"].values())  # its widths and depths
        [8, 1, 8, 16]
        >>> oracle.why
        'the starting network'
    """

    def __init__(
        self,
        family: Family,
        rule: Rule | None = None,
        strategy: Strategy = propose,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("objective", keras_tuner.Objective(OBJECTIVE, "max"))
        super().__init__(**kwargs)
        self.family, self.rule, self.strategy = family, rule or Rule(), strategy
        self.scoring: Scoring | None = None
        self.why = ""
        self.note: Callable[[str], None] = warnings.warn
        self._observed: dict[str, Outcome] = {}

    def observe(self, trial_id: str, outcome: Outcome) -> None:
        """Tell what came of a trial, before its metrics are reported.

        Args:
            trial_id: KerasTuner's.
            outcome: AUC of each seed and the signals of each width, as
                `ckrm_tf.criteria.signals.width_signals` makes them.
        """
        self._observed[trial_id] = outcome

    def history(self) -> list[Outcome]:
        """The networks of the finished trials, oldest first; trials of one network are merged."""
        done = sorted(t for t in self.trials if self.trials[t].status in ("COMPLETED", "FAILED"))
        return merged(self._outcome(self.trials[t]) for t in done)

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The next design as hyperparameter values; see `keras_tuner.Oracle`."""
        history = self.history()
        running = [self._design(t) for t in self.trials.values() if t.status == "RUNNING"]
        if not history and running:
            return {"status": "IDLE", "values": None}
        answer = self._answer(history, running)
        self.why = answer.why
        if isinstance(answer, Stop):
            return {"status": "STOPPED", "values": None}
        return {"status": "RUNNING", "values": self._values(answer.design)}

    def _answer(self, history: list[Outcome], running: list[Design]) -> Train | Stop:
        """What the strategy wants trained, once it has the scores that it asks for."""
        if not history:
            return Train(self.family.start, "the starting network")
        answer, self.scoring = answer_of(
            self.strategy, history, self.rule, self.family, running, self.scoring, self.note
        )
        return answer

    def get_state(self) -> dict[str, Any]:
        """See `keras_tuner.Oracle`: what was observed is kept in its file."""
        observed = {trial: outcome.to_dict() for trial, outcome in self._observed.items()}
        return dict(super().get_state()) | {OBSERVED: observed}

    def set_state(self, state: dict[str, Any]) -> None:
        """See `keras_tuner.Oracle`."""
        super().set_state(state)
        observed = state.get(OBSERVED, {})
        self._observed = {t: Outcome.from_dict(data) for t, data in observed.items()}

    def _values(self, design: Design) -> dict[str, int]:
        """The hyperparameters of the next trial, with REPEAT when the network was tried before."""
        before = [self._design(trial) for trial in self.trials.values()]
        times = before.count(design)
        return design.to_dict() | ({REPEAT: times} if times else {})

    def _design(self, trial: keras_tuner.engine.trial.Trial) -> Design:
        return design_in(trial.hyperparameters.values, self.family.axes)

    def _outcome(self, trial: keras_tuner.engine.trial.Trial) -> Outcome:
        design = self._design(trial)
        if trial.status != "COMPLETED":
            return Outcome(design, (), self.family.cost(design).params)
        if trial.trial_id in self._observed:
            return self._observed[trial.trial_id]
        metrics = trial.metrics
        auc = metrics.get_last_value(AUC) if AUC in metrics.metrics else trial.score
        return Outcome(design, (float(auc),), self.family.cost(design).params)
