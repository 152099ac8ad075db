"""The candidate against the starting network on all images, each judged by who has not seen it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ckrm_tf.tuning.runner import Runner
from ckrm_tf.widths import Widths
from search.final_stats import ARMS, compare_on, describe_arms
from search.retrain import probabilities, train_all


def fold_comparison(
    runners: Sequence[Runner],
    start: Widths,
    candidate: Widths,
    seeds: Sequence[int],
    margin: float,
) -> dict[str, Any]:
    """Train both networks with every seed in every fold; compare them on the folds' test images.

    Args:
        runners: one a fold (`ckrm_tf.data.folds`); each must keep weights.
        start, candidate, seeds, margin: as for `search.final.final_comparison`.

    Returns:
        As `final_comparison`, with "folds" in place of "val" and "test". A seed's probabilities are
        those of its networks of all folds, one network an image.

    Raises:
        CKRMError: a training failed, or its weights are gone.
    """
    networks = dict(zip(ARMS, (start, candidate), strict=True))
    found: dict[str, list[np.ndarray]] = {arm: [] for arm in ARMS}
    for runner in runners:
        for arm, widths in networks.items():
            train_all(runner, widths, seeds)
            found[arm].append(probabilities(runner, widths, seeds, runner.data.test))
    data = runners[0].data
    labels = np.concatenate([runner.data.test.labels for runner in runners])
    joined = {arm: np.concatenate(parts, axis=1) for arm, parts in found.items()}
    return {
        "margin": margin,
        "seeds": list(seeds),
        **describe_arms(data, runners[0].layout, networks),
        "folds": compare_on(labels, joined, data.class_names, margin) | {"count": len(runners)},
    }
