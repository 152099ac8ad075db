"""Is a candidate network no worse than the reference, by a stated margin of macro AUC?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from ckrm_tf.errors import CKRMError
from ckrm_tf.stats import readers
from ckrm_tf.stats.checks import check_confidence, check_folds, check_margin, check_seeds
from ckrm_tf.stats.intervals import Interval
from ckrm_tf.stats.jackknife import macro_auc_deviations

Status = Literal["equivalent", "non-inferior", "not shown", "no verdict"]

_WORDS: dict[Status, str] = {
    "equivalent": "equivalent",
    "non-inferior": "not inferior",
    "not shown": "not shown to be non-inferior",
}


@dataclass(frozen=True, slots=True)
class NonInferiority:
    """The verdict about two networks and what it rests on; candidate minus reference.

    Attributes:
        low, high: two-sided interval of the difference; at the default confidence of .95, `low`
            is the one-sided 97.5% lower bound. From -1 to 1 where there is no verdict.
        p_value: one-sided, for "the candidate is worse by the margin or more"; None without a
            verdict.
        non_inferior: `low` is above -margin.
        equivalent: the whole interval is within ±margin (two one-sided tests, each at
            (1 - confidence) / 2).
        status: the same in a word. "no verdict" where an arm has one training and there are no
            folds: one training says nothing about how another would come out.
        degrees_of_freedom: of Student's t; None for the normal distribution and without a verdict.
        seeds: number of trainings of the reference and of the candidate, in each fold.
        folds: number of folds, 1 without.
    """

    auc_reference: float
    auc_candidate: float
    difference: float
    low: float
    high: float
    margin: float
    p_value: float | None
    non_inferior: bool
    equivalent: bool
    status: Status
    confidence: float
    degrees_of_freedom: float | None
    seeds: tuple[int, int]
    folds: int
    paired: bool

    def __str__(self) -> str:
        if self.status == "no verdict":
            return (
                f"{self.difference:+.3f}, margin {self.margin:g}: no verdict about networks, "
                "which takes two trainings of each or folds"
            )
        return (
            f"{self.difference:+.3f} [{self.low:+.3f}, {self.high:+.3f}], "
            f"margin {self.margin:g}: {_WORDS[self.status]}"
        )


def non_inferiority(
    labels: ArrayLike,
    reference: ArrayLike,
    candidate: ArrayLike,
    *,
    margin: float = 0.02,
    folds: ArrayLike | None = None,
    paired: bool = False,
    confidence: float = 0.95,
) -> NonInferiority:
    """Test the candidate's macro AUC against the reference's, trainings by images.

    The interval is about networks: other trainings, other images (`ckrm_tf.stats.readers`). For
    two trained models see `compare_trained_models`. Where no score of either arm is ever out of
    order or all are constant, nothing varies and the interval has no width.

    Args:
        labels: (n,), class indices; every class must occur, and twice.
        reference: probabilities (n, classes) or (trainings, n, classes) of the starting network.
        candidate: the same of the smaller network; its number of trainings may differ.
        margin: the loss of macro AUC that would still be accepted, above 0. Choose it before
            looking at the results.
        folds: (n,), the fold of each image, where every fold has networks of its own. Scores of
            different networks are not comparable, so the AUC is the mean over the folds of the
            AUC within a fold. With one training of an arm a fold, the fold's differences are
            taken as they are (`nadeau_bengio`).
        paired: training i of both arms shares its seed, order and training images.
        confidence: of the two-sided interval whose lower end decides.

    Raises:
        CKRMError: for a margin not above 0, a class with one image, a fold without a class, values
            that are not finite, shapes that do not fit, or paired arms of unequal length.

    Example:
        >>> rng = np.random.default_rng(1)
        >>> labels = np.arange(300) % 3
        >>> image = rng.normal(size=(300, 3)) + 2 * np.eye(3)[labels]
        >>> arms = [image + 0.3 * rng.normal(size=(5, 300, 3)) for _ in range(2)]
        >>> non_inferiority(labels, *arms, margin=0.02).status
        'equivalent'
        >>> non_inferiority(labels, arms[0][:1], arms[1][:1], margin=0.02).status
        'no verdict'
    """
    check_margin(margin)
    check_confidence(confidence)
    truth, first, second = check_arms(labels, reference, candidate)
    counts = len(first), len(second)
    if paired and counts[0] != counts[1]:
        raise CKRMError("paired trainings", expected="as many of each arm", received=counts)
    parts = check_folds(truth, folds, first.shape[2])
    aucs, variance = _difference(truth, first, second, parts, paired)
    difference = aucs[1] - aucs[0]
    low, high, p_value, freedom = -1.0, 1.0, None, None
    status: Status = "no verdict"
    if variance is not None:
        half = variance.half_width(confidence)
        low, high = max(difference - half, -1.0), min(difference + half, 1.0)
        p_value = variance.p_value(difference + margin)
        freedom = variance.freedom if np.isfinite(variance.freedom) else None
        status = verdict(low, high, margin)
    return NonInferiority(
        auc_reference=aucs[0],
        auc_candidate=aucs[1],
        difference=difference,
        low=low,
        high=high,
        margin=margin,
        p_value=p_value,
        non_inferior=status in ("equivalent", "non-inferior"),
        equivalent=status == "equivalent",
        status=status,
        confidence=confidence,
        degrees_of_freedom=freedom,
        seeds=counts,
        folds=len(parts),
        paired=paired,
    )


def verdict(low: float, high: float, margin: float) -> Status:
    """What an interval of the difference shows at a margin."""
    if low <= -margin:
        return "not shown"
    return "equivalent" if high < margin else "non-inferior"


def check_arms(
    labels: ArrayLike, reference: ArrayLike, candidate: ArrayLike
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels (n,) and the two arms (trainings, n, classes), of the same images and classes."""
    truth, first = check_seeds(labels, reference)
    _, second = check_seeds(labels, candidate)
    return truth, first, second


def _difference(
    truth: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    parts: list[np.ndarray],
    pairs: bool,
) -> tuple[tuple[float, float], readers.Variance | None]:
    """Mean AUC of each arm, and the variance of their difference: None where nothing shows it."""
    trainings = np.concatenate([first, second])
    k = len(first)
    alone = min(k, len(second)) == 1
    means, found = [], []
    for part in parts:
        aucs, deviations = macro_auc_deviations(truth[part], trainings[:, part])
        means.append((aucs[:k].mean(), aucs[k:].mean()))
        if not alone:
            form = readers.paired if pairs else readers.unpaired
            found.append(form(aucs[:k], aucs[k:], deviations @ deviations.T))
    arms = np.array(means)
    differences = arms[:, 1] - arms[:, 0]
    variance = None
    if not alone:
        variance = readers.combine(found, differences)
    elif len(parts) > 1:
        variance = readers.nadeau_bengio(differences)
    mean = arms.mean(axis=0)
    return (float(mean[0]), float(mean[1])), variance


def macro_auc_interval(
    labels: ArrayLike,
    probabilities: ArrayLike,
    *,
    folds: ArrayLike | None = None,
    confidence: float = 0.95,
) -> Interval:
    """Macro AUC (mean over trainings) of one network, with its interval over trainings and images.

    With one training and no folds the interval is about the images only. It is cut to [0, 1].
    Arguments and errors as in `non_inferiority`, for one arm.

    Example:
        >>> rng = np.random.default_rng(1)
        >>> labels = np.arange(300) % 3
        >>> image = rng.normal(size=(300, 3)) + 2 * np.eye(3)[labels]
        >>> trainings = image + 0.3 * rng.normal(size=(5, 300, 3))
        >>> many, few = (macro_auc_interval(labels[:n], trainings[:, :n]) for n in (300, 60))
        >>> many.high - many.low < few.high - few.low
        True
    """
    check_confidence(confidence)
    truth, arm = check_seeds(labels, probabilities)
    parts = check_folds(truth, folds, arm.shape[2])
    found, means = [], []
    for part in parts:
        aucs, deviations = macro_auc_deviations(truth[part], arm[:, part])
        found.append(readers.single(aucs, deviations @ deviations.T))
        means.append(aucs.mean())
    estimates = np.array(means)
    alone = len(arm) == 1 and len(parts) > 1
    variance = readers.nadeau_bengio(estimates) if alone else readers.combine(found, estimates)
    value, half = float(estimates.mean()), variance.half_width(confidence)
    return Interval(value, max(value - half, 0.0), min(value + half, 1.0), confidence)
