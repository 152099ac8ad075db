"""Is a candidate network no worse than the reference, by a stated margin of macro AUC?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ckrm_tf.errors import CKRMError
from ckrm_tf.stats.bootstrap import paired_bootstrap


@dataclass(frozen=True, slots=True)
class NonInferiority:
    """The verdict and what it rests on; the difference is candidate minus reference.

    Attributes:
        low, high: two-sided interval of the difference; at the default confidence of .95, `low`
            is the one-sided 97.5% lower bound.
        p_value: one-sided, for "the candidate is worse by the margin or more": the share of
            resamples at or below -margin, the data counted as one of them.
        non_inferior: `low` is above -margin.
        equivalent: the whole interval is within ±margin (two one-sided tests, each at
            (1 - confidence) / 2).
        seeds: number of trainings of the reference and of the candidate. With one, the verdict is
            about these trained weights and not about the widths.
    """

    auc_reference: float
    auc_candidate: float
    difference: float
    low: float
    high: float
    margin: float
    p_value: float
    non_inferior: bool
    equivalent: bool
    confidence: float
    samples: int
    seeds: tuple[int, int]

    def __str__(self) -> str:
        verdict = "equivalent" if self.equivalent else "not inferior"
        if not self.non_inferior:
            verdict = "not shown to be non-inferior"
        return (
            f"{self.difference:+.3f} [{self.low:+.3f}, {self.high:+.3f}], "
            f"margin {self.margin:g}: {verdict}"
        )


def non_inferiority(
    labels: ArrayLike,
    reference: ArrayLike,
    candidate: ArrayLike,
    *,
    margin: float = 0.02,
    folds: ArrayLike | None = None,
    samples: int = 2000,
    seed: int = 1,
    confidence: float = 0.95,
) -> NonInferiority:
    """Test the candidate's macro AUC against the reference's by `paired_bootstrap`.

    Args:
        labels: (n,), class indices; every class must occur.
        reference: probabilities (n, classes) or (seeds, n, classes) of the starting network.
        candidate: the same of the smaller network.
        margin: the loss of macro AUC that would still be accepted, above 0. Choose it before
            looking at the results.
        folds: (n,), the fold of each image, for probabilities of cross-validation.
        samples: number of resamples, at least 100.
        seed: of the drawing.
        confidence: of the two-sided interval whose lower end decides.

    Raises:
        CKRMError: for a margin not above 0, and as `paired_bootstrap`.
    """
    if not 0 < margin < 1:
        raise CKRMError("margin", expected="between 0 and 1, such as .02", received=margin)
    result = paired_bootstrap(
        labels,
        reference,
        candidate,
        folds=folds,
        samples=samples,
        seed=seed,
        confidence=confidence,
    )
    worse = int(np.sum(result.replicates <= -margin))
    non_inferior = result.low > -margin
    return NonInferiority(
        auc_reference=result.auc_a,
        auc_candidate=result.auc_b,
        difference=result.difference,
        low=result.low,
        high=result.high,
        margin=margin,
        p_value=(worse + 1) / (samples + 1),
        non_inferior=non_inferior,
        equivalent=non_inferior and result.high < margin,
        confidence=confidence,
        samples=samples,
        seeds=result.seeds,
    )
