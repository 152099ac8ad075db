"""What idle workers are given: guesses of what the search asks for next."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_propose import FAMILY, RULE, START, World

from ckrm_tf.tuning.ahead import GUESSES, Search, ahead, imagined
from ckrm_tf.tuning.answers import Stop
from ckrm_tf.tuning.from_signals import propose_from_signals
from ckrm_tf.tuning.history import Outcome, merged
from ckrm_tf.tuning.propose import propose
from ckrm_tf.tuning.uniform import propose_uniform


def search(world, strategy=propose):
    return Search(strategy, RULE, FAMILY, world.scores)


def trained(history, design):
    return next((o.tries for o in history if o.design == design), 0)


@pytest.mark.parametrize("strategy", [propose, propose_from_signals, propose_uniform])
def test_what_is_wanted_next_was_mostly_guessed(strategy):
    """Guesses are made before the outcome is known; a search that stops or scores makes none."""
    hits = guesses = wrong = 0
    for seed in range(4):
        world = World(seed, noise=0.004)
        world.train(START)
        for _ in range(8):
            answer = world.answer(strategy)
            if isinstance(answer, Stop):
                break
            design = getattr(answer, "design", answer)
            if design is None:
                break
            history = merged(world.outcomes)
            told = [w for step in ahead(search(world, strategy), history, design, 1) for w in step]
            world.train(design)
            after = merged(world.outcomes)
            scored = dict(world.scores)
            answer = world.answer(strategy)
            wanted = getattr(answer, "design", None if isinstance(answer, Stop) else answer)
            # Scores that are asked for meanwhile cannot be guessed.
            if wanted is None or world.scores != scored:
                continue
            guesses += 1
            hits += (wanted, trained(after, wanted)) in told
            wrong += sum(w != (wanted, trained(after, wanted)) for w in told)
    assert guesses > 8
    assert hits > 0.6 * guesses
    # They are guesses: some are for nothing.
    assert wrong > 0


def test_guesses_are_all_different_and_no_more_than_were_asked_for():
    world = World(1)
    history = world.play(3)
    design = world.answer().design
    steps = list(ahead(search(world), history, design, 3))
    told = [w for step in steps for w in step]
    assert len(told) == len(set(told)) > len(GUESSES) > 0
    assert 0 < len(steps) <= 3
    assert len(list(ahead(search(world), history, design, 1))) == 1
    assert list(ahead(search(world), history, design, 0)) == []


def test_guessing_changes_nothing():
    """The proposals with and without it are the same: it has no say in what was trained."""
    plain, watched = World(2, noise=0.004), World(2, noise=0.004)
    expected = [o.design for o in plain.play(8)]
    watched.train(START)
    for _ in range(20):
        answer = watched.answer()
        if isinstance(answer, Stop) or len(merged(watched.outcomes)) == len(expected):
            break
        before = dict(watched.scores)
        list(ahead(search(watched), merged(watched.outcomes), answer.design, 3))
        assert watched.scores == before
        watched.train(answer.design)
    assert [o.design for o in merged(watched.outcomes)][: len(expected)] == expected


def test_nothing_is_guessed_without_a_starting_network():
    world = World(1)
    assert list(ahead(search(world), [], START, 3)) == []
    failed = Outcome(START, (), FAMILY.cost(START).params)
    assert list(ahead(search(world), [failed], START, 3)) == []


@pytest.mark.parametrize("guess", GUESSES)
def test_an_imagined_outcome_lies_as_far_below_the_start_as_was_guessed(guess):
    """With folds on the one that its training sees, where the start was trained on it too."""
    world = World(3)
    world.train(START)
    design = world.answer().design
    (start,) = world.outcomes
    folded = replace(start, aucs=(0.95, 0.75), folds=(0, 1))
    for folds in ((None,), (0, 1), (1, 0), (2,)):
        known = start if folds == (None,) else folded
        found = imagined(search(world), [known], design, guess, folds)
        assert found.below(known) == pytest.approx(guess * RULE.margin)
        assert found.folds == (() if folds == (None,) else folds[:1])
        assert found.signals == start.signals
    # The next training of a network sees the next fold.
    again = imagined(search(world), [folded, found], design, guess, (2, 0))
    assert again.folds == (0,)
    assert again.aucs == pytest.approx((0.95 - guess * RULE.margin,))
