"""Where along a way the loss reaches what is accepted: trainings that are partly chance."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckrm_tf import Design
from ckrm_tf.tuning.crossing import crossing
from ckrm_tf.tuning.history import Outcome

MARGIN, MOST, LEAST = 0.01, 2_000_000, 8_000
START = Outcome(Design({"n": MOST}), (0.92,), MOST)
TRUE = 60_000


def auc_of(params, true=TRUE, slope=0.01):
    """A network that loses the margin at `true`, and `slope` for each halving below."""
    return 0.92 - max(0.0, MARGIN + slope * math.log2(true / params))


def outcome(params, *aucs):
    return Outcome(Design({"n": params}), aucs or (auc_of(params),), params)


def belief(others, start=START, guess=200_000, width=2.0):
    return crossing(start, others, MARGIN, MOST, LEAST, guess, width)


def test_without_trainings_it_is_the_guess():
    found = belief([])
    assert sum(found.chances) == pytest.approx(1)
    # Beyond the largest and the least it is cut off, so the median lies a little inwards.
    assert found.median == pytest.approx(200_000, rel=0.3)
    assert belief([], guess=50_000).median == pytest.approx(50_000, rel=0.3)
    # A guess that is far off gives way.
    sizes = [MOST // 2**k for k in range(1, 7)]
    held = belief([outcome(n, 0.92) for n in sizes], guess=1_000_000, width=1.0)
    assert held.median < 100_000
    assert belief([], width=1.0).spread < found.spread


@pytest.mark.parametrize("true", [20_000, 60_000, 400_000])
def test_trainings_lead_to_the_crossing(true):
    sizes = [MOST // 2**k for k in range(1, 8)]
    found = belief([outcome(n, auc_of(n, true), auc_of(n, true)) for n in sizes])
    assert true / 1.8 < found.median < true * 1.8
    assert found.spread < belief([]).spread
    assert found.quantile(0.8) < 4 * true
    assert found.quantile(0.2) > true / 4


def test_bisection_by_the_median_comes_near_in_most_searches():
    ends = []
    for seed in range(40):
        rng, others = random.Random(seed), []
        for _ in range(9):
            at = round(belief(others).median)
            others.append(outcome(at, auc_of(at) + rng.gauss(0, 0.012)))
        ends.append(abs(math.log2(belief(others).median / TRUE)))
    assert sorted(ends)[20] < 1.0
    assert sorted(ends)[36] < 2.5


def test_one_unlucky_training_moves_it_less_than_what_others_say():
    sizes = (400_000, 200_000, 100_000, 50_000)
    good = [outcome(n, 0.92) for n in sizes]
    unlucky = [replace(o, aucs=(0.86,)) if o.params == 200_000 else o for o in good]
    bad = [replace(o, aucs=(0.86,)) for o in good]
    assert belief(good).median <= belief(unlucky).median < 100_000
    assert belief(bad).median > 400_000


def test_a_further_seed_of_the_start_counts():
    others = [outcome(n, 0.905) for n in (400_000, 100_000)]
    lucky = belief(others, replace(START, aucs=(0.92, 0.90)))
    assert lucky.median < belief(others).median


@given(st.floats(-0.3, 0.05), st.integers(0, 1000))
def test_only_differences_to_the_start_count(shift, seed):
    rng = random.Random(seed)
    others = [outcome(n, 0.92 + rng.gauss(0, 0.02)) for n in (300_000, 90_000, 30_000)]
    moved = [replace(o, aucs=(o.aucs[0] + shift,)) for o in others]
    start = replace(START, aucs=(0.92 + shift,))
    assert belief(moved, start).median == belief(others).median
    # Moved without the start, they tell another thing.
    down = [replace(o, aucs=(o.aucs[0] - 0.2,)) for o in others]
    assert belief(down).median > belief(others).median


def test_within_folds_only_the_difference_on_the_fold_counts():
    start = replace(START, aucs=(0.95, 0.85), folds=(0, 1))

    def other(*aucs):
        return [replace(outcome(100_000, *aucs), folds=(0, 1))]

    even = belief(other(0.95, 0.85), start)
    # The harder fold is harder for both.
    turned = belief([replace(outcome(100_000, 0.85, 0.95), folds=(1, 0))], start)
    assert turned.median == even.median
    assert belief(other(0.85, 0.95), start).chances != even.chances
    assert belief(other(0.91, 0.81), start).median > even.median
    # Of a network that tells no folds its mean counts.
    plain = belief([outcome(100_000, 0.90, 0.90)], start)
    assert plain.median == pytest.approx(even.median, rel=0.3)
