"""Records of trainings for what hears of them: TensorBoard's HParams, a study of Optuna."""

from __future__ import annotations

from typing import Any

from ckrm_tf import Design, ResNetFamily, Stage, Widths
from ckrm_tf.criteria.base import Signal
from ckrm_tf.store.record import COMPLETED, Training

WIDTHS = Widths(16, (Stage(1, 8, 8), Stage(2, 8, 8)))
FAMILY = ResNetFamily(WIDTHS)
START = WIDTHS.to_design()
# Without its second stage.
ABSENT = {"stage2/blocks": 0, "stage2/mid": 0, "stage2/out": 0}


def training(design: Design, seed: int, auc: float, **more: Any) -> Training:
    """A training of two epochs; `more` are further fields."""
    signals = {"stem/filters": Signal(0.25, 0.5, 0.1)}
    return Training(
        design, seed, 2, COMPLETED, FAMILY.cost(design).params, 5000, val_auc=auc,
        lam={"stem_conv": 0.5}, signals=signals, **more,
    )  # fmt: skip
