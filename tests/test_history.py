from __future__ import annotations

from dataclasses import replace

import pytest

from ckrm_tf import CKRMError, Design, Stage, Widths
from ckrm_tf.criteria.base import Signal
from ckrm_tf.judge.select import acceptable, smallest_acceptable
from ckrm_tf.tuning.history import Outcome


def trial(stem: int, *aucs: float, params: int | None = None) -> Outcome:
    return Outcome(
        Widths(stem, (Stage(1, 4, 4),)).to_design(), aucs, stem if params is None else params
    )


def test_auc_is_the_mean_over_the_seeds():
    assert trial(8, 0.8, 0.9).auc == pytest.approx(0.85)
    assert not trial(8, 0.8).failed


def test_a_failed_trial_is_below_any_other_and_never_acceptable():
    start, failed = trial(8, 0.0), trial(4)
    assert failed.failed
    assert failed.auc < start.auc
    assert not acceptable(failed, [start], margin=1e9)


def test_the_margin_itself_is_acceptable():
    start = trial(8, 0.75)
    assert acceptable(trial(4, 0.5), [start], margin=0.25)
    assert not acceptable(trial(4, 0.4999), [start], margin=0.25)
    assert acceptable(start, [start], margin=0.0)


def test_the_smallest_acceptable_has_the_fewest_parameters_then_the_best_auc():
    history = [
        trial(64, 0.90),
        trial(32, 0.89),
        trial(16, 0.881, params=16),
        trial(15, 0.95, params=16),
        trial(8, 0.87),
        trial(4),
    ]
    assert smallest_acceptable(history, 0.02) is history[3]
    assert smallest_acceptable(history, 0.0) is history[3]
    assert smallest_acceptable(history, 0.04) is history[4]
    assert smallest_acceptable(history[:1], 0.02) is history[0]


@pytest.mark.parametrize("history", [[], [trial(8)], [trial(8), trial(4, 0.9)]])
def test_without_a_starting_network_there_is_no_answer(history):
    with pytest.raises(CKRMError, match="starting network"):
        smallest_acceptable(history, 0.02)


def test_networks_of_common_folds_are_compared_within_them():
    design = Design({"a": 2})
    start = Outcome(design, (0.9, 0.8), 1, folds=(0, 1))
    # Better on each fold, though its mean is lower.
    other = Outcome(design, (0.81, 0.82, 0.70), 1, folds=(1, 1, 2))
    assert other.auc < start.auc
    assert other.below(start) == pytest.approx(-0.015)
    assert other.below(replace(start, folds=())) == pytest.approx(start.auc - other.auc)
    assert replace(other, folds=(2, 2, 2)).below(start) == pytest.approx(start.auc - other.auc)
    assert Outcome.from_dict(other.to_dict()) == other


def test_the_objective_weighs_the_redundancy():
    signals = {"a": Signal(0.2, 1.0, 0.0), "b": Signal(0.4, 1.0, 0.0)}
    outcome = Outcome(Design({"a": 2}), (0.9,), 1, signals)
    assert outcome.objective(0.0) == pytest.approx(0.9)
    assert outcome.objective(0.1) == pytest.approx(0.87)
