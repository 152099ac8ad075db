"""Which training a pool begins next, where some take over from a start that is not trained yet."""

from __future__ import annotations

import keras
import pytest

from ckrm_tf.cluster.jobs import MOST_KEPT, Jobs
from ckrm_tf.data.folds import search_folds
from ckrm_tf.families.vgg import VGGFamily
from ckrm_tf.files import checksum
from ckrm_tf.store.journal import Journal
from ckrm_tf.store.record import COMPLETED, FAILED, Training
from ckrm_tf.train.recipe import Recipe
from ckrm_tf.train.way import WEIGHT, Way
from ckrm_tf.tuning.runner import Runner

RECIPE = Recipe(epochs=2, batch_size=16)
TAUGHT = Way(distill=WEIGHT)


@pytest.fixture
def runner(tiny_data, tmp_path):
    """Of a search over two folds, in which nothing is trained."""
    family = VGGFamily((4, 6), (1, 1), tiny_data.input_shape, tiny_data.classes)
    journal = Journal(tmp_path / "trials.jsonl", family)
    return Runner(
        tiny_data,
        RECIPE,
        journal,
        family,
        weights_dir=tmp_path / "weights",
        folds=search_folds(tiny_data, 2, 1),
        first=1,
    )


@pytest.fixture
def narrow(runner):
    return runner.family.start.replace({"stage1/filters": 2})


def record(runner, wanted, status=COMPLETED, journal=None):
    """As if it had been trained: weights are drawn."""
    digest = None
    if status == COMPLETED:
        keras.utils.set_random_seed(wanted.seed)
        path = runner.weights_path(*wanted.key)
        path.parent.mkdir(exist_ok=True)
        runner.build(wanted.design).save_weights(path)
        digest = checksum(path)
    auc = 0.9 if status == COMPLETED else None
    (journal or runner.journal).append(
        Training(wanted.design, wanted.seed, wanted.epochs, status, 1, 1, auc, weights=digest)
    )


def test_an_expected_training_waits_for_its_start(runner, narrow):
    jobs = Jobs()
    start = runner.wanted(runner.family.start, 2)
    jobs.expect(runner, [runner.wanted(narrow, 2, TAUGHT)])
    first = jobs.next()
    assert (first.wanted, first.ahead) == (start, True)
    # It runs: there is nothing else to do.
    assert jobs.next() is None
    record(runner, start, journal=runner.ahead)
    jobs.end(first)
    assert jobs.next().wanted == runner.wanted(narrow, 2, TAUGHT)
    assert jobs.next() is None


def test_a_start_that_is_expected_too_comes_first(runner, narrow):
    jobs = Jobs()
    start = runner.wanted(runner.family.start, 1)
    jobs.expect(runner, [runner.wanted(narrow, 1, TAUGHT), runner.wanted(narrow, 1), start])
    # Neither twice, and what is plain waits for nothing.
    assert [jobs.next().wanted for _ in range(2)] == [start, runner.wanted(narrow, 1)]
    assert jobs.next() is None


def test_the_start_is_that_of_the_same_fold(runner, narrow):
    for seed, teacher in ((1, 1), (2, 2), (3, 1), (4, 2)):
        jobs = Jobs()
        jobs.expect(runner, [runner.wanted(narrow, seed, TAUGHT)])
        assert jobs.next().wanted == runner.wanted(runner.family.start, teacher)


def test_guesses_are_kept_while_their_start_is_trained(runner, narrow):
    jobs = Jobs()
    jobs.waiting.append(runner)
    taught = [runner.wanted(narrow, seed, TAUGHT) for seed in (1, 3, 2)]
    runner.hints = iter([*taught, runner.wanted(narrow, 1)])
    one = jobs.next()
    assert one.wanted == runner.wanted(runner.family.start, 1)
    # The other fold has another start; then comes what needs none.
    assert jobs.next().wanted == runner.wanted(runner.family.start, 2)
    assert jobs.next().wanted == runner.wanted(narrow, 1)
    assert jobs.next() is None
    record(runner, one.wanted)
    jobs.end(one)
    assert [jobs.next().wanted for _ in range(2)] == taught[:2]
    assert jobs.next() is None


def test_no_more_guesses_are_made_than_can_be_kept(runner, narrow):
    jobs, made = Jobs(), []
    jobs.waiting.append(runner)

    def guesses():
        for seed in range(1, 1000, 2):
            made.append(seed)
            yield runner.wanted(narrow, seed, TAUGHT)

    runner.hints = guesses()
    jobs.next()
    for _ in range(20):
        assert jobs.next() is None
    assert len(made) == MOST_KEPT


def test_what_cannot_take_over_is_told_to_who_asks_and_to_nobody_else(runner, narrow):
    wanted = runner.wanted(narrow, 1, TAUGHT)
    record(runner, runner.wanted(runner.family.start, 1), FAILED)
    expected, guessed, asked = Jobs(), Jobs(), Jobs()
    expected.expect(runner, [wanted])
    assert expected.next() is None
    assert not expected.queue
    assert not expected.all
    guessed.waiting.append(runner)
    runner.hints = iter([wanted])
    assert guessed.next() is None
    assert asked.ask(runner, wanted) is asked.next()


def test_altered_weights_hand_nothing_on(runner, narrow):
    start = runner.wanted(runner.family.start, 1)
    record(runner, start)
    assert runner.heritage.ready(1)
    other = Runner(
        runner.data, RECIPE, runner.journal, runner.family, weights_dir=runner.weights_dir
    )
    runner.weights_path(*start.key).write_bytes(b"other")
    assert not other.heritage.ready(1)
