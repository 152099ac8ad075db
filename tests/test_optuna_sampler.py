"""The rule as a sampler of Optuna: Optuna's own laws of samplers, and those of the search."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

optuna = pytest.importorskip("optuna", reason="needs the extra optuna")

from optuna.distributions import FloatDistribution, IntDistribution  # noqa: E402
from optuna.samplers import PartialFixedSampler, RandomSampler  # noqa: E402
from optuna.testing.pytest_samplers import (  # noqa: E402
    BasicSamplerTestCase,
    MultiObjectiveSamplerTestCase,
    RelativeSamplerTestCase,
)
from optuna.trial import TrialState  # noqa: E402

from ckrm_tf import CKRMError, CKRMSampler  # noqa: E402
from ckrm_tf.criteria.base import Signal  # noqa: E402
from ckrm_tf.families.resnet import ResNetFamily  # noqa: E402
from ckrm_tf.families.vgg import VGGFamily  # noqa: E402
from ckrm_tf.families.widths import Stage, Widths  # noqa: E402
from ckrm_tf.tuning.history import Outcome, merged  # noqa: E402
from ckrm_tf.tuning.optuna_sampler import OUTCOME, PROPOSED  # noqa: E402
from ckrm_tf.tuning.propose import propose  # noqa: E402
from ckrm_tf.tuning.rule import Rule  # noqa: E402
from ckrm_tf.tuning.uniform import propose_uniform  # noqa: E402

optuna.logging.set_verbosity(optuna.logging.ERROR)

ROOT = Path(__file__).parent.parent
FAMILY = ResNetFamily(Widths(16, (Stage(1, 16, 32), Stage(2, 16, 32))), (16, 16, 1))
RULE = Rule(repeats=2)
NEED = {"stem/filters": 5, "stage1/mid": 9, "stage2/mid": 6}


class Ours:
    @pytest.fixture
    def sampler(self):
        return lambda: CKRMSampler(FAMILY, RULE, seed=1)


# Optuna's laws. They call the sampler with parameters x, y, ... of their own, which are no axes of
# a family and are drawn independently, so all of these two apply.
class TestBasic(Ours, BasicSamplerTestCase):
    pass


class TestSeveralObjectives(Ours, MultiObjectiveSamplerTestCase):
    pass


class TestRelative(Ours, RelativeSamplerTestCase):
    """Those that dictate the relative space do not apply: it is the family's, whole numbers alone.

    What they ask of a point is asked below of every axis of a family.
    """

    test_sample_relative_numerical = None
    test_sample_relative_categorical = None
    test_sample_relative_mixed = None


def outcome(design, auc: float) -> Outcome:
    shares = {n: need / design[n] for n, need in NEED.items() if design[n]}
    signals = {n: Signal(0.1, min(1.0, share), 0.0) for n, share in shares.items()}
    return Outcome(design, (auc,), FAMILY.cost(design).params, signals)


def auc(design, repeat: int = 0) -> float:
    missing = sum(max(0.0, math.log(n / max(1, design[name]))) for name, n in NEED.items())
    return 0.9 - 0.1 * missing + 0.001 * repeat


def study_with(sampler, storage=None, name="search"):
    return optuna.create_study(
        storage=storage,
        sampler=sampler,
        direction="maximize",
        study_name=name,
        load_if_exists=True,
    )


def objective(sampler):
    def train(trial) -> float:
        design, repeat = sampler.suggest(trial), sampler.repeat(trial)
        found = outcome(design, auc(design, repeat))
        sampler.observe(trial, found)
        return found.auc

    return train


def played(trials: int) -> list:
    """The same search without a host."""
    history, asked = [], []
    for _ in range(trials):
        found = propose(merged(history), RULE, FAMILY)
        if not hasattr(found, "design"):
            break
        asked.append(found.design)
        history.append(outcome(found.design, auc(found.design, asked.count(found.design) - 1)))
    return asked


def networks(study, sampler) -> list:
    return [sampler._design(t) for t in study.trials]


@pytest.mark.parametrize("storage", [None, "sqlite", "journal"])
def test_one_worker_is_given_what_the_rule_proposes_whatever_the_storage(tmp_path, storage):
    if storage == "sqlite":
        storage = f"sqlite:///{tmp_path / 'study.db'}"
    if storage == "journal":
        backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "study.log"))
        storage = optuna.storages.JournalStorage(backend)
    sampler = CKRMSampler(FAMILY, RULE)
    study = study_with(sampler, storage)
    study.optimize(objective(sampler), n_trials=12)
    expected = played(12)
    assert networks(study, sampler) == expected
    assert len(set(expected)) > 6
    whole = [outcome(d, auc(d, expected[:i].count(d))) for i, d in enumerate(expected)]
    assert sampler.history(study) == merged(whole)


def test_other_aucs_and_no_signals_are_other_proposals():
    """The negative control of the test above."""
    sampler = CKRMSampler(FAMILY, RULE)
    study = study_with(sampler)
    study.optimize(lambda trial: auc(sampler.suggest(trial)), n_trials=6)
    assert networks(study, sampler)[0] == FAMILY.start
    assert networks(study, sampler) != played(6)


def test_another_strategy_is_asked_instead():
    sampler = CKRMSampler(FAMILY, RULE, propose_uniform)
    study = study_with(sampler)
    study.optimize(objective(sampler), n_trials=3)
    second = networks(study, sampler)[1]
    assert {second[n] for n in ("stem/filters", "stage1/mid", "stage2/mid")} == {8}


def test_a_study_that_is_loaded_again_proposes_the_same(tmp_path):
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    for trials in (3, 1, 4):
        sampler = CKRMSampler(FAMILY, RULE)
        study_with(sampler, storage).optimize(objective(sampler), n_trials=trials)
    assert networks(study_with(sampler, storage), sampler) == played(8)


def test_a_study_stops_when_no_move_is_left():
    sampler = CKRMSampler(FAMILY, RULE)
    study = study_with(sampler)
    study.optimize(objective(sampler), n_trials=500)
    assert networks(study, sampler) == played(500)
    assert len(study.trials) < 500
    # Asked all the same, it gives the smallest that holds a further seed.
    trial = study.ask()
    design = sampler.suggest(trial)
    assert sampler.repeat(trial) == networks(study, sampler)[:-1].count(design) > 0
    spare = study.trials[-1].user_attrs[PROPOSED]
    assert spare["spare"]
    assert "no move is left" in spare["why"]


def test_every_point_is_a_whole_number_of_its_axis():
    family = ResNetFamily(Widths(16, (Stage(1, 16, 32), Stage(1, 8, 16))), (16, 16, 1))
    sampler = CKRMSampler(family, Rule(floor=4))
    study = study_with(sampler)
    assert all(isinstance(d, IntDistribution) for d in sampler.space.values())
    for number in range(12):
        trial = study.ask()
        design = sampler.suggest(trial)
        assert all(type(value) is int for value in trial.params.values())
        assert all(sampler.space[n]._contains(v) for n, v in trial.params.items())
        assert family.checked(design) == design
        study.tell(trial, 0.9 if number % 3 else 0.5)


class Multiples(VGGFamily):
    """Widths by eights, one of which starts between two of them."""

    @property
    def axes(self):
        from dataclasses import replace  # noqa: PLC0415

        return tuple(
            replace(a, multiple=8, floor=8) if a.kind == "width" else a for a in super().axes
        )


def test_multiples_and_a_start_between_them():
    family = Multiples((20, 32), (1, 1), (16, 16, 1))
    sampler = CKRMSampler(family, Rule(repeats=1))
    study = study_with(sampler)
    study.optimize(lambda trial: 0.9 + 0 * len(sampler.suggest(trial)), n_trials=4)
    first, *others = networks(study, sampler)
    assert first == family.start
    widths = [a.name for a in family.axes if a.kind == "width"]
    assert others
    assert all(d[n] % 8 == 0 or d[n] == first[n] for d in others for n in widths)


def test_an_absent_stage_is_one_network_whatever_is_drawn_for_its_widths():
    family = ResNetFamily(Widths(16, (Stage(1, 16, 32), Stage(1, 16, 32))), (16, 16, 1))
    gone = family.start.replace({"stage2/blocks": 0, "stage2/mid": 0, "stage2/out": 0})
    sampler = CKRMSampler(family, RULE, lambda history, rule, family, running=(): gone)
    if next(a for a in family.axes if a.name == "stage2/blocks").floor > 0:
        pytest.skip("no stage goes")
    study = study_with(sampler)
    study.optimize(lambda trial: 0.9 if sampler.suggest(trial) else 0.0, n_trials=2)
    assert networks(study, sampler)[1] == gone
    assert study.trials[1].params["stage2/mid"] == sampler.space["stage2/mid"].low


def test_what_is_running_is_not_proposed_again():
    sampler = CKRMSampler(FAMILY, RULE)
    study = study_with(sampler)
    study.optimize(objective(sampler), n_trials=1)
    asked = [study.ask() for _ in range(5)]
    designs = [sampler.suggest(t) for t in asked]
    assert len(set(designs)) == 5
    for trial, design in zip(asked, designs, strict=True):
        found = outcome(design, auc(design))
        sampler.observe(trial, found)
        study.tell(trial, found.auc)
    assert [o.design for o in sampler.history(study)] == [FAMILY.start, *designs]


def test_before_the_start_has_ended_others_get_further_seeds_of_it():
    sampler = CKRMSampler(FAMILY, RULE)
    study = study_with(sampler)
    asked = [study.ask() for _ in range(3)]
    assert [sampler.suggest(t) for t in asked] == [FAMILY.start] * 3
    assert [sampler.repeat(t) for t in asked] == [0, 1, 2]


def test_threads_of_one_study_never_train_the_same():
    sampler = CKRMSampler(FAMILY, RULE)
    study = study_with(sampler)

    def slow(trial):
        time.sleep(0.01 * (trial.number % 3))
        return objective(sampler)(trial)

    study.optimize(slow, n_trials=24, n_jobs=4)
    check_each_once(study, sampler)


def check_each_once(study, sampler) -> None:
    """Every network and seed once; as many networks as a search of one worker has, or nearly."""
    asked = [(sampler._design(t), t.user_attrs[PROPOSED]["repeat"]) for t in study.trials]
    assert len(set(asked)) == len(asked)
    by_design = {}
    for design, repeat in asked:
        by_design.setdefault(design, []).append(repeat)
    assert all(sorted(r) == list(range(len(r))) for r in by_design.values())
    assert len(by_design) > 5


WORKER = """
import sys, time
sys.path.insert(0, sys.argv[2])
from test_optuna_sampler import FAMILY, RULE, CKRMSampler, objective, study_with
assert "tensorflow" not in sys.modules
sampler = CKRMSampler(FAMILY, RULE)
study = study_with(sampler, sys.argv[1])
def slow(trial):
    print(trial.number, flush=True)
    time.sleep(float(sys.argv[3]))
    return objective(sampler)(trial)
study.optimize(slow, n_trials=int(sys.argv[4]))
"""


def worker(storage: str, seconds: float, trials: int) -> subprocess.Popen:
    words = [sys.executable, "-c", WORKER, storage, str(ROOT / "tests"), str(seconds), str(trials)]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(words, env=env, stdout=subprocess.PIPE, text=True)


def test_processes_share_a_storage_and_one_that_is_killed_leaves_the_search_sound(tmp_path):
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    sampler = CKRMSampler(FAMILY, RULE, patience=1.0)
    study = study_with(sampler, storage)
    study.optimize(objective(sampler), n_trials=1)
    doomed = worker(storage, 600, 1)
    assert doomed.stdout.readline().strip() == "1"
    others = [worker(storage, 0.05, 8) for _ in range(2)]
    doomed.send_signal(signal.SIGKILL)
    assert [p.wait(timeout=120) for p in (doomed, *others)] == [-signal.SIGKILL, 0, 0]
    for process in (doomed, *others):
        process.stdout.close()
    assert [t.state for t in study.trials].count(TrialState.RUNNING) == 1
    assert len(study.trials) == 18
    check_each_once(study, sampler)
    # What the dead one had is not waited for, and is not proposed again.
    dead = sampler._design(study.trials[1])
    assert networks(study, sampler).count(dead) == 1


def test_a_trial_that_never_proposed_is_waited_for_no_longer_than_patience():
    sampler = CKRMSampler(FAMILY, RULE, patience=0.2)
    study = study_with(sampler)
    # As a process leaves it that dies between Optuna's two steps.
    study._storage.create_new_trial(study._study_id)
    began = time.monotonic()
    study.ask()
    assert 0.1 < time.monotonic() - began < 2
    began = time.monotonic()
    study.ask()
    assert time.monotonic() - began < 0.15


def test_failed_and_pruned_trials_are_networks_that_were_tried():
    sampler = CKRMSampler(FAMILY, RULE)
    study = study_with(sampler)
    study.optimize(objective(sampler), n_trials=1)
    failed, pruned = study.ask(), study.ask()
    designs = [sampler.suggest(failed), sampler.suggest(pruned)]
    pruned.report(0.55, 1)
    study.tell(failed, state=TrialState.FAIL)
    study.tell(pruned, state=TrialState.PRUNED)
    _, first, second = sampler.history(study)
    assert [first.design, second.design] == designs
    assert first.failed
    assert second.aucs == (0.55,)
    assert sampler.suggest(study.ask()) not in designs


def test_a_start_that_fails_is_tried_again_and_then_a_clear_error():
    sampler = CKRMSampler(FAMILY, RULE)
    study = study_with(sampler)
    for repeat in range(RULE.repeats):
        trial = study.ask()
        assert sampler.suggest(trial) == FAMILY.start
        assert sampler.repeat(trial) == repeat
        if repeat + 1 < RULE.repeats:
            study.tell(trial, state=TrialState.FAIL)
    with pytest.raises(CKRMError, match="starting network"):
        study.tell(trial, state=TrialState.FAIL)
    assert study.trials[-1].state == TrialState.FAIL


def test_a_network_that_a_user_asks_for_is_trained_and_counts():
    sampler = CKRMSampler(FAMILY, RULE)
    study = study_with(sampler)
    study.optimize(objective(sampler), n_trials=1)
    wanted = FAMILY.start.replace({"stem/filters": 7})
    study.enqueue_trial(wanted.to_dict())
    study.enqueue_trial({"stem/filters": 6})
    study.optimize(objective(sampler), n_trials=2)
    assert networks(study, sampler)[1] == wanted
    assert networks(study, sampler)[2]["stem/filters"] == 6
    assert {o.design for o in sampler.history(study)} == set(networks(study, sampler))


def test_a_part_that_is_fixed_is_what_the_trial_has():
    sampler = CKRMSampler(FAMILY, RULE)
    study = study_with(sampler)
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        study.sampler = PartialFixedSampler({"stem/filters": 9}, sampler)
    study.optimize(lambda trial: auc(sampler.suggest(trial)), n_trials=2)
    assert [t.params["stem/filters"] for t in study.trials] == [9, 9]
    assert [o.design["stem/filters"] for o in sampler.history(study)] == [9]


def test_trials_of_another_sampler_and_of_other_parameters_are_read():
    sampler = CKRMSampler(FAMILY, RULE)
    study = study_with(RandomSampler(1))
    study.optimize(lambda trial: auc(sampler.suggest(trial)), n_trials=2)
    study.optimize(lambda trial: trial.suggest_float("rate", 0, 1), n_trials=1)
    study.sampler = sampler
    study.optimize(objective(sampler), n_trials=1)
    assert networks(study, sampler)[3] == FAMILY.start
    # The start is first, whenever it was trained; what has no network is passed over.
    assert [o.design for o in sampler.history(study)] == [
        FAMILY.start,
        *networks(study, sampler)[:2],
    ]


def test_a_value_that_is_no_auc_is_never_taken_for_one():
    sampler = CKRMSampler(FAMILY, RULE)
    study = optuna.create_study(sampler=sampler)
    trial = study.ask()
    sampler.suggest(trial)
    with pytest.raises(CKRMError, match="trial 0 of a study: expected the outcome"):
        study.tell(trial, 0.3)
    # Told, any direction and any number of objectives will do.
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)

    def two(trial):
        design = sampler.suggest(trial)
        sampler.observe(trial, outcome(design, auc(design)))
        return auc(design), FAMILY.cost(design).params

    study.optimize(two, n_trials=5)
    assert networks(study, sampler)[:3] == played(3)
    assert study.best_trials


def test_an_outcome_of_another_network_is_refused():
    sampler = CKRMSampler(FAMILY, RULE)
    trial = study_with(sampler).ask()
    sampler.suggest(trial)
    other = FAMILY.start.replace({"stem/filters": 5})
    with pytest.raises(CKRMError, match="outcome of trial 0"):
        sampler.observe(trial, outcome(other, 0.9))
    sampler.observe(trial, outcome(FAMILY.start, 0.9))


def test_what_is_kept_with_a_trial_is_plain_json():
    sampler = CKRMSampler(FAMILY, RULE)
    study = study_with(sampler)
    study.optimize(objective(sampler), n_trials=2)
    kept = study.trials[1].user_attrs
    assert json.loads(json.dumps(kept)) == kept
    assert set(kept) == {PROPOSED, OUTCOME}
    assert kept[PROPOSED]["why"]


def test_parameters_that_are_no_axes_are_drawn_at_random():
    sampler = CKRMSampler(FAMILY, RULE, seed=3)
    study = study_with(sampler)
    distribution = FloatDistribution(1e-4, 1e-2, log=True)

    def train(trial):
        trial.suggest_float("rate", 1e-4, 1e-2, log=True)
        return objective(sampler)(trial)

    study.optimize(train, n_trials=4)
    rates = [t.params["rate"] for t in study.trials]
    assert len(set(rates)) == 4
    assert all(distribution._contains(rate) for rate in rates)
    assert networks(study, sampler) == played(4)


def test_a_study_over_real_trainings(tmp_path, tiny_data):
    """The signals of trained networks reach the rule; weights and journal are the runner's."""
    from ckrm_tf.store.journal import Journal  # noqa: PLC0415 - TensorFlow, for this test alone
    from ckrm_tf.train.recipe import Recipe  # noqa: PLC0415
    from ckrm_tf.tuning.history import outcomes  # noqa: PLC0415
    from ckrm_tf.tuning.runner import Runner  # noqa: PLC0415

    family = ResNetFamily(Widths(8, (Stage(1, 8, 8),)), tiny_data.input_shape, tiny_data.classes)
    rule = Rule(margin=1.0, floor=2, repeats=1)
    journal = Journal(tmp_path / "trials.jsonl", family)
    runner = Runner(tiny_data, Recipe(epochs=1, batch_size=16), journal, family)
    sampler = CKRMSampler(family, rule)
    study = study_with(sampler, f"sqlite:///{tmp_path / 'study.db'}")

    def train(trial):
        training = runner.run(sampler.suggest(trial), 1 + sampler.repeat(trial))
        sampler.observe(trial, *outcomes([training]))
        return training.val_auc

    study.optimize(train, n_trials=3)
    done = journal.current()
    assert networks(study, sampler) == [t.design for t in done]
    assert [t.values for t in study.trials] == [[t.val_auc] for t in done]
    for number in (1, 2):
        expected = propose(outcomes(done[:number]), rule, family).design
        assert done[number].design == expected
        assert sampler.history(study)[number].signals == done[number].signals
    assert all(t.signals for t in done)


def test_the_examples_run():
    import doctest  # noqa: PLC0415

    from ckrm_tf.tuning import bounds, optuna_sampler  # noqa: PLC0415

    for module in (bounds, optuna_sampler):
        failed, tried = doctest.testmod(module)
        assert tried
        assert not failed


MISSING = """
import sys
sys.modules["optuna"] = None
from ckrm_tf import CKRMSampler
"""


def test_without_optuna_one_line_says_what_to_install():
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", MISSING], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode
    last = done.stderr.strip().splitlines()[-1]
    assert "CKRMError: CKRMSampler: expected Optuna, received no module optuna" in last
    assert "pip install 'ckrm-tf[optuna]'" in last
