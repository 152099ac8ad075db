from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from scipy.stats import t as student

from ckrm_tf import CKRMError, stats
from ckrm_tf.stats import readers
from ckrm_tf.stats.jackknife import macro_auc_deviations

file = Path(__file__).parents[1] / "benchmarks" / "simulate_verdict.py"
spec = importlib.util.spec_from_file_location("simulate_verdict", file)
assert spec is not None
assert spec.loader is not None
simulation = importlib.util.module_from_spec(spec)
sys.modules["simulate_verdict"] = simulation
spec.loader.exec_module(simulation)


def drawn(seed=1, images=60, trainings=(3, 3), folds=1, **world):
    """One draw: labels, both arms, folds."""
    made = simulation.Scores(images, trainings, folds, **world)
    return next(made.draws(np.random.default_rng(seed), 1))


def slow_macro(labels, scores) -> float:
    """Share of pairs in order, a tie one half, for each class against the rest; averaged."""
    found = []
    for c in range(3):
        inside, outside = scores[labels == c, c], scores[labels != c, c]
        steps = np.sign(inside[:, None] - outside[None])
        found.append((steps.mean() + 1) / 2)
    return float(np.mean(found))


def slow_jackknife(labels, arm, within_classes=False):
    """Leave out one image after the other and take the covariance, as the textbook has it."""
    n = len(labels)
    left = np.array(
        [[slow_macro(np.delete(labels, i), np.delete(s, i, axis=0)) for i in range(n)] for s in arm]
    )
    groups = [labels == c for c in range(3)] if within_classes else [np.ones(n, bool)]
    return sum(np.cov(left[:, g]) * (g.sum() - 1) ** 2 / g.sum() for g in groups)


@pytest.mark.parametrize("decimals", [0, 8])
@pytest.mark.parametrize("within", [True, False])
def test_deviations_give_the_jackknife_covariance(decimals, within):
    labels, first, second, _ = drawn(images=36, trainings=(2, 1))
    arm = np.concatenate([first, second]).round(decimals)
    aucs, deviations = macro_auc_deviations(labels, arm, within_classes=within)
    np.testing.assert_allclose(aucs, [slow_macro(labels, s) for s in arm], atol=1e-12)
    got = deviations @ deviations.T
    np.testing.assert_allclose(got, slow_jackknife(labels, arm, within), rtol=1e-9)
    # The two forms differ, so that neither passes for the other.
    assert np.abs(got / slow_jackknife(labels, arm, not within) - 1).max() > 1e-3


def test_two_classes_within_are_delong():
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 2, 50)
    scores = (labels + rng.normal(size=(2, 50))).round(1)
    arm = np.stack([-scores, scores], axis=2)
    _, deviations = macro_auc_deviations(labels, arm, within_classes=True)
    expected = stats.delong(labels, *scores)
    np.testing.assert_allclose(deviations @ deviations.T, expected.covariance, rtol=1e-9)
    models = stats.compare_trained_models(labels, *arm)
    assert (models.difference, models.low, models.high) == pytest.approx(
        (expected.difference, expected.low, expected.high)
    )


# Van Dyke et al. 1993, 114 cases, 5 readers, 2 treatments, as MRMCaov and RJafroc print it
# (empirical AUC, jackknife): AUCs, Var, Cov1, Cov2, Cov3, and the random-reader random-case test.
VAN_DYKE = np.array(
    [
        [0.91964573, 0.85877617, 0.90386473, 0.97310789, 0.82979066],
        [0.94782609, 0.90531401, 0.92173913, 0.99935588, 0.92995169],
    ]
)
VARIANCE, COV1, COV2, COV3 = 0.00080228827, 0.00034661371, 0.00034407483, 0.00023902837


def test_the_published_example_of_van_dyke():
    block = np.full((5, 5), COV2) + np.eye(5) * (VARIANCE - COV2)
    cross = np.full((5, 5), COV3) + np.eye(5) * (COV1 - COV3)
    covariance = np.block([[block, cross], [cross.T, block]])
    second, first = VAN_DYKE
    variance = readers.combine([readers.paired(first, second, covariance)], np.zeros(1))
    difference = second.mean() - first.mean()
    half = variance.half_width(0.95)
    assert difference == pytest.approx(-0.04380032, abs=1e-8)
    assert variance.value**0.5 == pytest.approx(0.02074862, abs=1e-8)
    assert variance.freedom == pytest.approx(15.25967, abs=1e-4)
    assert (difference - half, difference + half) == pytest.approx(
        (-0.0879594986, 0.0003588544), abs=1e-7
    )
    assert 2 * variance.p_value(-difference) == pytest.approx(0.05166569, abs=1e-6)
    # Readers taken for two groups of five give another answer.
    other = readers.combine([readers.unpaired(first, second, covariance)], np.zeros(1))
    assert other.value > 1.5 * variance.value


def slow_variance(labels, a, b, paired):
    """Variance and degrees of freedom by loops over pairs of trainings, after the definition."""
    k, m = len(a), len(b)
    aucs = [slow_macro(labels, s) for s in (*a, *b)]
    cov = slow_jackknife(labels, np.concatenate([a, b]))
    same_a = [cov[i, j] for i in range(k) for j in range(k) if i != j]
    same_b = [cov[k + i, k + j] for i in range(m) for j in range(m) if i != j]
    other = [cov[i, k + j] for i in range(k) for j in range(m) if not paired or i != j]
    cases = np.mean(same_a) + np.mean(same_b) - 2 * np.mean(other)
    if paired:
        freedom = k - 1
        part = np.var([aucs[k + i] - aucs[i] for i in range(k)], ddof=1) / k
    else:
        mean_square = (np.var(aucs[:k], ddof=1) + np.var(aucs[k:], ddof=1)) / 2
        part = mean_square / k + mean_square / m
        # Satterthwaite, for the mean of two sample variances; 2 (k - 1) where k = m.
        freedom = 4 / (1 / (k - 1) + 1 / (m - 1))
    return part, freedom, cases


@pytest.mark.parametrize(
    ("trainings", "paired"),
    [((3, 3), False), ((2, 4), False), ((2, 2), False), ((3, 3), True), ((2, 2), True)],
)
@pytest.mark.parametrize("share", [0.0, 0.3])
def test_the_interval_is_that_of_the_literal_recipe(trainings, paired, share):
    labels, a, b, _ = drawn(3, 45, trainings, paired=paired, network_share=share)
    part, freedom, cases = slow_variance(labels, a, b, paired)
    variance = part + max(cases, 0)
    # Satterthwaite's square; with two trainings, a lower power of the same ratio.
    exponent = {((2, 2), False): 1, ((2, 2), True): 0.5}.get((trainings, paired), 2)
    freedom *= (variance / part) ** exponent
    result = stats.non_inferiority(labels, a, b, margin=0.02, paired=paired)
    half = student.ppf(0.975, freedom) * variance**0.5
    assert result.degrees_of_freedom == pytest.approx(freedom)
    assert (result.low, result.high) == pytest.approx(
        (max(result.difference - half, -1), min(result.difference + half, 1))
    )
    assert result.p_value == pytest.approx(
        student.sf((result.difference + 0.02) / variance**0.5, freedom)
    )
    assert result.seeds == trainings


@pytest.mark.parametrize("sd", [0.0, 0.05])
def test_folds_of_several_trainings_average_their_variances(sd):
    labels, a, b, folds = drawn(4, 108, (2, 2), folds=3, sd=(sd, sd))
    found = [slow_variance(labels[p], a[:, p], b[:, p], False) for p in folds == [[0], [1], [2]]]
    means = [
        np.mean([slow_macro(labels[p], s[p]) for s in b])
        - np.mean([slow_macro(labels[p], s[p]) for s in a])
        for p in folds == [[0], [1], [2]]
    ]
    part = sum(f[0] for f in found) / 9
    variance = part + max(sum(f[2] for f in found), 0) / 9
    variance += max(np.var(means, ddof=1) - 3 * variance, 0) * (1 / 3 + 1 / 2)
    freedom = variance**2 / (part**2 / sum(f[1] for f in found))
    result = stats.non_inferiority(labels, a, b, margin=0.02, folds=folds)
    half = student.ppf(0.975, freedom) * variance**0.5
    assert result.difference == pytest.approx(np.mean(means))
    assert result.high - result.difference == pytest.approx(half)


@pytest.mark.parametrize("number", [3, 10])
def test_folds_of_one_training_are_those_of_nadeau_and_bengio(number):
    labels, a, b, folds = drawn(5, 24 * number, (1, 1), folds=number)
    differences = np.array(
        [
            slow_macro(labels[folds == f], b[0, folds == f])
            - slow_macro(labels[folds == f], a[0, folds == f])
            for f in range(number)
        ]
    )
    images = len(labels) / number
    squares = ((differences - differences.mean()) ** 2).sum() / (number - 1)
    variance = (1 / number + images / (len(labels) - images)) * squares
    half = student.ppf(0.975, number - 1) * variance**0.5
    result = stats.non_inferiority(labels, a, b, margin=0.02, folds=folds)
    assert (result.low, result.high) == pytest.approx(
        (differences.mean() - half, differences.mean() + half)
    )
    assert (result.folds, result.degrees_of_freedom) == (number, number - 1)
    # Put together the scores of different networks would be another, coarser number.
    assert result.auc_reference != pytest.approx(slow_macro(labels, a[0]), abs=1e-6)


@given(st.integers(0, 10_000), st.booleans(), st.sampled_from([1, 2]))
@settings(deadline=None, max_examples=15)
def test_what_must_not_matter_does_not(seed, paired, folds):
    labels, a, b, place = drawn(seed, 36, (3, 3), folds=folds, paired=paired)

    def test(labels=labels, a=a, b=b, place=place):
        r = stats.non_inferiority(labels, a, b, margin=0.02, paired=paired, folds=place)
        return np.array([r.difference, r.low, r.high])

    rng = np.random.default_rng(seed)
    plain = test()
    images, trainings = rng.permutation(36), rng.permutation(3)
    shuffled = None if place is None else place[images]
    same = [
        test(labels[images], a[:, images], b[:, images], shuffled),
        test(a=a[trainings], b=b[trainings]),
        test(a=np.exp(a), b=b**3),
        test(2 - labels, a[:, :, ::-1], b[:, :, ::-1]),
        -test(a=b, b=a)[[0, 2, 1]],
        test(place=np.zeros(36, int) if place is None else 7 - place),
    ]
    for other in same:
        np.testing.assert_allclose(other, plain, atol=1e-9)
    # What must matter does: the images of one arm in another order, one training left out.
    assert np.abs(test(a=a[:, images]) - plain).max() > 1e-6
    assert np.abs(test(a=a[:2], b=b[:2]) - plain).max() > 1e-6


def test_trainings_are_matched_only_where_paired():
    labels, a, b, _ = drawn(6, 60, (4, 4), paired=True)
    turned = np.roll(b, 1, axis=0)
    free = [stats.non_inferiority(labels, a, x) for x in (b, turned)]
    tied = [stats.non_inferiority(labels, a, x, paired=True) for x in (b, turned)]
    assert free[0].low == pytest.approx(free[1].low, abs=1e-12)
    assert abs(tied[0].low - tied[1].low) > 1e-4


def test_one_training_gives_no_verdict_about_networks():
    labels, a, b, _ = drawn(7, 300, (3, 3), loss=0.0)
    for first, second in ((a[0], b[0]), (a, b[:1]), (a[:1], b)):
        result = stats.non_inferiority(labels, first, second, margin=0.1)
        assert (result.status, result.low, result.high) == ("no verdict", -1, 1)
        assert not result.non_inferior
        assert not result.equivalent
        assert result.p_value is None
        assert "no verdict about networks, which takes two trainings" in str(result)
    assert result.difference == pytest.approx(
        np.mean([slow_macro(labels, s) for s in b]) - slow_macro(labels, a[0])
    )
    models = stats.compare_trained_models(labels, a[0], b[0], margin=0.1)
    assert models.equivalent
    assert "for these two trained models and not for other trainings" in str(models)
    assert stats.non_inferiority(labels, a[:2], b[:2], margin=0.5).status == "equivalent"


def test_trained_models_against_a_bootstrap_of_the_images():
    rng = np.random.default_rng(8)
    labels, a, b, folds = drawn(8, 240, (1, 1), folds=2)
    parts = [np.flatnonzero(folds == f) for f in (0, 1)]
    differences = []
    for _ in range(300):
        chosen = [
            np.concatenate([rng.choice(p[labels[p] == c], 40) for c in range(3)]) for p in parts
        ]
        differences.append(
            np.mean(
                [
                    stats.macro_auc(labels[i], b[0, i]) - stats.macro_auc(labels[i], a[0, i])
                    for i in chosen
                ]
            )
        )
    result = stats.compare_trained_models(labels, a, b, margin=0.05, folds=folds)
    assert (result.high - result.low) / 2 / 1.959964 == pytest.approx(np.std(differences), rel=0.15)
    assert result.p_value == pytest.approx(
        norm.sf((result.difference + 0.05) / ((result.high - result.low) / 2 / 1.959964)), rel=1e-4
    )
    assert "the trained models of the folds" in str(result)
    one = np.zeros(240, int)
    assert stats.compare_trained_models(labels, a, b, folds=one) == (
        stats.compare_trained_models(labels, a, b)
    )


def test_verdicts():
    labels, a, b, _ = drawn(9, 450, (3, 3), loss=0.0, sd=(0.003, 0.003))
    poor = b + 1.5 * np.random.default_rng(9).normal(size=b.shape)
    same, worse, better = (
        stats.non_inferiority(labels, *arms, margin=0.03) for arms in ((a, b), (a, poor), (poor, a))
    )
    assert (same.status, worse.status, better.status) == (
        "equivalent",
        "not shown",
        "non-inferior",
    )
    assert (same.non_inferior, worse.non_inferior, better.non_inferior) == (True, False, True)
    assert (same.equivalent, worse.equivalent, better.equivalent) == (True, False, False)
    assert same.p_value < 0.025
    assert worse.p_value > 0.9
    assert str(same).endswith("equivalent")
    assert str(worse).endswith("not shown to be non-inferior")
    assert str(better).endswith("not inferior")
    for result in (same, worse, better):
        assert result.non_inferior == (result.p_value < 0.025)


def test_a_network_against_itself():
    labels, a, b, _ = drawn(10, 114, (3, 3), loss=0.0, network_share=0.0)
    same = stats.non_inferiority(labels, a, a, margin=0.05)
    assert same.status == "equivalent"
    assert same.difference == 0
    sd = np.std([slow_macro(labels, s) for s in a], ddof=1)
    # Six trainings of two arms: t with 4 degrees of freedom, and no part for the images.
    assert same.high == pytest.approx(student.ppf(0.975, 4) * sd * (2 / 3) ** 0.5)
    fresh = stats.non_inferiority(labels, a, b, margin=0.05)
    assert fresh.equivalent
    assert 0.005 < fresh.high - fresh.difference < 0.05
    tied = stats.non_inferiority(labels, a, a, margin=0.001, paired=True)
    assert (tied.low, tied.high, tied.p_value, tied.status) == (0, 0, 0, "equivalent")


def test_constant_scores():
    labels, a, b, _ = drawn(11, 60, (3, 3))
    flat = np.zeros_like(a)
    both = stats.non_inferiority(labels, flat, flat)
    assert (both.auc_reference, both.low, both.high) == (0.5, 0, 0)
    lost = stats.non_inferiority(labels, a, flat)
    assert lost.status == "not shown"
    assert lost.high < -0.2
    collapsed = np.concatenate([b[:2], flat[:1]])
    wide, narrow = (stats.non_inferiority(labels, a, x) for x in (collapsed, b))
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)


@pytest.mark.parametrize("folds", [1, 3])
@pytest.mark.parametrize("trainings", [1, 3])
def test_the_interval_of_one_network(folds, trainings):
    labels, a, _, place = drawn(12, 90, (trainings, 1), folds=folds)
    got = stats.macro_auc_interval(labels, a, folds=place)
    parts = [np.ones(90, bool)] if place is None else [place == f for f in range(3)]
    aucs = np.array([[slow_macro(labels[p], s[p]) for p in parts] for s in a])
    assert got.value == pytest.approx(aucs.mean())
    half = (got.high - got.low) / 2
    if folds == 1:
        cov = slow_jackknife(labels, np.concatenate([a, a]))[:trainings, :trainings]
        k, off = trainings, ~np.eye(trainings, dtype=bool)
        part = aucs.var(ddof=1) / k if k > 1 else 0
        total = part + (cov[off].mean() if k > 1 else cov[0, 0])
        quantile = student.ppf(0.975, total**2 / (part**2 / (k - 1))) if k > 1 else norm.ppf(0.975)
        assert half == pytest.approx(quantile * total**0.5)
    elif trainings == 1:
        expected = student.ppf(0.975, 2) * (5 / 6 * aucs[0].var(ddof=1)) ** 0.5
        assert min(half, 1 - got.value) == pytest.approx(
            min(expected, 1 - got.value), rel=1e-6
        ) or (got.high == 1)
    else:
        alone = stats.macro_auc_interval(labels[parts[0]], a[:, parts[0]])
        assert 0 < half < (alone.high - alone.low) / 2 * 1.5


def test_bad_input_is_told_in_one_line():
    labels, a, b, _ = drawn(13, 30, (2, 2))
    lone = np.where(np.arange(30) == 2, 2, labels % 2)
    cases = [
        ("labels: expected at least two images of each class", (lone, a, b), {}),
        ("margin: expected between 0 and 1", (labels, a, b), {"margin": 0}),
        ("confidence: expected between 0 and 1", (labels, a, b), {"confidence": 95}),
        ("folds: expected shape", (labels, a, b), {"folds": labels[1:]}),
        ("fold 0: expected every class", (labels, a, b), {"folds": labels}),
        ("paired trainings: expected as many", (labels, a, b[:1]), {"paired": True}),
        (r"probabilities: expected shape \(30, classes\)", (labels, a, b[:, 1:]), {}),
        ("0 to 1, received 0 to 2", (labels, a, b[:, :, :2]), {}),
        ("seeds, n, classes", (labels, a[None], b), {}),
        ("seeds, n, classes", (labels, a[:0], b), {}),
        ("1 NaN", (labels, a, np.where(b == b[0, 0, 0], np.nan, b)), {}),
    ]
    for message, arguments, options in cases:
        with pytest.raises(CKRMError, match=message) as caught:
            stats.non_inferiority(*arguments, **options)
        assert "\n" not in str(caught.value)
    with pytest.raises(CKRMError, match="trained models: expected one of each arm"):
        stats.compare_trained_models(labels, a, b)


# At 400 draws the standard errors are .011 and .008: the bounds of the full simulation and two.
@pytest.mark.parametrize(
    "world",
    [
        simulation.Scores(60, (3, 3)),
        simulation.Scores(60, (5, 5), sd=(0.03, 0.03)),
        simulation.Scores(90, (5, 5), paired=True),
        simulation.Scores(180, (3, 3), folds=3),
        simulation.Scores(180, (1, 1), folds=3),
    ],
    ids=str,
)
def test_coverage_and_false_verdicts_have_both_bounds(world):
    rates = simulation.simulate(world, 400, 1)
    assert 0.91 <= rates.coverage <= 0.99
    assert 0.003 <= rates.false <= 0.049


def test_the_bounds_reject_a_test_that_forgets_the_trainings():
    def careless(labels, reference, candidate, *, margin, folds, paired):
        return stats.compare_trained_models(labels, reference[0], candidate[0], margin=margin)

    rates = simulation.simulate(simulation.Scores(180, (2, 2), sd=(0.03, 0.03)), 200, 1, careless)
    assert rates.coverage < 0.85
    assert rates.false > 0.08
