from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from test_stats_verdict import simulation

from ckrm_tf import CKRMError, stats


def measured(world, images=600, trainings=12):
    """The noise of a world, from one large draw without folds."""
    large = dataclasses.replace(world, images=images, trainings=(trainings, trainings), folds=1)
    labels, a, b, _ = next(large.draws(np.random.default_rng(3), 1))
    return stats.measure_noise(labels, a, b)


@pytest.mark.parametrize(
    ("world", "loss", "slack"),
    [
        (simulation.Scores(150, (3, 3), loss=0.0), 0.0, 0.07),
        (simulation.Scores(300, (5, 5), loss=0.02), 0.02, 0.07),
        # The correction for shared training images makes the figure cautious, never bold.
        (simulation.Scores(300, (1, 1), folds=10, loss=0.0), 0.0, 0.12),
    ],
    ids=str,
)
def test_power_is_the_share_of_simulated_verdicts(world, loss, slack):
    margin, draws = 0.04, 250 if world.folds == 1 else 120
    shown = [
        stats.non_inferiority(labels, a, b, margin=margin, folds=folds).non_inferior
        for labels, a, b, folds in world.draws(np.random.default_rng(4), draws)
    ]
    result = stats.power(
        [world.images // 3] * 3,
        auc=0.9,
        margin=margin,
        loss=loss,
        trainings=world.trainings[0],
        folds=world.folds,
        noise=measured(world),
    )
    assert 0.1 < np.mean(shown) < 0.95
    assert result.probability == pytest.approx(np.mean(shown), abs=slack)


def test_noise_is_found_again():
    noise = measured(simulation.Scores(sd=(0.03, 0.03)), images=900)
    calm = measured(simulation.Scores(sd=(0.0, 0.0)), images=900)
    assert noise.training_sd == pytest.approx(0.03, rel=0.3)
    assert calm.training_sd < 0.005
    # Scores share .78 and .70 of their variance; their AUCs a little less.
    assert 0.6 < noise.other < noise.same < 0.8


def test_power_grows_with_all_that_helps():
    base = {"auc": 0.9, "margin": 0.02, "loss": 0.005, "trainings": 3}
    plain = stats.power([260] * 3, **base).probability
    better = [
        stats.power([1000] * 3, **base),
        stats.power([260] * 3, **(base | {"margin": 0.03})),
        stats.power([260] * 3, **(base | {"loss": 0.0})),
        stats.power([260] * 3, **(base | {"trainings": 10})),
        stats.power([260] * 3, **(base | {"folds": 3})),
        stats.power([260] * 3, **base, noise=stats.Noise(0.003, 0.9, 0.8)),
    ]
    assert all(plain + 0.01 < result.probability < 1 for result in better)
    at_margin = stats.power([260] * 3, **(base | {"loss": 0.02}))
    assert at_margin.probability == pytest.approx(0.025, abs=1e-6)
    certain = stats.power([20, 20], auc=0.9, noise=stats.Noise(0, 1, 1))
    assert (certain.probability, certain.half_width) == (1, 0)
    normal = stats.power([150, 150], auc=0.9, noise=stats.Noise(0, 1, 0.9))
    assert 0.1 < normal.probability < 0.9


def test_power_says_what_it_assumed():
    text = str(stats.power([262, 262, 263], auc=0.9, trainings=1, folds=10))
    assert text.startswith("787 images, 1 training of each network in each of 10 folds")
    assert "standard deviation 0.01 from training to training" in text
    assert "3 trainings of each network: a true loss" in str(stats.power([90, 90], auc=0.9))


def test_bad_plans_are_told():
    for message, sizes, options in (
        ("two trainings of each network, or folds", [90, 90], {"trainings": 1}),
        ("at least 20, two in each fold", [90, 19], {"folds": 10}),
        ("images per class: expected whole numbers", [90], {}),
        ("images per class: expected whole numbers", [90.5, 3.0], {}),
        ("AUC: expected above .5", [90, 90], {"auc": 0.5}),
        ("margin", [90, 90], {"margin": 0}),
        ("confidence", [90, 90], {"confidence": 1}),
    ):
        with pytest.raises(CKRMError, match=message):
            stats.power(sizes, **({"auc": 0.9} | options))
    with pytest.raises(CKRMError, match="noise: expected training_sd"):
        stats.Noise(0.01, 0.7, 0.8)
    labels, scores = np.arange(30) % 3, np.random.default_rng(5).random((2, 30, 3))
    with pytest.raises(CKRMError, match="noise: expected two trainings"):
        stats.measure_noise(labels, scores[:1], scores)
    with pytest.raises(CKRMError, match="noise: expected AUCs that vary"):
        stats.measure_noise(labels, 0 * scores, 0 * scores)
