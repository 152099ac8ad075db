"""The chance to show non-inferiority on so many images, before anything is searched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import owens_t
from scipy.stats import nct, norm
from scipy.stats import t as student

from ckrm_tf.errors import CKRMError
from ckrm_tf.stats.checks import check_confidence, check_margin
from ckrm_tf.stats.jackknife import macro_auc_deviations
from ckrm_tf.stats.noninferiority import check_arms
from ckrm_tf.stats.readers import Parts, Variance, combine, unpaired


@dataclass(frozen=True, slots=True)
class Noise:
    """What makes an AUC vary; the defaults are rough figures of small CNNs on chest X-rays.

    Attributes:
        training_sd: standard deviation of the AUC from training to training, on endless images.
        same: correlation, over images, of the AUCs of two trainings of one network.
        other: the same of one training of each network, at most `same`.
    """

    training_sd: float = 0.01
    same: float = 0.8
    other: float = 0.7

    def __post_init__(self) -> None:
        if not (self.training_sd >= 0 and -1 < self.other <= self.same <= 1):
            raise CKRMError(
                "noise", expected="training_sd of 0 or more, other <= same <= 1", received=self
            )


@dataclass(frozen=True, slots=True)
class Power:
    """Chance to show non-inferiority, and what it was worked out for.

    Attributes:
        probability: that the lower bound comes out above -margin.
        half_width: typical half width of the interval.
        loss: assumed true loss.
    """

    probability: float
    half_width: float
    margin: float
    loss: float
    images: int
    trainings: int
    folds: int
    noise: Noise

    def __str__(self) -> str:
        times = "training" if self.trainings == 1 else "trainings"
        design = f"{self.trainings} {times} of each network"
        if self.folds > 1:
            design += f" in each of {self.folds} folds"
        noise = self.noise
        return (
            f"{self.images} images, {design}: a true loss of {self.loss:g} is shown to be within "
            f"{self.margin:g} with probability {self.probability:.2f} (interval about "
            f"±{self.half_width:.3f}; assumed: standard deviation {noise.training_sd:g} from "
            f"training to training, correlations {noise.same:g} and {noise.other:g} over images)"
        )


def power(
    per_class: Sequence[int],
    *,
    auc: float,
    margin: float = 0.02,
    loss: float = 0.0,
    trainings: int = 3,
    folds: int = 1,
    noise: Noise | None = None,
    confidence: float = 0.95,
) -> Power:
    """Probability that `non_inferiority` (not paired) shows a candidate of a given true loss.

    The variance over images is that of normal scores of equal variance, with the same AUC for each
    class; the AUCs of two classes are taken to correlate by 1 / (classes - 1)², which is right for
    two classes and .25 for three (simulated: .2). With folds of one training each the variance
    that the verdict assumes is taken for the true one, so that the figure is cautious.

    Args:
        per_class: images of each class, all folds together, such as `np.bincount(labels)`.
        auc: expected macro AUC of the reference, above .5 and below 1.
        margin: of the test.
        loss: true loss of the candidate, below the margin or not.
        trainings: of each network, in each fold.
        folds: 1 for none, with two trainings or more.
        noise: what makes an AUC vary; `Noise()` where it is not known, `measure_noise` where it is.
        confidence: of the two-sided interval.

    Raises:
        CKRMError: for fewer than two classes or two images of a class and fold, an AUC out of
            range, or one training without folds, which gives no verdict.

    Example:
        >>> print(power([262, 262, 263], auc=0.9, trainings=1, folds=10))
        787 images, 1 training of each network in each of 10 folds: a true loss of 0 is shown to \
be within 0.02 with probability 0.36 (interval about ±0.025; assumed: standard deviation 0.01 from \
training to training, correlations 0.8 and 0.7 over images)
    """
    noise = noise or Noise()
    check_margin(margin)
    check_confidence(confidence)
    sizes = _check_design(per_class, auc, trainings, folds)
    image = _image_variance(sizes / folds, auc)
    # Of one training's AUC within a fold, the images' share that its network's others lack.
    training = noise.training_sd**2 + image * (1 - noise.same)
    shared = 2 * image * (noise.same - noise.other)
    if trainings == 1:
        squares = 2 * training + shared
        variance = Variance(squares * (1 / folds + 1 / (folds - 1)), folds - 1)
    else:
        part = Parts(2 * training / trainings, 2 * (trainings - 1), shared, trainings)
        variance = combine([part] * folds, np.zeros(folds))
    error = float(np.sqrt(variance.value))
    half = variance.half_width(confidence)
    if error == 0:
        chance = float(margin > loss)
    elif np.isinf(variance.freedom):
        chance = float(norm.sf((half - margin + loss) / error))
    else:
        critical = student.ppf((1 + confidence) / 2, variance.freedom)
        chance = float(nct.sf(critical, variance.freedom, (margin - loss) / error))
    return Power(chance, half, margin, loss, int(sizes.sum()), trainings, folds, noise)


def measure_noise(labels: ArrayLike, reference: ArrayLike, candidate: ArrayLike) -> Noise:
    """The noise of two networks that were trained several times, for the power of a larger test.

    Few trainings and images give it roughly; negative estimates are cut at 0.

    Args:
        labels: (n,), class indices; every class must occur, and twice.
        reference: probabilities (trainings, n, classes), two trainings or more.
        candidate: the same of the other network.

    Raises:
        CKRMError: for one training, scores whose AUC does not vary over images, and as
            `non_inferiority`.

    Example:
        >>> rng = np.random.default_rng(1)
        >>> labels = np.arange(300) % 3
        >>> image = rng.normal(size=(300, 3)) + 2 * np.eye(3)[labels]
        >>> start, candidate = (image + rng.normal(size=(3, 300, 3)) for _ in range(2))
        >>> noise = measure_noise(labels, start, candidate)
        >>> 0 <= noise.other <= noise.same < 1
        True
    """
    truth, first, second = check_arms(labels, reference, candidate)
    k = len(first)
    if min(k, len(second)) < 2:
        raise CKRMError(
            "noise", expected="two trainings or more of each arm", received=(k, len(second))
        )
    aucs, deviations = macro_auc_deviations(truth, np.concatenate([first, second]))
    covariance = deviations @ deviations.T
    image = float(np.trace(covariance)) / len(covariance)
    if image <= 0:
        raise CKRMError("noise", expected="AUCs that vary over images", received="a variance of 0")
    parts = unpaired(aucs[:k], aucs[k:], covariance)
    other = float(covariance[:k, k:].mean())
    same = other + max(parts.cases, 0.0) / 2
    mean_square = parts.readers / (1 / k + 1 / len(second))
    sd = np.sqrt(max(mean_square - (image - same), 0.0))
    return Noise(float(sd), min(same / image, 1.0), min(other / image, 1.0))


def _check_design(per_class: Sequence[int], auc: float, trainings: int, folds: int) -> np.ndarray:
    sizes = np.asarray(per_class)
    if sizes.ndim != 1 or len(sizes) < 2 or sizes.dtype.kind not in "iu":
        raise CKRMError("images per class", expected="whole numbers", received=per_class)
    if not 0.5 < auc < 1:
        raise CKRMError("AUC", expected="above .5 and below 1", received=auc)
    if min(trainings, folds) < 1 or trainings * folds < 2:
        raise CKRMError(
            "power",
            expected="two trainings of each network, or folds",
            received=f"{trainings} training(s), {folds} fold(s)",
            hint="One training gives no verdict about networks.",
        )
    if sizes.min() < 2 * folds:
        raise CKRMError(
            "images per class",
            expected=f"at least {2 * folds}, two in each fold",
            received=sizes.tolist(),
        )
    return sizes


def _image_variance(sizes: np.ndarray, auc: float) -> float:
    """Variance over images of one training's macro AUC, all classes with the same AUC."""
    others = sizes.sum() - sizes
    # Chance that one image of a class scores above two others, or two above one: both differences
    # share an image and so correlate by a half (Owen 1956 for the bivariate normal).
    height = norm.ppf(auc)
    both = auc - 2 * owens_t(height, 1 / np.sqrt(3))
    pairs = auc * (1 - auc) + (sizes.sum() - 2) * (both - auc**2)
    errors = np.sqrt(pairs / (sizes * others))
    classes = len(sizes)
    between = 1 / (classes - 1) ** 2
    total = between * errors.sum() ** 2 + (1 - between) * np.sum(errors**2)
    return float(total) / classes**2
