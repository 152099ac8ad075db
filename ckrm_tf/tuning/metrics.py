"""What KerasTuner shows of a trial: plain numbers by name, averaged over the trial's seeds.

For display and for KerasTuner's own oracles; nothing here is read back from a name.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from ckrm_tf.criteria.base import SIGNAL_PARTS
from ckrm_tf.store.record import Training
from ckrm_tf.tuning.history import outcomes

OBJECTIVE = "score"
AUC = "val_auc"


def trial_metrics(trainings: Sequence[Training], penalty: float) -> dict[str, float]:
    """The metrics of a trial.

    `score`, the objective by which networks of nearly equal size are ordered
    (`ckrm_tf.tuning.history.Outcome.objective`); `val_auc` and, per seed, `val_auc/N`; `ckrm`, the
    mean lambda over the convolutions; `lambda/LAYER`; `signal/WIDTH/redundancy`, `needed`,
    `excess`; `params`, `macs`, `seconds`, `steps`.

    Args:
        trainings: the trial's completed trainings of one network, one a seed, at least one.
        penalty: weight of the redundancy in the score.
    """
    aucs = [t.val_auc for t in trainings if t.val_auc is not None]
    first = trainings[0]
    lam = {name: fmean(t.lam[name] for t in trainings) for name in first.lam}
    (outcome,) = outcomes(trainings)
    metrics = {
        OBJECTIVE: outcome.objective(penalty),
        AUC: fmean(aucs),
        "ckrm": fmean(lam.values()) if lam else 0.0,
        "params": float(first.params),
        "macs": float(first.macs),
        "seconds": sum(t.seconds for t in trainings),
        "steps": float(sum(t.steps for t in trainings)),
    }
    metrics |= {f"{AUC}/{i}": auc for i, auc in enumerate(aucs)}
    metrics |= {f"lambda/{name}": value for name, value in lam.items()}
    for width in first.signals:
        for part in SIGNAL_PARTS:
            value = fmean(getattr(t.signals[width], part) for t in trainings)
            metrics[f"signal/{width}/{part}"] = value
    return metrics
