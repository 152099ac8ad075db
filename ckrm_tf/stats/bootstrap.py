"""Bootstrap of the macro AUC over images and over seeds.

`scipy.stats.bootstrap` draws one sample of interchangeable items. Here images are drawn within
their class (so that a rare class never vanishes), paired across the arms, while the seeds of each
arm are drawn on their own: two crossed levels, which it cannot express. So the drawing is done
here, as image weights (how often each was drawn).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as scipy_stats

from ckrm_tf.errors import CKRMError
from ckrm_tf.stats.auc import macro_auc, weighted_macro_auc
from ckrm_tf.stats.checks import check_confidence, check_seeds
from ckrm_tf.stats.intervals import Interval

# Weights held at once: 8 MB in float64, whatever the number of images.
BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class BootstrapDifference:
    """Difference of macro AUCs, arm b minus arm a, each the mean over the arm's seeds.

    Attributes:
        low, high: two-sided percentile interval of the difference.
        seeds: number of trainings in arm a and in arm b. With one, the interval is about the
            images only and says nothing about another training.
        replicates: (samples,) resampled differences.
    """

    auc_a: float
    auc_b: float
    difference: float
    low: float
    high: float
    confidence: float
    samples: int
    seeds: tuple[int, int]
    replicates: np.ndarray = field(repr=False, compare=False)


def _image_weights(labels: np.ndarray, samples: int, rng: np.random.Generator) -> np.ndarray:
    """(samples, n): how often each image was drawn, each class keeping its size."""
    weights = np.empty((samples, len(labels)))
    for index in np.unique(labels):
        members = np.flatnonzero(labels == index)
        chances = np.full(len(members), 1 / len(members))
        weights[:, members] = rng.multinomial(len(members), chances, size=samples)
    return weights


def _seed_stretch(counts: list[int], confidence: float) -> list[float]:
    """How much each arm's resampled seed mean must be drawn away from its centre.

    Drawing k of k values gives their mean a variance too small by (k - 1) / k, and percentiles
    take the estimated spread for the true one, as z does where t belongs. With three seeds both
    are large; the factor is that of Hesterberg's expanded percentile interval (arXiv 1411.5279).
    """
    freedom = sum(count - 1 for count in counts)
    if not freedom:
        return [1.0 for _ in counts]
    upper = (1 + confidence) / 2
    ratio = float(scipy_stats.t.ppf(upper, freedom) / scipy_stats.norm.ppf(upper))
    return [ratio * (k / (k - 1)) ** 0.5 if k > 1 else 1.0 for k in counts]


def _resample_seeds(aucs: np.ndarray, stretch: float, rng: np.random.Generator) -> np.ndarray:
    """Mean over seeds drawn with replacement, for each sample of `aucs` (seeds, samples)."""
    count, samples = aucs.shape
    centre = aucs.mean(axis=0)
    if count == 1:
        return centre
    drawn = rng.integers(count, size=(count, samples))
    offset = np.take_along_axis(aucs, drawn, axis=0).mean(axis=0) - centre
    return centre + stretch * offset


def _replicates(
    labels: np.ndarray,
    arms: list[np.ndarray],
    parts: list[np.ndarray],
    samples: int,
    seed: int,
    confidence: float,
) -> list[np.ndarray]:
    """(samples,) resampled macro AUCs of each arm (seeds, n, classes), images paired across.

    Each part (indices of images) is resampled on its own, and their AUCs averaged.
    """
    check_confidence(confidence)
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 100:
        raise CKRMError("bootstrap samples", expected="at least 100", received=samples)
    rng = np.random.default_rng(seed)
    # Every part has trainings of its own, which are degrees of freedom of their own.
    stretches = _seed_stretch([len(arm) for arm in arms for _ in parts], confidence)[:: len(parts)]
    rows = max(1, BLOCK // len(labels))
    found = np.zeros((len(arms), samples))
    for start in range(0, samples, rows):
        here = slice(start, min(start + rows, samples))
        for part in parts:
            weights = _image_weights(labels[part], here.stop - here.start, rng)
            for total, arm, stretch in zip(found, arms, stretches, strict=True):
                aucs = [weighted_macro_auc(labels[part], one[part], weights) for one in arm]
                total[here] += _resample_seeds(np.stack(aucs), stretch, rng)
    return list(found / len(parts))


def _percentiles(replicates: np.ndarray, confidence: float) -> tuple[float, float]:
    tail = (1 - confidence) / 2
    low, high = np.quantile(replicates, [tail, 1 - tail])
    return float(low), float(high)


def _parts(truth: np.ndarray, arms: list[np.ndarray], folds: ArrayLike | None) -> list[np.ndarray]:
    """Indices of the images of each fold, or one part of all; every part has every class."""
    if folds is None:
        return [np.arange(len(truth))]
    place = np.asarray(folds)
    if place.shape != truth.shape:
        raise CKRMError("folds", expected=f"shape {truth.shape}", received=place.shape)
    parts = [np.flatnonzero(place == fold) for fold in np.unique(place)]
    for part in parts:
        check_seeds(truth[part], arms[0][:, part])
    return parts


def _mean_auc(labels: np.ndarray, arm: np.ndarray, parts: list[np.ndarray]) -> float:
    return float(np.mean([macro_auc(labels[part], one[part]) for one in arm for part in parts]))


def macro_auc_interval(
    labels: ArrayLike,
    probabilities: ArrayLike,
    *,
    folds: ArrayLike | None = None,
    samples: int = 2000,
    seed: int = 1,
    confidence: float = 0.95,
) -> Interval:
    """Macro AUC (mean over seeds) with its percentile interval over images and seeds.

    Arguments and errors as in `paired_bootstrap`, for one arm.
    """
    truth, arm = check_seeds(labels, probabilities)
    parts = _parts(truth, [arm], folds)
    (replicates,) = _replicates(truth, [arm], parts, samples, seed, confidence)
    # With few seeds their widened spread reaches beyond what an AUC can be.
    low, high = np.clip(_percentiles(replicates, confidence), 0.0, 1.0)
    return Interval(_mean_auc(truth, arm, parts), float(low), float(high), confidence)


def paired_bootstrap(
    labels: ArrayLike,
    probabilities_a: ArrayLike,
    probabilities_b: ArrayLike,
    *,
    folds: ArrayLike | None = None,
    samples: int = 2000,
    seed: int = 1,
    confidence: float = 0.95,
) -> BootstrapDifference:
    """Bootstrap the difference of macro AUCs, b minus a, of two networks on the same images.

    Images are drawn with replacement within their class, the same for both arms; the trainings
    (seeds) of each arm are drawn with replacement, independently of the other arm's, and their
    part of the spread is widened for their small number (see `_seed_stretch`).

    Args:
        labels: (n,), class indices; every class must occur.
        probabilities_a: (n, classes), or (seeds, n, classes) for several trainings.
        probabilities_b: the same of the other network; its number of seeds may differ.
        folds: (n,), the fold of each image, where every fold has networks of its own. Scores of
            different networks are not comparable, so the AUC is then the mean over the folds of
            the AUC within a fold, and images and trainings are drawn within their fold.
        samples: number of resamples, at least 100.
        seed: of the drawing; equal seeds give equal results.
        confidence: of the two-sided interval.

    Raises:
        CKRMError: when a class is absent, a value is not finite or the shapes do not fit.
    """
    truth, first = check_seeds(labels, probabilities_a)
    _, second = check_seeds(labels, probabilities_b)
    parts = _parts(truth, [first, second], folds)
    replicates_a, replicates_b = _replicates(
        truth, [first, second], parts, samples, seed, confidence
    )
    replicates = replicates_b - replicates_a
    low, high = _percentiles(replicates, confidence)
    auc_a, auc_b = (_mean_auc(truth, arm, parts) for arm in (first, second))
    return BootstrapDifference(
        auc_a,
        auc_b,
        auc_b - auc_a,
        low,
        high,
        confidence,
        samples,
        (len(first), len(second)),
        replicates,
    )
