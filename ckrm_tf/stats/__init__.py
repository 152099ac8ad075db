"""AUC, intervals and tests, on NumPy arrays: SciPy underneath, no TensorFlow."""

from ckrm_tf.stats.auc import auc, class_auc, macro_auc
from ckrm_tf.stats.bootstrap import BootstrapDifference, macro_auc_interval, paired_bootstrap
from ckrm_tf.stats.delong import DeLong, auc_interval, class_auc_intervals, delong
from ckrm_tf.stats.intervals import (
    Anova,
    Interval,
    Spread,
    accuracy,
    anova,
    sensitivity,
    spread,
)
from ckrm_tf.stats.noninferiority import NonInferiority, non_inferiority

__all__ = [
    "Anova",
    "BootstrapDifference",
    "DeLong",
    "Interval",
    "NonInferiority",
    "Spread",
    "accuracy",
    "anova",
    "auc",
    "auc_interval",
    "class_auc",
    "class_auc_intervals",
    "delong",
    "macro_auc",
    "macro_auc_interval",
    "non_inferiority",
    "paired_bootstrap",
    "sensitivity",
    "spread",
]
