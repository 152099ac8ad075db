"""The candidate against the starting network on all images, each judged by who has not seen it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ckrm_tf.design.design import Design
from ckrm_tf.tuning.runner import Runner
from search.final_stats import ARMS, compare_on
from search.retrain import probabilities, train_all


def fold_comparison(
    runners: Iterable[Runner],
    start: Design,
    candidate: Design,
    seeds: Sequence[int],
    margin: float,
) -> dict[str, Any]:
    """Train both networks with every seed in every fold; compare them on the folds' test images.

    An AUC is the mean over the folds of the AUC within a fold: the scores of two folds come from
    two networks and are not comparable. One seed stands for the networks of all folds, so the
    spread over seeds is that of a mean of so many trainings.

    Args:
        runners: one a fold (`ckrm_tf.data.folds`), taken one after the other; each must keep
            weights.
        start, candidate, seeds, margin: as for `search.final.final_comparison`.

    Returns:
        What `search.final_stats.compare_on` finds over all images, plain values for JSON.

    Raises:
        CKRMError: a training failed, or its weights are gone.
    """
    found: dict[str, list[np.ndarray]] = {arm: [] for arm in ARMS}
    labels, place = [], []
    names: tuple[str, ...] = ()
    networks = (start, candidate)
    for number, runner in enumerate(_begun(runners, networks, seeds)):
        test, names = runner.data.test, runner.data.class_names
        for arm, design in zip(ARMS, networks, strict=True):
            way = runner.way_of(design)
            train_all(runner, design, seeds, way)
            found[arm].append(probabilities(runner, design, seeds, test, way))
        labels.append(test.labels)
        place.append(np.full(len(test), number))
    joined = {arm: np.concatenate(parts, axis=1) for arm, parts in found.items()}
    return compare_on(np.concatenate(labels), joined, names, margin, np.concatenate(place))


def _begun(
    runners: Iterable[Runner], networks: Sequence[Design], seeds: Sequence[int]
) -> Iterator[Runner]:
    """The runners one after the other; where a pool has room, those that follow begin already."""
    ahead: deque[Runner] = deque()
    for runner in runners:
        for design in networks:
            runner.expect(((design, seed) for seed in seeds), runner.way_of(design))
        ahead.append(runner)
        while ahead and not (runner.pool is not None and runner.pool.room):
            yield ahead.popleft()
    yield from ahead
