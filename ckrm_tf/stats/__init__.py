"""AUC, intervals, tests and the verdict, on NumPy arrays: SciPy underneath, no TensorFlow."""

from ckrm_tf.stats.auc import auc, class_auc, macro_auc
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
from ckrm_tf.stats.noninferiority import NonInferiority, macro_auc_interval, non_inferiority
from ckrm_tf.stats.operating import (
    Disagreement,
    OperatingPoint,
    disagreements,
    sensitivity_at,
    thresholds_at_specificity,
)
from ckrm_tf.stats.planning import Noise, Power, measure_noise, power
from ckrm_tf.stats.sequence import FixedSequence, fixed_sequence
from ckrm_tf.stats.trained import TrainedModels, compare_trained_models

__all__ = [
    "Anova",
    "DeLong",
    "Disagreement",
    "FixedSequence",
    "Interval",
    "Noise",
    "NonInferiority",
    "OperatingPoint",
    "Power",
    "Spread",
    "TrainedModels",
    "accuracy",
    "anova",
    "auc",
    "auc_interval",
    "class_auc",
    "class_auc_intervals",
    "compare_trained_models",
    "delong",
    "disagreements",
    "fixed_sequence",
    "macro_auc",
    "macro_auc_interval",
    "measure_noise",
    "non_inferiority",
    "power",
    "sensitivity",
    "sensitivity_at",
    "spread",
    "thresholds_at_specificity",
]
