from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

import ckrm_tf.stats
from ckrm_tf import CKRMError, stats
from ckrm_tf.stats.intervals import proportion


def pairwise_auc(labels, scores) -> float:
    """The definition: every positive against every negative, a tie is half a win."""
    wins = [
        1.0 if p > q else 0.5 if p == q else 0.0
        for p in scores[labels == 1]
        for q in scores[labels == 0]
    ]
    return sum(wins) / len(wins)


def slow_delong(labels, *scores):
    """Structural components of DeLong et al. 1988, pair by pair."""
    positives, negatives = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    v10 = np.zeros((len(scores), len(positives)))
    v01 = np.zeros((len(scores), len(negatives)))
    for k, s in enumerate(scores):
        for i, p in enumerate(positives):
            for j, q in enumerate(negatives):
                kernel = 1.0 if s[p] > s[q] else 0.5 if s[p] == s[q] else 0.0
                v10[k, i] += kernel / len(negatives)
                v01[k, j] += kernel / len(positives)
    centred10 = v10 - v10.mean(axis=1, keepdims=True)
    centred01 = v01 - v01.mean(axis=1, keepdims=True)
    s10 = centred10 @ centred10.T / (len(positives) - 1)
    s01 = centred01 @ centred01.T / (len(negatives) - 1)
    return v10.mean(axis=1), s10 / len(positives) + s01 / len(negatives)


def simulated(rng, counts, signal, seeds=1, noise=1.0, seed_noise=0.0):
    """Labels and scores (seeds, n, classes): the true class's column is higher by `signal`."""
    labels = np.repeat(np.arange(len(counts)), counts)
    image = rng.normal(size=(len(labels), len(counts)))
    shift = signal + seed_noise * rng.normal(size=(seeds, 1, 1))
    own = noise * rng.normal(size=(seeds, *image.shape))
    return labels, shift * np.eye(len(counts))[labels] + image + own


scores_with_ties = st.lists(
    st.tuples(st.integers(0, 1), st.integers(-3, 3)), min_size=2, max_size=40
).filter(lambda pairs: len({label for label, _ in pairs}) == 2)


@given(scores_with_ties)
@settings(deadline=None)
def test_auc_is_the_share_of_pairs_in_order(pairs):
    labels, scores = np.array(pairs).T
    assert stats.auc(labels, scores) == pytest.approx(pairwise_auc(labels, scores), abs=1e-12)
    assert stats.auc(labels, -scores) == pytest.approx(1 - stats.auc(labels, scores), abs=1e-12)


@pytest.mark.parametrize("decimals", [1, 8])
@pytest.mark.parametrize("classes", [3, 5])
def test_macro_and_class_auc_agree_with_sklearn(classes, decimals):
    rng = np.random.default_rng(classes)
    labels = rng.integers(0, classes, 200)
    probabilities = rng.dirichlet(np.ones(classes), 200)
    expected = roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    assert stats.macro_auc(labels, probabilities) == pytest.approx(expected, abs=1e-12)
    rounded = probabilities.round(decimals)
    per_class = [pairwise_auc(labels == c, rounded[:, c]) for c in range(classes)]
    np.testing.assert_allclose(stats.class_auc(labels, rounded), per_class, atol=1e-12)


def test_auc_takes_logits_and_booleans():
    logits = np.array([-700.0, 3.0, 2.0, 900.0])
    assert stats.auc(np.array([False, True, False, True]), logits) == 1.0
    assert stats.auc([0, 1], [0.5, 0.5]) == 0.5


@pytest.mark.parametrize("decimals", [0, 6])
def test_delong_agrees_with_its_structural_components(decimals):
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 2, 60)
    a = (labels + rng.normal(size=60)).round(decimals)
    b = (0.5 * labels + 0.5 * a + rng.normal(size=60)).round(decimals)
    aucs, covariance = slow_delong(labels, a, b)
    result = stats.delong(labels, a, b, confidence=0.9)
    np.testing.assert_allclose([result.auc_a, result.auc_b], aucs, atol=1e-12)
    np.testing.assert_allclose(result.covariance, covariance, atol=1e-14)
    error = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    assert result.difference == pytest.approx(aucs[1] - aucs[0])
    assert result.high - result.difference == pytest.approx(1.6448536269514722 * error)
    assert result.p_value == pytest.approx(2 * norm.cdf(-abs(result.difference) / error))
    single = stats.auc_interval(labels, a)
    assert single.high - single.value == pytest.approx(1.959963984540054 * covariance[0, 0] ** 0.5)


def test_delong_of_equal_scores_finds_no_difference():
    labels, scores = np.repeat([0, 1], 10), np.arange(20.0) % 7
    result = stats.delong(labels, scores, scores)
    assert (result.difference, result.low, result.high, result.p_value) == (0, 0, 0, 1)
    perfect = stats.delong(labels, -labels, labels)
    assert (perfect.difference, perfect.p_value) == (1.0, 0.0)


def test_class_intervals_are_the_binary_ones():
    labels, (scores,) = simulated(np.random.default_rng(6), (20, 30, 10), 1.0)
    for index, interval in enumerate(stats.class_auc_intervals(labels, scores)):
        assert interval == stats.auc_interval(labels == index, scores[:, index])
        assert interval.low < stats.class_auc(labels, scores)[index] < interval.high


def test_wilson_intervals_against_the_formula():
    k, n, z = 37, 50, 1.959963984540054
    share = k / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    got = proportion(k, n)
    assert (got.value, got.low, got.high) == pytest.approx((share, centre - half, centre + half))


def test_accuracy_and_sensitivity_count_the_hits():
    labels = np.array([0, 0, 0, 1, 1, 2])
    guesses = np.array([0, 1, 0, 1, 1, 0])
    probabilities = np.eye(3)[guesses] * 0.5 + 0.25
    assert stats.accuracy(labels, probabilities).value == pytest.approx(4 / 6)
    values = [i.value for i in stats.sensitivity(labels, probabilities)]
    assert values == pytest.approx([2 / 3, 1, 0])
    assert stats.sensitivity(labels, probabilities)[2].low == 0
    assert str(proportion(1, 2)) == "0.500 [0.095, 0.905]"


def test_anova_against_sums_of_squares():
    groups = [[0.81, 0.84, 0.80], [0.83, 0.86, 0.88, 0.84], [0.79, 0.80]]
    pooled = np.concatenate(groups)
    between = sum(len(g) * (np.mean(g) - pooled.mean()) ** 2 for g in groups) / 2
    within = sum(((np.array(g) - np.mean(g)) ** 2).sum() for g in groups) / (9 - 3)
    result = stats.anova(*groups)
    assert result.f == pytest.approx(between / within)
    assert 0 < result.p_value < 0.1


def test_spread_over_seeds():
    got = stats.spread([0.8, 0.9, 0.7])
    assert (got.mean, got.sd, got.minimum, got.maximum, got.count) == pytest.approx(
        (0.8, 0.1, 0.7, 0.9, 3)
    )
    assert str(got) == "0.800 ± 0.100"
    alone = stats.spread([0.8])
    assert alone.sd is None
    assert str(alone) == "0.800"


GOOD = np.array([[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.1, 0.1, 0.8], [0.6, 0.2, 0.2]])


@pytest.mark.parametrize(
    ("labels", "probabilities", "part"),
    [
        ([0, 1, 1, 0], GOOD, "none of class 2"),
        ([0, 1, 2], GOOD, r"shape \(3, classes\)"),
        ([0, 1, 2, 3], GOOD, "0 to 3"),
        ([0, 1, -1, 2], GOOD, "-1 to 2"),
        ([0.0, 1.0, 2.0, 0.0], GOOD, "whole numbers"),
        ([[0, 1, 2, 0]], GOOD, "class indices"),
        ([0, 1, 2, 0], np.where(GOOD == 0.5, np.nan, GOOD), "1 NaN"),
        ([0, 1, 2, 0], GOOD[:, 0], "classes"),
        ([0, 1, 2, 0], [[0.1, 0.2, 0.7], [0.5]], "full array"),
        (np.empty(0, int), np.empty((0, 3)), "none of class 0, 1, 2"),
    ],
)
def test_bad_labels_and_probabilities_are_told(labels, probabilities, part):
    for function in (stats.macro_auc, stats.class_auc, stats.accuracy, stats.sensitivity):
        with pytest.raises(CKRMError, match=part):
            function(labels, probabilities)


@pytest.mark.parametrize(
    ("labels", "scores", "part"),
    [
        ([1, 1], [0.1, 0.2], "both classes"),
        ([0, 0], [0.1, 0.2], "both classes"),
        (np.empty(0, int), [], "both classes"),
        ([0, 2], [0.1, 0.2], "0 and 1"),
        ([0, 1], [0.1, np.inf], "finite"),
        ([0, 1], [0.1, 0.2, 0.3], "shape"),
    ],
)
def test_bad_binary_scores_are_told(labels, scores, part):
    with pytest.raises(CKRMError, match=part):
        stats.auc(labels, scores)
    with pytest.raises(CKRMError, match=part):
        stats.delong(labels, scores, scores)


def test_too_little_data_is_told():
    with pytest.raises(CKRMError, match="two images of each class"):
        stats.delong([0, 1, 1], [0.1, 0.2, 0.3], [0.3, 0.2, 0.1])
    with pytest.raises(CKRMError, match="two groups"):
        stats.anova([1.0, 2.0])
    with pytest.raises(CKRMError, match="at least 2 finite"):
        stats.anova([1.0, 2.0], [1.0])
    with pytest.raises(CKRMError, match="constant"):
        stats.anova([1.0, 1.0], [2.0, 2.0])
    with pytest.raises(CKRMError, match="finite"):
        stats.spread([0.8, float("nan")])
    with pytest.raises(CKRMError, match="at least 1"):
        stats.spread([])


def test_the_statistics_import_no_network_library():
    for file in Path(ckrm_tf.stats.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {n.split(".")[0] for n in names} & {"tensorflow", "keras", "jax"}
