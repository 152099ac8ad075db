"""What pruning would do: every criterion at every threshold, on a model that stays as it is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

import keras
import numpy as np
import pandas as pd

from ckrm_tf.criteria.eigenvalues import CRITERIA, check_criterion, threshold_for
from ckrm_tf.errors import CKRMError
from ckrm_tf.pruning.masks import Masks, dead_slices, dead_weights, lowest_masks, threshold_masks
from ckrm_tf.pruning.model import kernels_of, zero_slices


def what_if(
    model: keras.Model,
    evaluate: Callable[[keras.Model], float],
    criteria: Iterable[str] = CRITERIA,
    thresholds: Iterable[float] = (1e-4,),
    *,
    stem: bool = True,
    pointwise: bool = True,
) -> pd.DataFrame:
    """Prune by each criterion at each threshold without retraining, evaluate, and undo it.

    Every row also gives the metric of mean |w| at equal sparsity: as many slices killed, the
    lowest of the whole network. Equal masks are evaluated once.

    Args:
        model: a built model; its weights are bit for bit the same afterwards, whatever happens.
        evaluate: the model's metric, greater is better; called once per different mask.
        criteria: names out of `ckrm_tf.criteria.eigenvalues.CRITERIA`.
        thresholds: values of T in the units of the weights; `det` uses T^k.
        stem: prune the first convolution too.
        pointwise: prune 1x1 convolutions too.

    Returns:
        One row per criterion and threshold: `slices_kept` and `params_kept` (of the prunable
        slices and of all trainable parameters) with their shares, `metric`, `metric_ratio` (to
        the model as it is, which is in `attrs["metric"]`), `score` = metric_ratio * share of
        parameters removed (arXiv 2102.02804), and `weight_metric`, `weight_metric_ratio` of
        mean |w| at equal sparsity.

    Raises:
        CKRMError: for an unknown criterion, a bad threshold, or a model without convolutions.
    """
    criteria, thresholds = list(criteria), list(thresholds)
    for criterion in criteria:
        check_criterion(criterion)
        for threshold in thresholds:
            threshold_for(criterion, threshold, 1)
    if not criteria or not thresholds:
        raise CKRMError("what-if table", expected="at least one criterion and one threshold")
    kernels = kernels_of(model, stem=stem, pointwise=pointwise)
    slices = sum(int(np.prod(kernel.shape[2:])) for kernel in kernels.values())
    params = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    trial = _Trial(model, evaluate)
    unpruned = trial({})
    rows = []
    for criterion in criteria:
        for threshold in thresholds:
            masks = threshold_masks(kernels, criterion, threshold)
            dead = dead_slices(masks)
            kept = params - dead_weights(masks, kernels)
            metric = trial(masks)
            baseline = trial(lowest_masks(kernels, "weight", dead))
            ratio = metric / unpruned if unpruned else float("nan")
            rows.append(
                {
                    "criterion": criterion,
                    "threshold": threshold,
                    "slices_kept": slices - dead,
                    "slices_kept_share": (slices - dead) / slices,
                    "params_kept": kept,
                    "params_kept_share": kept / params,
                    "metric": metric,
                    "metric_ratio": ratio,
                    "score": ratio * (1 - kept / params),
                    "weight_metric": baseline,
                    "weight_metric_ratio": baseline / unpruned if unpruned else float("nan"),
                }
            )
    table = pd.DataFrame(rows)
    table.attrs.update(metric=unpruned, slices=slices, params=params)
    return table


class _Trial:
    """The metric under given masks; the weights come back after every call."""

    def __init__(self, model: keras.Model, evaluate: Callable[[keras.Model], float]) -> None:
        self.model, self.evaluate = model, evaluate
        self.known: dict[bytes, float] = {}

    def __call__(self, masks: Masks) -> float:
        key = hashlib.sha256()
        for name, mask in sorted(masks.items()):
            if not mask.all():
                key.update(name.encode() + np.packbits(mask).tobytes())
        if key.digest() not in self.known:
            original = self.model.get_weights()
            try:
                zero_slices(self.model, masks)
                self.known[key.digest()] = float(self.evaluate(self.model))
            finally:
                self.model.set_weights(original)
        return self.known[key.digest()]
