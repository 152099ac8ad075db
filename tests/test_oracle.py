from __future__ import annotations

import json

import keras_tuner
import pytest
from keras_tuner.engine.trial import TrialStatus

from ckrm_tf import CKRMError, Layout, Stage, Widths
from ckrm_tf.criteria.base import Signal
from ckrm_tf.families.resnet import ResNetFamily
from ckrm_tf.store.record import COMPLETED, Training
from ckrm_tf.tuning.history import Outcome, outcomes
from ckrm_tf.tuning.metrics import OBJECTIVE, trial_metrics
from ckrm_tf.tuning.oracle import REPEAT, CKRMOracle
from ckrm_tf.tuning.propose import propose
from ckrm_tf.tuning.rule import Rule
from ckrm_tf.tuning.space import declare

# KerasTuner's locks ask for the thread's name the old way.
pytestmark = [
    pytest.mark.filterwarnings("ignore:currentThread:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:getName:DeprecationWarning"),
]

START = Widths(16, (Stage(1, 16, 32), Stage(2, 16, 32)))
SHAPE = (16, 16, 1)
FAMILY = ResNetFamily(START, SHAPE)


def oracle_in(folder, repeats=1, family=FAMILY, **options) -> CKRMOracle:
    oracle = CKRMOracle(
        family,
        Rule(depth=False, repeats=repeats),
        **{"max_trials": 20, "seed": 1} | options,
    )
    oracle._set_project_dir(str(folder), "project")
    oracle.verbose = 0
    hp = keras_tuner.HyperParameters()
    declare(hp, family.axes)
    oracle.update_space(hp)
    return oracle


def signals_of(widths: Widths, redundancy: float) -> dict[str, Signal]:
    return {
        name: Signal(redundancy if name == "stage2/mid" else 0.0, 0.3125, 0.125)
        for name, _ in widths.items()
        if not name.endswith("/blocks")
    }


def finish(oracle, trial, *aucs: float, redundancy: float = 0.0) -> None:
    """Report a trial as the tuner does."""
    widths = Widths.from_items(trial.hyperparameters.values)
    design = widths.to_design()
    trainings = [
        Training(design, seed, 1, COMPLETED, 10, 20, val_auc=auc, lam={"stem_conv": 0.5},
                 signals=signals_of(widths, redundancy))
        for seed, auc in enumerate(aucs, start=1)
    ]  # fmt: skip
    oracle.observe(trial.trial_id, *outcomes(trainings))
    oracle.update_trial(trial.trial_id, trial_metrics(trainings, 0.1))
    trial = oracle.get_trial(trial.trial_id)
    trial.status = TrialStatus.COMPLETED
    oracle.end_trial(trial)


def fail(oracle, trial) -> None:
    trial.status = TrialStatus.FAILED
    trial.message = "loss is NaN"
    oracle.end_trial(trial)


def test_trial_0_is_the_starting_network_and_the_rest_are_proposals(tmp_path):
    oracle, history = oracle_in(tmp_path), []
    for auc in (0.9, 0.9, 0.6, 0.89, 0.5, 0.9):
        trial = oracle.create_trial("tuner0")
        assert trial.status == TrialStatus.RUNNING
        widths = Widths.from_items(trial.hyperparameters.values)
        expected = propose(history, oracle.rule, FAMILY).design
        assert widths.to_design() == expected
        finish(oracle, trial, auc, redundancy=0.25)
        history.append(Outcome(widths.to_design(), (auc,), 10, signals_of(widths, 0.25)))
        assert oracle.history() == history


def test_a_network_tried_again_says_how_often_and_is_one_in_the_history(tmp_path):
    oracle, asked = oracle_in(tmp_path, repeats=3), []
    for auc in (0.9, 0.5, 0.92, 0.88, 0.5):
        trial = oracle.create_trial("tuner0")
        values = trial.hyperparameters.values
        asked.append((Widths.from_items(values) == START, values.get(REPEAT)))
        finish(oracle, trial, auc)
    assert asked == [(True, None), (False, None), (True, 1), (True, 2), (False, None)]
    start, *others = oracle.history()
    assert start.design == START.to_design()
    assert start.aucs == (0.9, 0.92, 0.88)
    assert [o.aucs for o in others] == [(0.5,), (0.5,)]


def test_signals_and_seeds_survive_as_metrics(tmp_path):
    oracle = oracle_in(tmp_path)
    finish(oracle, oracle.create_trial("tuner0"), 0.75, 0.25, redundancy=0.5)
    (outcome,) = oracle.history()
    assert outcome.aucs == (0.75, 0.25)
    assert outcome.signals == signals_of(START, 0.5)
    metrics = oracle.trials["00"].metrics
    assert {"val_auc", "val_auc/0", "val_auc/1", "ckrm", OBJECTIVE, "lambda/stem_conv",
            "signal/stage2/mid/redundancy", "params", "macs", "seconds", "steps"} <= set(
        metrics.metrics
    )  # fmt: skip
    assert oracle.trials["00"].score == pytest.approx(0.5 - 0.1 * outcome.redundancy)
    assert 0 < outcome.redundancy < 0.5


def test_the_objective_is_maximised(tmp_path):
    oracle = oracle_in(tmp_path)
    for auc in (0.7, 0.9, 0.8):
        finish(oracle, oracle.create_trial("tuner0"), auc)
    assert [t.score for t in oracle.get_best_trials(3)] == pytest.approx([0.9, 0.8, 0.7])


def test_a_second_worker_waits_for_the_start_then_gets_another_network(tmp_path):
    oracle = oracle_in(tmp_path)
    first = oracle.create_trial("tuner0")
    assert oracle.create_trial("tuner1").status == TrialStatus.IDLE
    finish(oracle, first, 0.9)
    second, third = oracle.create_trial("tuner0"), oracle.create_trial("tuner1")
    assert second.hyperparameters.values != third.hyperparameters.values


def test_a_failed_trial_stays_in_the_history_without_auc(tmp_path):
    oracle = oracle_in(tmp_path)
    finish(oracle, oracle.create_trial("tuner0"), 0.9)
    trial = oracle.create_trial("tuner0")
    fail(oracle, trial)
    failed = oracle.history()[1]
    assert failed.failed
    assert failed.design == trial.hyperparameters.values
    following = oracle.create_trial("tuner0")
    assert following.status == TrialStatus.RUNNING
    assert following.hyperparameters.values != trial.hyperparameters.values


def test_one_failure_after_the_other_ends_the_search(tmp_path):
    oracle = oracle_in(tmp_path, max_consecutive_failed_trials=2)
    finish(oracle, oracle.create_trial("tuner0"), 0.9)
    fail(oracle, oracle.create_trial("tuner0"))
    with pytest.raises(RuntimeError, match="consecutive failures"):
        fail(oracle, oracle.create_trial("tuner0"))


def test_a_start_that_failed_is_a_clear_error(tmp_path):
    oracle = oracle_in(tmp_path)
    fail(oracle, oracle.create_trial("tuner0"))
    with pytest.raises(CKRMError, match="starting network"):
        oracle.create_trial("tuner0")


def test_it_stops_when_the_proposals_are_used_up(tmp_path):
    oracle = oracle_in(tmp_path, max_trials=500)
    finish(oracle, oracle.create_trial("tuner0"), 0.9)
    for _ in range(100):
        trial = oracle.create_trial("tuner0")
        if trial.status == TrialStatus.STOPPED:
            break
        finish(oracle, trial, 0.5)
    assert trial.status == TrialStatus.STOPPED
    assert len(oracle.history()) > 3


def test_another_strategy_is_asked_instead(tmp_path):
    wanted = Widths(5, START.stages)
    oracle = oracle_in(
        tmp_path, strategy=lambda history, rule, family, running=(): wanted.to_design()
    )
    finish(oracle, oracle.create_trial("tuner0"), 0.9)
    trial = oracle.create_trial("tuner0")
    assert Widths.from_items(trial.hyperparameters.values) == wanted


def test_parameters_are_counted_for_the_layout(tmp_path):
    layout = Layout(bias=False)
    oracle = oracle_in(tmp_path, family=ResNetFamily(START, SHAPE, 5, layout))
    trial = oracle.create_trial("tuner0")
    oracle.update_trial(trial.trial_id, {OBJECTIVE: 0.8, "val_auc": 0.9})
    trial = oracle.get_trial(trial.trial_id)
    trial.status = TrialStatus.COMPLETED
    oracle.end_trial(trial)
    assert oracle.history()[0].params == START.params(SHAPE, 5, layout)


@pytest.mark.parametrize(
    ("metrics", "auc"), [({OBJECTIVE: 0.8, "val_auc": 0.9}, 0.9), ({OBJECTIVE: 0.8}, 0.8)]
)
def test_a_tuner_that_observes_nothing_is_taken_at_its_metrics(tmp_path, metrics, auc):
    """Any KerasTuner tuner may host the oracle: without signals nothing counts as redundant."""
    oracle = oracle_in(tmp_path)
    trial = oracle.create_trial("tuner0")
    oracle.update_trial(trial.trial_id, metrics)
    trial = oracle.get_trial(trial.trial_id)
    trial.status = TrialStatus.COMPLETED
    oracle.end_trial(trial)
    (outcome,) = oracle.history()
    assert (outcome.aucs, outcome.signals) == ((auc,), {})
    following = oracle.create_trial("tuner0")
    half = {n: w if n.endswith("/blocks") else w // 2 for n, w in START.items()}
    assert FAMILY.cost(outcome.design).params > 0
    assert oracle._design(following) != outcome.design
    assert FAMILY.cost(oracle._design(following)).params <= Widths.from_items(half).params(SHAPE)


def test_a_reloaded_oracle_proposes_the_same(tmp_path):
    """KerasTuner's own files, read back by KerasTuner."""
    oracle = oracle_in(tmp_path)
    for auc in (0.9, 0.88, 0.6):
        finish(oracle, oracle.create_trial("tuner0"), auc)
    again = oracle_in(tmp_path)
    again.reload()
    assert again.history() == oracle.history()
    # Not `create_trial`: KerasTuner hands out the last trial again after a reload.
    proposal = oracle.populate_space("03")
    assert again.populate_space("03") == proposal
    assert json.dumps(proposal)
