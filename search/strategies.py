"""The strategies that `search.compare` sets side by side: guided ones and KerasTuner's own."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import keras_tuner
from keras_tuner.oracles import (
    BayesianOptimizationOracle,
    HyperbandOracle,
    RandomSearchOracle,
)

from ckrm_tf.data import Dataset
from ckrm_tf.errors import CKRMError, unknown_name
from ckrm_tf.families.base import Family
from ckrm_tf.tuning.registry import STRATEGIES as PROPOSED
from search.from_start import FromStart
from search.screening import FromStartScreening
from search.session import MAX_FAILURES, make_oracle
from search.settings import Settings

TUNERS = ("random", "random_linear", "bayesian", "hyperband", "screening")
# Trainings of theirs may be shorter than a full one: their budget is counted in epochs.
SHORT = ("hyperband", "screening")
ALL = (*PROPOSED, *TUNERS)

# KerasTuner draws hyperparameter k of trial t from the generator of seed + t * hyperparameters + k:
# neighbouring seeds would give two repeats nearly the same networks.
SEED_STRIDE = 100_000

# By default KerasTuner draws three points per hyperparameter before its Gaussian process begins,
# which is more than the whole budget here.
BAYESIAN_INITIAL = 8


class Objective:
    """What KerasTuner's oracles maximise, `saving`: decades of parameters saved at intact AUC.

    log10(start's parameters / parameters) when the validation AUC is at most `margin` below the
    starting network's, else 10 (AUC - (reference - margin)), which is negative: first back to the
    AUC, then smaller. The first trial is the starting network and sets the reference.

    Args:
        margin: loss of validation AUC that is still acceptable.
    """

    NAME = "saving"

    def __init__(self, margin: float) -> None:
        self.margin = margin
        self._start: tuple[float, float] | None = None

    def __call__(self, metrics: dict[str, float]) -> dict[str, float]:
        """The metric of one trial; see `CKRMTuner`'s `extra_metrics`."""
        auc, params = metrics["val_auc"], metrics["params"]
        if self._start is None:
            self._start = auc, params
        bar = self._start[0] - self.margin
        saving = math.log10(self._start[1] / params) if auc >= bar else 10 * (auc - bar)
        return {self.NAME: saving}


class FromStartRandom(FromStart, RandomSearchOracle):
    """KerasTuner's random search after the starting network."""


class FromStartBayesian(FromStart, BayesianOptimizationOracle):
    """KerasTuner's Bayesian optimisation after the starting network."""


class FromStartHyperband(FromStart, HyperbandOracle):
    """KerasTuner's Hyperband after the starting network, until its epochs are used up.

    A training of fewer epochs costs that part of a full one: the budget is counted in epochs. Each
    training begins anew, since the learning rate's decay depends on the number of epochs.
    """

    epoch_budget: int

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """See `keras_tuner.Oracle`."""
        spent = sum(
            trial.hyperparameters.values.get("tuner/epochs", self.max_epochs)
            for trial in self.trials.values()
        )
        if spent >= self.epoch_budget:
            return {"status": "STOPPED"}
        return super().populate_space(trial_id)


def check_strategy(name: str) -> None:
    """Refuse an unknown strategy, or one whose library is not installed.

    Raises:
        CKRMError: in either case.
    """
    if name not in ALL:
        raise unknown_name("strategy", name, ALL)
    if name == "bayesian" and find_spec("sklearn") is None:
        raise CKRMError(
            "strategy bayesian",
            expected="scikit-learn, which KerasTuner's Bayesian optimisation needs",
            received="an environment without it",
            hint="Install the extra: pip install 'ckrm-tf[compare]'.",
        )


def make_strategy(
    name: str, settings: Settings, data: Dataset, networks: int
) -> tuple[keras_tuner.Oracle, Callable[[dict[str, float]], dict[str, float]] | None]:
    """The oracle of a strategy and the metrics it needs beside the usual ones.

    Args:
        name: one of `ALL`.
        settings: of this repeat; its seed is that of the strategy too.
        data: what the networks are trained on.
        networks: how many networks may be trained, the starting one included.
    """
    check_strategy(name)
    if name in PROPOSED:
        return make_oracle(replace(settings, strategy=name, trials=networks), data), None
    family = settings.network(data.input_shape, data.classes)
    common = {
        "objective": keras_tuner.Objective(Objective.NAME, "max"),
        "seed": settings.seed * SEED_STRIDE,
        "max_consecutive_failed_trials": MAX_FAILURES,
    }
    oracle: Any
    if name.startswith("random"):
        linear = _linear_space(family, settings.floor) if name == "random_linear" else None
        oracle = FromStartRandom(max_trials=networks, hyperparameters=linear, **common)
    elif name == "bayesian":
        oracle = FromStartBayesian(
            max_trials=networks, num_initial_points=BAYESIAN_INITIAL, **common
        )
    elif name == "screening":
        oracle = FromStartScreening(max_trials=networks * settings.epochs, **common)
        oracle.max_epochs = settings.epochs
        oracle.epoch_budget = networks * settings.epochs
    else:
        # No limit to the iterations: the budget of epochs ends it.
        oracle = FromStartHyperband(max_epochs=settings.epochs, hyperband_iterations=None, **common)
        oracle.epoch_budget = networks * settings.epochs
    oracle.start = family.start
    return oracle, Objective(settings.margin)


def _linear_space(family: Family, floor: int) -> keras_tuner.HyperParameters:
    """The widths as KerasTuner's integers are by default: every number as likely as any other.

    The space of all other strategies is logarithmic, which favours small networks.
    """
    space = keras_tuner.HyperParameters()
    for axis in family.axes:
        space.Int(axis.name, axis.least(floor), axis.size, step=axis.multiple, default=axis.size)
    return space
