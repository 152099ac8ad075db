from __future__ import annotations

import numpy as np
import pytest

from ckrm_tf import CKRMError, stats
from ckrm_tf.stats.intervals import proportion

LABELS = np.array([0, 0, 0, 1, 1, 2])
SCORES = np.array(
    [[0.8, 0.1, 0.1], [0.4, 0.5, 0.1], [0.5, 0.2, 0.3], [0.3, 0.6, 0.1], [0.2, 0.5, 0.3],
     [0.1, 0.2, 0.7]]
)  # fmt: skip


def test_sensitivity_at_a_threshold_counts_images():
    points = stats.sensitivity_at(LABELS, SCORES, [0.45, 0.5, 0.3], confidence=0.9)
    assert [p.threshold for p in points] == [0.45, 0.5, 0.3]
    assert [p.sensitivity for p in points] == [
        proportion(2, 3, 0.9), proportion(1, 2, 0.9), proportion(1, 1, 0.9)
    ]  # fmt: skip
    assert [p.specificity.value for p in points] == [1, 1, 1]
    # A score at the threshold is not above it: a little lower, and it counts.
    lower = stats.sensitivity_at(LABELS, SCORES, [0.45, 0.499, 0.299])
    assert [p.sensitivity.value for p in lower] == pytest.approx([2 / 3, 1, 1])
    assert [p.specificity.value for p in lower] == pytest.approx([1, 3 / 4, 3 / 5])


@pytest.mark.parametrize("specificity", [0.5, 0.9, 1.0])
@pytest.mark.parametrize("decimals", [1, 8])
def test_thresholds_keep_the_specificity_and_no_more(specificity, decimals):
    rng = np.random.default_rng(1)
    labels = np.arange(90) % 3
    scores = rng.random((90, 3)).round(decimals)
    thresholds = stats.thresholds_at_specificity(labels, scores, specificity)
    for index, point in enumerate(stats.sensitivity_at(labels, scores, thresholds)):
        assert point.specificity.value >= specificity - 1e-12
        others = scores[labels != index, index]
        assert np.mean(others < thresholds[index]) < specificity
    hard = stats.thresholds_at_specificity(labels, scores, 1.0)
    np.testing.assert_array_equal(hard, [scores[labels != c, c].max() for c in range(3)])


def test_disagreements_are_those_of_the_largest_score():
    other = SCORES[[0, 1, 3, 3, 5, 5]]
    found = stats.disagreements(LABELS, SCORES, other)
    assert [(d.image, d.label, d.reference, d.candidate) for d in found] == [
        (2, 0, 0, 1), (4, 1, 1, 2)
    ]  # fmt: skip
    assert stats.disagreements(LABELS, SCORES, SCORES**2) == ()


def test_bad_operating_points_are_told():
    for specificity in (0, 1.1, float("nan")):
        with pytest.raises(CKRMError, match="specificity: expected above 0"):
            stats.thresholds_at_specificity(LABELS, SCORES, specificity)
    for thresholds in ([0.5], [0.5, 0.5, np.nan], 0.5):
        with pytest.raises(CKRMError, match="thresholds: expected 3 numbers"):
            stats.sensitivity_at(LABELS, SCORES, thresholds)
    with pytest.raises(CKRMError, match="none of class 2"):
        stats.sensitivity_at(LABELS[:5], SCORES[:5], [0.5, 0.5, 0.5])
    with pytest.raises(CKRMError, match="received 0 to 2"):
        stats.disagreements(LABELS, SCORES, SCORES[:, :2])


def test_a_sequence_stops_at_the_first_failure():
    calls = []

    def test(position):
        calls.append(position)
        return position != 3

    # Sizes 500, 90, 40, 7: the third in that order fails, so the smallest is never tested.
    result = stats.fixed_sequence([90, 7, 500, 40], test)
    assert calls == [2, 0, 3]
    assert result == stats.FixedSequence(tested=(2, 0, 3), shown=(2, 0), smallest=0)
    assert stats.fixed_sequence([5, 6], lambda _: True).smallest == 0
    assert stats.fixed_sequence([5, 6], lambda _: False) == stats.FixedSequence((1,), (), None)
    for sizes in ([], [3, 3]):
        with pytest.raises(CKRMError, match="sizes: expected one or more"):
            stats.fixed_sequence(sizes, test)


def test_a_sequence_keeps_its_level():
    rng = np.random.default_rng(2)
    # All but the largest are inferior: each test alone is passed falsely with .1.
    false = 0
    for _ in range(2000):
        passed = rng.random(5) < 0.1
        passed[0] = True
        result = stats.fixed_sequence([5, 4, 3, 2, 1], lambda i, p=passed: bool(p[i]))
        false += len(result.shown) > 1
        # Testing all of them would find one in four in ten.
    assert 0.08 < false / 2000 < 0.12
