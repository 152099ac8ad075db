from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest

from ckrm_tf import ResNetFamily, Stage, Widths
from ckrm_tf.criteria.signals import width_signals
from ckrm_tf.measures.table import measure
from ckrm_tf.stats import macro_auc
from ckrm_tf.store.journal import Journal
from ckrm_tf.store.record import COMPLETED, FAILED
from ckrm_tf.train.recipe import Recipe
from ckrm_tf.train.trainer import Trainer, predict
from ckrm_tf.tuning.history import Outcome
from ckrm_tf.tuning.oracle import CKRMOracle
from ckrm_tf.tuning.propose import propose
from ckrm_tf.tuning.rule import Rule
from ckrm_tf.tuning.runner import Runner
from ckrm_tf.tuning.tuner import CKRMTuner

# KerasTuner's locks ask for the thread's name the old way.
pytestmark = [
    pytest.mark.filterwarnings("ignore:currentThread:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:getName:DeprecationWarning"),
    # Keras saves through `np.array(variable)`, which TensorFlow's __array__ does not fit yet.
    pytest.mark.filterwarnings(
        "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
    ),
]

START = Widths(8, (Stage(1, 8, 8),))
DESIGN = START.to_design()
RECIPE = Recipe(epochs=1, batch_size=16, learning_rate=3e-3)
RULE = Rule(margin=1.0, depth=False, floor=2, repeats=1)


class Broken(keras.callbacks.Callback):
    """Dies in the middle of a training, and would again."""

    def on_train_batch_end(self, batch, logs=None):
        raise RuntimeError("no room for the gradients")


class Dying(Trainer):
    def train(self, seed, callbacks=()):
        return super().train(seed, [*callbacks, Broken()])


def tuner_in(folder, data, *, trials=3, seeds=(1,), hopeless=None, make=None, failures=3):
    """A search as the program sets it up; `make` makes the trainer of a network."""
    said = []
    family = ResNetFamily(START, data.input_shape, data.classes)
    runner = Runner(
        data,
        RECIPE,
        Journal(folder / "trials.jsonl", family),
        family,
        weights_dir=folder / "weights",
        on_training=lambda training, new: said.append((training, new)),
    )
    if make is not None:
        runner.make_trainer = lambda widths, recipe, data: make(runner, widths, recipe)
    oracle = CKRMOracle(
        family,
        RULE,
        max_trials=trials,
        max_consecutive_failed_trials=failures,
        seed=1,
    )
    tuner = CKRMTuner(
        oracle, runner, seeds=seeds, directory=folder / "kt", floor=2, hopeless=hopeless,
        penalty=0.1,
    )  # fmt: skip
    return tuner, said


@pytest.fixture(scope="module")
def searched(tmp_path_factory, tiny_data):
    """Three networks, the second of which dies of real causes in its first step."""
    folder = tmp_path_factory.mktemp("search")

    def make(runner, widths, recipe):
        kind = Dying if widths["stem/filters"] == 4 else Trainer
        return kind(lambda: runner.build(widths), tiny_data, recipe)

    tuner, said = tuner_in(folder, tiny_data, make=make)
    tuner.search()
    return folder, tuner, said


def test_trial_0_is_the_start_and_the_others_are_proposed(searched):
    _, tuner, said = searched
    trainings = [t for t, _ in said]
    assert trainings[0].design == DESIGN
    history = [
        Outcome(t.design, (t.val_auc,) if t.val_auc is not None else (), t.params, t.signals)
        for t in trainings
    ]
    for i in (1, 2):
        assert trainings[i].design == propose(history[:i], RULE, tuner.runner.family).design
    assert [Widths.from_items(tuner.oracle.trials[str(i)].hyperparameters.values).to_design()
            for i in range(3)] == [t.design for t in trainings]  # fmt: skip


def test_a_training_that_dies_is_recorded_with_its_reason_and_the_search_goes_on(searched):
    _, tuner, said = searched
    statuses = [t.status for t, _ in said]
    assert statuses == [COMPLETED, FAILED, COMPLETED]
    dead = said[1][0]
    assert dead.reason == "RuntimeError: no room for the gradients"
    assert dead.val_auc is None
    assert dead.finished
    trial = tuner.oracle.trials["1"]
    assert trial.status == "FAILED"
    assert "no room for the gradients" in trial.message


def test_the_journal_has_every_training(searched):
    folder, tuner, said = searched
    assert Journal(folder / "trials.jsonl", tuner.runner.family).read() == [t for t, _ in said]
    assert all(new and t.cpu_seconds > 0 for t, new in said)


def test_what_is_recorded_is_what_the_saved_weights_give(searched, tiny_data):
    """AUC, lambda and signals once more, from the file of weights."""
    _, tuner, said = searched
    training = said[2][0]
    model = tuner.load_model(tuner.oracle.trials["2"])
    probabilities = predict(model, tiny_data.val, tiny_data.scale)
    assert training.val_auc == pytest.approx(macro_auc(tiny_data.val.labels, probabilities))
    table = measure(model)
    table = table[table["skipped"] == ""].set_index("name")["lambda"]
    assert dict(training.lam) == pytest.approx(table.to_dict())
    assert dict(training.signals) == width_signals(model, tuner.runner.family)
    assert set(training.signals) == {"stem/filters", "stage1/mid", "stage1/out"}
    assert model.count_params() > training.params
    assert training.params == Widths.from_items(training.design).params(tiny_data.input_shape, 3)
    assert training.steps == 3
    assert np.isfinite(training.loss)


def test_the_metrics_reach_keras_tuner(searched):
    _, tuner, said = searched
    trial = tuner.oracle.trials["0"]
    start = said[0][0]
    assert trial.score == pytest.approx(tuner.oracle.history()[0].objective(0.1))
    assert trial.metrics.get_last_value("val_auc/0") == pytest.approx(start.val_auc)
    # The oracle has the signals themselves, as the journal does.
    assert tuner.oracle.history()[0].signals == dict(start.signals)
    assert {f"lambda/{n}" for n in start.lam} <= set(trial.metrics.metrics)
    assert tuner.oracle.get_best_trials(1)[0].status == "COMPLETED"


def test_run_again_it_trains_nothing_twice_and_goes_on(searched, tiny_data):
    """Another process would do the same: only the journal is shared."""
    folder, _, before = searched
    tuner, said = tuner_in(folder, tiny_data, trials=4)
    tuner.search()
    assert [t for t, _ in said[:3]] == [t for t, _ in before]
    assert [new for _, new in said] == [False, False, False, True]
    assert len(Journal(folder / "trials.jsonl", tuner.runner.family).read()) == 4


def test_a_network_tried_again_gets_the_seeds_that_follow(tmp_path, tiny_data):
    tuner, said = tuner_in(tmp_path, tiny_data, seeds=(4, 5))
    tuner.oracle.strategy = lambda history, rule, family, running=(): DESIGN
    tuner.search()
    assert [t.seed for t, _ in said] == [4, 5, 6, 7, 8, 9]
    assert {t.design for t, _ in said} == {DESIGN}
    (only,) = tuner.oracle.history()
    assert list(only.aucs) == pytest.approx([t.val_auc for t, _ in said])
    last = tuner.load_model(tuner.oracle.trials["2"])
    assert predict(last, tiny_data.val, 255.0) == pytest.approx(
        weights_of(tuner.runner, DESIGN, 8), abs=1e-6
    )
    # Run again, it looks up the same seeds.
    tuner, said = tuner_in(tmp_path, tiny_data, seeds=(4, 5))
    tuner.oracle.strategy = lambda history, rule, family, running=(): DESIGN
    tuner.search()
    assert [(t.seed, new) for t, new in said] == [(n, False) for n in range(4, 10)]


def weights_of(runner, widths, seed):
    """Validation probabilities of the weights kept of one training."""
    model = runner.build(widths)
    model.load_weights(runner.weights_path(widths, seed))
    return predict(model, runner.data.val, 255.0)


def test_too_many_failures_in_a_row_end_the_search_with_the_reason(tmp_path, tiny_data):
    def make(runner, widths, recipe):
        kind = Trainer if widths == DESIGN else Dying
        return kind(lambda: runner.build(widths), tiny_data, recipe)

    tuner, said = tuner_in(tmp_path, tiny_data, trials=9, make=make, failures=2)
    with pytest.raises(RuntimeError, match="no room for the gradients"):
        tuner.search()
    assert [t.status for t, _ in said] == [COMPLETED, FAILED, FAILED]


def test_seeds_are_averaged_and_a_hopeless_network_is_left_after_its_first(tmp_path, tiny_data):
    """`hopeless=-1` sets the bar above 1: every later network falls below it."""
    tuner, said = tuner_in(tmp_path, tiny_data, trials=2, seeds=(3, 4), hopeless=-1.0)
    tuner.search()
    assert [(t.design == DESIGN, t.seed) for t, _ in said] == [(True, 3), (True, 4), (False, 3)]
    aucs = tuner.oracle.history()[0].aucs
    assert aucs == pytest.approx((said[0][0].val_auc, said[1][0].val_auc))
    assert aucs[0] != aucs[1]


def test_a_loss_that_is_not_finite_is_a_recorded_failure(tmp_path, tiny_data):
    recipe = replace(RECIPE, learning_rate=1e30, epochs=2)
    family = ResNetFamily(START, tiny_data.input_shape, tiny_data.classes)
    runner = Runner(tiny_data, recipe, Journal(tmp_path / "trials.jsonl", family), family)
    training = runner.run(DESIGN, 1)
    assert training.status == FAILED
    assert training.reason.startswith("CKRMError: training loss: expected a finite number")
    # A failure is looked up too: the same would happen again.
    assert runner.run(DESIGN, 1) is training


class Greedy(keras.callbacks.Callback):
    """Asks for more memory than any machine has."""

    def on_train_batch_end(self, batch, logs=None):
        np.zeros(2**50)


def test_want_of_memory_is_no_fact_and_the_next_process_tries_again(tmp_path, tiny_data):
    family = ResNetFamily(START, tiny_data.input_shape, tiny_data.classes)
    journal, notes = tmp_path / "trials.jsonl", []

    def runner(*callbacks):
        return Runner(
            tiny_data,
            RECIPE,
            Journal(journal, family),
            family,
            make_callbacks=lambda design, seed: callbacks,
            note=notes.append,
        )

    first = runner(Greedy())
    training = first.run(DESIGN, 1)
    assert (training.status, training.retryable) == (FAILED, "out of memory")
    # The same process does not try again and again.
    assert first.run(DESIGN, 1) is training
    second = runner()
    assert second.run(DESIGN, 1).status == COMPLETED
    assert len(notes) == 1
    assert notes[0].endswith("is trained again: it failed for out of memory")
    assert [t.status for t in Journal(journal, family).read()] == [FAILED, COMPLETED]
    assert [t.status for t in Journal(journal, family).current()] == [COMPLETED]


def test_without_kept_weights_there_is_no_model_to_load(tmp_path, tiny_data):
    tuner, _ = tuner_in(tmp_path, tiny_data, trials=1)
    tuner.runner.weights_dir = None
    trial = tuner.oracle.create_trial("tuner0")
    with pytest.raises(FileNotFoundError, match="kept no weights"):
        tuner.load_model(trial)
