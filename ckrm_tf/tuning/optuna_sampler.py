"""An Optuna sampler that reads lambda and validation AUC and proposes the next network."""

from __future__ import annotations

import contextlib
import copy
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ckrm_tf.design.axes import Axis
from ckrm_tf.design.design import Design
from ckrm_tf.errors import CKRMError
from ckrm_tf.families.base import Family
from ckrm_tf.judge.select import parent_of
from ckrm_tf.tuning.answers import Stop, Train
from ckrm_tf.tuning.asking import Scoring, answer_of
from ckrm_tf.tuning.bounds import bounds, design_in
from ckrm_tf.tuning.history import Outcome, merged
from ckrm_tf.tuning.optuna_trials import (
    OUTCOME,
    PROPOSED,
    Proposed,
    age,
    no_optuna,
    proposed,
    running_in,
)
from ckrm_tf.tuning.propose import propose
from ckrm_tf.tuning.rule import Rule, Strategy

try:
    from optuna.distributions import BaseDistribution, IntDistribution
    from optuna.samplers import BaseSampler, RandomSampler
    from optuna.study import Study, StudyDirection
    from optuna.trial import FrozenTrial, Trial, TrialState
except ModuleNotFoundError as error:
    raise no_optuna("CKRMSampler", error) from error

# Seconds between two looks at what other workers were given.
POLL = 0.05


class CKRMSampler(BaseSampler):
    """Proposes networks from the trials of a study; the same rule as `CKRMOracle`.

    The search space is the family's: `suggest(trial)` declares it and returns the network. What
    came of a trial is told by `observe`, with the signals of its widths; of a trial that nobody
    told of, the value is taken for its AUC, and its network counts as without redundancy. The
    first trial is the starting network. A network that is proposed again asks for another seed:
    `repeat(trial)` counts.

    Everything is read from the study, so that a study that is loaded again proposes the same, and
    several processes may work on one storage. Trials propose in the order of their numbers. While
    the starting network has not ended, and where nothing new is left while others run, a worker is
    given a further seed. A study under `optimize` stops when nothing is left.

    Args:
        family: the networks, their starting one and what they cost.
        rule: settings of the proposal.
        strategy: the pure function that proposes; `propose` by default.
        seed: of the random sampler that draws parameters which are not the family's.
        patience: seconds to wait for an earlier trial that has not proposed yet; its process may
            be dead.

    Attributes:
        scoring: as `CKRMOracle.scoring`.
        note: as `CKRMOracle.note`.

    Example:
        >>> import optuna
        >>> from ckrm_tf import ResNetFamily, Widths
        >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
        >>> sampler = CKRMSampler(ResNetFamily(Widths.from_rule(8, 2.0, (1, 1))))
        >>> study = optuna.create_study(direction="maximize", sampler=sampler)
        >>> trial = study.ask()
        >>> sampler.suggest(trial) == sampler.family.start
        True
        >>> sampler.repeat(trial)
        0
    """

    def __init__(
        self,
        family: Family,
        rule: Rule | None = None,
        strategy: Strategy = propose,
        *,
        seed: int | None = None,
        patience: float = 30.0,
    ) -> None:
        self.family, self.rule, self.strategy = family, rule or Rule(), strategy
        self.scoring: Scoring | None = None
        self.note: Callable[[str], None] = warnings.warn
        self.patience = patience
        self._others = RandomSampler(seed)

    @property
    def space(self) -> dict[str, IntDistribution]:
        """The distribution of each axis of the family."""
        return {axis.name: distribution_of(axis, self.rule.floor) for axis in self.family.axes}

    def suggest(self, trial: Trial) -> Design:
        """The network of a trial, whose parameters it becomes.

        Args:
            trial: of a study with this sampler, or with any other.
        """
        numbers = {
            name: trial.suggest_int(name, d.low, d.high, step=d.step, log=d.log)
            for name, d in self.space.items()
        }
        return design_in(numbers, self.family.axes)

    def repeat(self, trial: Trial) -> int:
        """How many earlier trials of the study have this trial's network; 0 in another sampler."""
        found = proposed(trial.study._storage.get_trial(trial._trial_id))
        return 0 if found is None else found.repeat

    def observe(self, trial: Trial, outcome: Outcome) -> None:
        """Tell what came of a trial, before its value is returned.

        Args:
            trial: its network was suggested.
            outcome: AUC of each seed and the signals of each width, as
                `ckrm_tf.criteria.signals.width_signals` makes them.

        Raises:
            CKRMError: the outcome of another network.
        """
        design = self._suggested(trial.params)
        if design != outcome.design:
            raise CKRMError(
                f"outcome of trial {trial.number}", expected=design, received=outcome.design
            )
        trial.set_user_attr(OUTCOME, outcome.to_dict())

    def history(self, study: Study) -> list[Outcome]:
        """The networks of the finished trials; trials of one network are merged.

        The starting network's come first, then the oldest. Trials that did not suggest every axis
        are passed over.

        Raises:
            CKRMError: an outcome that nobody told, in a study whose value is no AUC.
        """
        return self._history(study, study.get_trials(deepcopy=False))

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The family's axes; see `optuna.samplers.BaseSampler`."""
        return {**self.space}

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Propose, and keep the proposal with the trial: other workers see it at once."""
        if proposed(trial) is None:
            self._propose(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The network proposed for the trial; see `optuna.samplers.BaseSampler`."""
        found = proposed(study._storage.get_trial(trial._trial_id))
        design = (found or self._propose(study, trial)).design
        # The widths of an absent stage are 0, which no distribution holds; any number will do.
        return {n: max(design[n], d.low) for n, d in self.space.items() if n in search_space}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """At random: a parameter that is not the family's."""
        return self._others.sample_independent(study, trial, param_name, param_distribution)

    def reseed_rng(self) -> None:
        """See `optuna.samplers.BaseSampler`: only parameters that are not the family's."""
        self._others.reseed_rng()

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Stop a study under `optimize` when nothing is left to try."""
        ended = copy.copy(trial)
        ended.state, ended.values = state, values
        trials = [
            ended if t.number == trial.number else t for t in study.get_trials(deepcopy=False)
        ]
        if isinstance(self._answer(study, trials), Stop) and not running_in(trials):
            # By ask and tell there is no loop to end: the caller sees spare trials.
            with contextlib.suppress(RuntimeError):
                study.stop()

    def _propose(self, study: Study, trial: FrozenTrial) -> Proposed:
        """Propose a network for a trial, once all earlier trials have theirs."""
        others = self._earlier(study, trial)
        answer = self._answer(study, others)
        if isinstance(answer, Stop):
            history = self._history(study, others)
            parent = parent_of(history, self.rule.margin, self.rule.penalty)
            design, why = parent.design, f"a further seed: {answer.why}"
        else:
            design, why = answer.design, answer.why
        fixed = trial.system_attrs.get("fixed_params", {})
        if fixed:
            numbers = design.to_dict()
            numbers |= {name: value for name, value in fixed.items() if name in numbers}
            design = design_in(numbers, self.family.axes)
        repeat = [self._design(t) for t in others].count(design)
        found = Proposed(design, repeat, why, spare=isinstance(answer, Stop))
        # Optuna gives samplers no public way to write to a running trial; its own do the same.
        study._storage.set_trial_user_attr(trial._trial_id, PROPOSED, found.to_dict())
        return found

    def _earlier(self, study: Study, trial: FrozenTrial) -> list[FrozenTrial]:
        """The trials before this one, once each has been proposed a network or waited for."""
        end = time.monotonic() + self.patience
        while True:
            trials = [t for t in study.get_trials(deepcopy=False) if t.number < trial.number]
            late = [
                t
                for t in trials
                if t.state == TrialState.RUNNING and proposed(t) is None and age(t) < self.patience
            ]
            if not late or time.monotonic() > end:
                return [t for t in trials if t.state != TrialState.WAITING]
            time.sleep(POLL)

    def _answer(self, study: Study, trials: Sequence[FrozenTrial]) -> Train | Stop:
        """What the strategy makes of these trials."""
        history = self._history(study, trials)
        start = self.family.start
        if not history or history[0].design != start:
            return Train(start, "the starting network")
        if history[0].failed and history[0].tries < self.rule.repeats:
            return Train(start, "the starting network, which has failed")
        running = [found.design for found in running_in(trials)]
        answer, self.scoring = answer_of(
            self.strategy, history, self.rule, self.family, running, self.scoring, self.note
        )
        return answer

    def _history(self, study: Study, trials: Sequence[FrozenTrial]) -> list[Outcome]:
        told = [self._outcome(study, t) for t in trials if t.state.is_finished()]
        found = merged(outcome for outcome in told if outcome is not None)
        return sorted(found, key=lambda outcome: outcome.design != self.family.start)

    def _outcome(self, study: Study, trial: FrozenTrial) -> Outcome | None:
        """What came of a finished trial, or None where it had no network."""
        design = self._suggested(trial.params)
        if design is None:
            return None
        if OUTCOME in trial.user_attrs:
            return Outcome.from_dict(trial.user_attrs[OUTCOME])
        params = self.family.cost(design).params
        if trial.values is None:
            return Outcome(design, (), params, failures=1)
        if study.directions != [StudyDirection.MAXIMIZE]:
            raise CKRMError(
                f"trial {trial.number} of a study",
                expected="the outcome (sampler.observe), or a value that is an AUC to maximise",
                received="/".join(d.name.lower() for d in study.directions),
            )
        return Outcome(design, (trial.values[0],), params)

    def _suggested(self, values: Mapping[str, Any]) -> Design | None:
        """The network of a trial's parameters, None where an axis is missing."""
        whole = all(axis.name in values for axis in self.family.axes)
        return design_in(values, self.family.axes) if whole else None

    def _design(self, trial: FrozenTrial) -> Design | None:
        """The network of a trial, or that it will have."""
        found = proposed(trial)
        return self._suggested(trial.params) or (None if found is None else found.design)


def distribution_of(axis: Axis, floor: int) -> IntDistribution:
    """The range of an axis as Optuna takes it; see `ckrm_tf.tuning.bounds`."""
    found = bounds(axis, floor)
    # A starting width need not be a multiple; Optuna would cut it off.
    step = found.step if (found.high - found.low) % found.step == 0 else 1
    return IntDistribution(found.low, found.high, log=found.log, step=step)
