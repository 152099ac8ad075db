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
from ckrm_tf.stats.auc import weighted_macro_auc
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


def test_weighted_auc_is_the_auc_of_the_repeated_images():
    rng = np.random.default_rng(3)
    labels = np.repeat([0, 1, 2], [7, 5, 9])
    for decimals in (1, 6):
        scores = rng.random((21, 3)).round(decimals)
        weights = rng.integers(0, 4, (6, 21))
        weights[:, [0, 7, 12]] = 1
        expected = [
            stats.macro_auc(np.repeat(labels, w), np.repeat(scores, w, axis=0)) for w in weights
        ]
        got = weighted_macro_auc(labels, scores, weights)
        np.testing.assert_allclose(got, expected, atol=1e-12)


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


def test_delong_and_the_bootstrap_give_the_same_standard_error():
    rng = np.random.default_rng(5)
    labels, scores = simulated(rng, (80, 80), 1.2, seeds=2)
    probabilities = 1 / (1 + np.exp(scores[:, :, :1] - scores[:, :, 1:]))
    probabilities = np.concatenate([1 - probabilities, probabilities], axis=2)
    exact = stats.delong(labels, probabilities[0, :, 1], probabilities[1, :, 1])
    drawn = stats.paired_bootstrap(labels, probabilities[0], probabilities[1], samples=4000)
    assert drawn.difference == pytest.approx(exact.difference)
    assert drawn.high - drawn.low == pytest.approx(exact.high - exact.low, rel=0.1)
    assert drawn.low == pytest.approx(exact.low, abs=0.01)


def test_class_intervals_are_the_binary_ones():
    labels, (scores,) = simulated(np.random.default_rng(6), (20, 30, 10), 1.0)
    for index, interval in enumerate(stats.class_auc_intervals(labels, scores)):
        assert interval == stats.auc_interval(labels == index, scores[:, index])
        assert interval.low < stats.class_auc(labels, scores)[index] < interval.high


def test_paired_bootstrap_is_seeded_and_paired():
    rng = np.random.default_rng(7)
    labels, arms = simulated(rng, (30, 30, 30), 1.0, seeds=2)
    first = stats.paired_bootstrap(labels, arms[0], arms[1], samples=500)
    again = stats.paired_bootstrap(labels, arms[0], arms[1], samples=500)
    other = stats.paired_bootstrap(labels, arms[0], arms[1], samples=500, seed=2)
    np.testing.assert_array_equal(first.replicates, again.replicates)
    assert first == again
    assert first != other
    # A monotone change leaves each AUC as it is; only paired images cancel it in every resample.
    same = stats.paired_bootstrap(labels, arms[0], np.exp(arms[0]), samples=500)
    assert (same.difference, same.low, same.high) == (0, 0, 0)


def test_bootstrap_weights_keep_class_sizes_whatever_the_block(monkeypatch):
    labels = np.repeat([0, 1, 2], [3, 50, 7])
    weights = ckrm_tf.stats.bootstrap._image_weights(labels, 300, np.random.default_rng(8))
    for index, count in enumerate((3, 50, 7)):
        np.testing.assert_array_equal(weights[:, labels == index].sum(axis=1), count)
    scores = np.random.default_rng(9).random((60, 3))
    monkeypatch.setattr(ckrm_tf.stats.bootstrap, "BLOCK", 60 * 70)
    result = stats.paired_bootstrap(labels, scores, scores[:, ::-1], samples=500)
    assert result.replicates.shape == (500,)
    assert len(np.unique(result.replicates)) > 400


def test_seed_resampling_widens_to_the_t_interval_of_a_mean():
    values = np.random.default_rng(10).normal(0.85, 0.03, 5)
    (stretch,) = ckrm_tf.stats.bootstrap._seed_stretch([5], 0.95)
    aucs = np.tile(values[:, None], 40_000)
    drawn = ckrm_tf.stats.bootstrap._resample_seeds(aucs, stretch, np.random.default_rng(10))
    assert drawn.mean() == pytest.approx(values.mean(), abs=1e-3)
    # Student's interval with 4 degrees of freedom: 2.776445 standard errors each way.
    half = 2.776445 * values.std(ddof=1) / 5**0.5
    assert 1.959964 * drawn.std() == pytest.approx(half, rel=0.01)
    assert np.quantile(drawn, 0.975) - values.mean() == pytest.approx(half, rel=0.25)


@pytest.mark.parametrize(("seeds", "seed_noise"), [(1, 0.0), (3, 0.6)])
def test_bootstrap_covers_the_true_difference(seeds, seed_noise):
    rng = np.random.default_rng(11)
    labels, scores = simulated(rng, (8000,) * 3, 1.5, noise=0.3)
    truth = stats.macro_auc(labels, scores[0])
    covered, runs = 0, 120
    for _ in range(runs):
        labels, scores = simulated(rng, (30, 30, 30), 1.5, 2 * seeds, 0.3, seed_noise)
        result = stats.paired_bootstrap(labels, scores[:seeds], scores[seeds:], samples=200)
        # Both arms are drawn from one population of networks: the true difference is 0.
        covered += result.low <= 0 <= result.high
    assert covered / runs >= 0.9
    assert 0.7 < truth < 0.95
    interval = stats.macro_auc_interval(labels, scores)
    assert interval.low < truth < interval.high


def cross_validated(rng, parts, seeds, offset=0.0):
    """Labels, fold of each image, scores: each fold has networks of its own, shifted as they go."""
    drawn = [simulated(rng, (20, 20, 20), 1.5, seeds, 0.3, 0.6) for _ in range(parts)]
    labels = np.concatenate([labels for labels, _ in drawn])
    shifts = [offset * rng.normal(size=(seeds, 1, 3)) for _ in drawn]
    scores = np.concatenate([s + d for (_, s), d in zip(drawn, shifts, strict=True)], axis=1)
    return labels, np.repeat(np.arange(parts), 60), scores


def test_the_auc_of_folds_is_the_mean_of_theirs():
    labels, folds, scores = cross_validated(np.random.default_rng(21), 3, 2, offset=50.0)
    expected = [
        roc_auc_score(np.eye(3)[labels[folds == f]], s[folds == f], average="macro")
        for s in scores
        for f in range(3)
    ]
    interval = stats.macro_auc_interval(labels, scores, folds=folds)
    assert interval.value == pytest.approx(np.mean(expected))
    verdict = stats.non_inferiority(labels, scores, scores[:1], folds=folds)
    assert verdict.auc_candidate == pytest.approx(np.mean(expected[:3]))
    # Scores of different networks have no common scale: put together they would rank nothing.
    assert stats.macro_auc(labels, scores[0]) < interval.value - 0.1
    one = np.zeros(len(labels), int)
    assert stats.paired_bootstrap(labels, *scores, folds=one) == stats.paired_bootstrap(
        labels, *scores
    )


def test_bootstrap_over_folds_covers_the_true_difference():
    rng = np.random.default_rng(22)
    covered, widths, runs = 0, [], 120
    for _ in range(runs):
        labels, folds, scores = cross_validated(rng, 3, 6, offset=5.0)
        result = stats.paired_bootstrap(labels, scores[:3], scores[3:], folds=folds, samples=200)
        covered += result.low <= 0 <= result.high
        widths.append(result.high - result.low)
        # One fold alone says less.
        first = folds == 0
        alone = stats.paired_bootstrap(
            labels[first], scores[:3, first], scores[3:, first], samples=200
        )
        widths[-1] /= alone.high - alone.low
    assert covered / runs >= 0.9
    assert np.mean(widths) < 0.75


def test_folds_must_have_every_class_and_one_number_an_image():
    labels, folds, scores = cross_validated(np.random.default_rng(23), 2, 1)
    with pytest.raises(CKRMError, match="folds: expected shape"):
        stats.macro_auc_interval(labels, scores, folds=folds[1:])
    with pytest.raises(CKRMError, match="none of class 2"):
        stats.macro_auc_interval(labels, scores, folds=labels == 2)


def test_one_seed_is_not_a_network():
    rng = np.random.default_rng(12)
    labels, scores = simulated(rng, (60, 60, 60), 1.5, 10, 0.2, 0.5)
    one = stats.paired_bootstrap(labels, scores[0], scores[5], samples=500)
    many = stats.paired_bootstrap(labels, scores[:5], scores[5:], samples=500)
    assert (one.seeds, many.seeds) == ((1, 1), (5, 5))
    images_only = stats.paired_bootstrap(
        labels, scores[:5].mean(axis=0), scores[5:].mean(axis=0), samples=500
    )
    assert many.high - many.low > 1.5 * (images_only.high - images_only.low)


def test_non_inferiority_verdicts():
    rng = np.random.default_rng(13)
    labels, (good,) = simulated(rng, (150, 150, 150), 1.5)
    nearly = good + 0.05 * rng.normal(size=good.shape)
    poor = good + 2.0 * rng.normal(size=good.shape)
    same = stats.non_inferiority(labels, good, nearly)
    assert same.non_inferior
    assert same.equivalent
    assert same.p_value < 0.025
    worse = stats.non_inferiority(labels, good, poor)
    assert not worse.non_inferior
    assert not worse.equivalent
    assert worse.p_value > 0.9
    assert worse.difference == pytest.approx(
        stats.macro_auc(labels, poor) - stats.macro_auc(labels, good)
    )
    better = stats.non_inferiority(labels, poor, good)
    assert better.non_inferior
    assert not better.equivalent
    assert "not inferior" in str(better)
    assert "not shown" in str(worse)
    assert str(same).endswith("equivalent")


def test_non_inferiority_p_value_and_bound_agree():
    labels, arms = simulated(np.random.default_rng(14), (40, 40, 40), 1.0, seeds=2)
    for margin in (0.01, 0.02, 0.05, 0.1):
        result = stats.non_inferiority(labels, arms[0], arms[1], margin=margin, samples=999)
        assert result.non_inferior == (result.low > -margin)
        if abs(result.low + margin) > 0.002:
            assert result.non_inferior == (result.p_value <= 0.025)


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


def test_bad_arms_are_told():
    labels = [0, 1, 2, 0]
    with pytest.raises(CKRMError, match="0 to 1, received 0 to 2"):
        stats.paired_bootstrap(labels, GOOD, GOOD[:, :2])
    with pytest.raises(CKRMError, match=r"shape \(4, classes\)"):
        stats.paired_bootstrap(labels, GOOD, GOOD[:3])
    with pytest.raises(CKRMError, match="seeds, n, classes"):
        stats.paired_bootstrap(labels, GOOD[None, None], GOOD)
    with pytest.raises(CKRMError, match="seeds, n, classes"):
        stats.paired_bootstrap(labels, np.empty((0, 4, 3)), GOOD)
    with pytest.raises(CKRMError, match="full array"):
        stats.paired_bootstrap(labels, [GOOD, GOOD[:3]], GOOD)
    with pytest.raises(CKRMError, match="samples"):
        stats.paired_bootstrap(labels, GOOD, GOOD, samples=10)
    with pytest.raises(CKRMError, match="confidence"):
        stats.paired_bootstrap(labels, GOOD, GOOD, confidence=95)
    with pytest.raises(CKRMError, match="margin"):
        stats.non_inferiority(labels, GOOD, GOOD, margin=0)


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
