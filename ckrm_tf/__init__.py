"""CKRM-TF: how much of a convolutional network is redundant, and the network without it.

Public names are loaded when they are first asked for: `import ckrm_tf` loads neither Keras nor
TensorFlow.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ckrm_tf.registration import register_with_keras

if TYPE_CHECKING:
    from ckrm_tf.data import load_dataset as load_dataset
    from ckrm_tf.design.axes import Axis as Axis
    from ckrm_tf.design.cost import Cost as Cost
    from ckrm_tf.design.design import Design as Design
    from ckrm_tf.errors import CKRMError as CKRMError
    from ckrm_tf.export import export_model as export_model
    from ckrm_tf.families.base import Family as Family
    from ckrm_tf.families.layout import Layout as Layout
    from ckrm_tf.families.resnet import ResNetFamily as ResNetFamily
    from ckrm_tf.families.resnet_model import resnet as resnet
    from ckrm_tf.families.widths import Stage as Stage
    from ckrm_tf.families.widths import Widths as Widths
    from ckrm_tf.layers.cam import CAMHead as CAMHead
    from ckrm_tf.layers.slim_conv import SlimConv2D as SlimConv2D
    from ckrm_tf.measures.callback import CKRMCallback as CKRMCallback
    from ckrm_tf.measures.redundancy import ckrm as ckrm
    from ckrm_tf.measures.similarity import kernel_similarity as kernel_similarity
    from ckrm_tf.measures.similarity import psi as psi
    from ckrm_tf.measures.table import measure as measure
    from ckrm_tf.narrowing import channel_rule as channel_rule
    from ckrm_tf.narrowing import cost as cost
    from ckrm_tf.narrowing import narrow as narrow
    from ckrm_tf.narrowing import width_groups as width_groups
    from ckrm_tf.tuning.optuna_sampler import CKRMSampler as CKRMSampler
    from ckrm_tf.tuning.oracle import CKRMOracle as CKRMOracle
    from ckrm_tf.tuning.tuner import CKRMTuner as CKRMTuner

# Where each public name lives. None of them is the name of a module of this folder.
_PUBLIC = {
    "Axis": "ckrm_tf.design.axes",
    "CAMHead": "ckrm_tf.layers.cam",
    "CKRMCallback": "ckrm_tf.measures.callback",
    "CKRMError": "ckrm_tf.errors",
    "CKRMOracle": "ckrm_tf.tuning.oracle",
    "CKRMSampler": "ckrm_tf.tuning.optuna_sampler",
    "CKRMTuner": "ckrm_tf.tuning.tuner",
    "Cost": "ckrm_tf.design.cost",
    "Design": "ckrm_tf.design.design",
    "Family": "ckrm_tf.families.base",
    "Layout": "ckrm_tf.families.layout",
    "ResNetFamily": "ckrm_tf.families.resnet",
    "SlimConv2D": "ckrm_tf.layers.slim_conv",
    "Stage": "ckrm_tf.families.widths",
    "Widths": "ckrm_tf.families.widths",
    "channel_rule": "ckrm_tf.narrowing",
    "ckrm": "ckrm_tf.measures.redundancy",
    "cost": "ckrm_tf.narrowing",
    "export_model": "ckrm_tf.export",
    "kernel_similarity": "ckrm_tf.measures.similarity",
    "load_dataset": "ckrm_tf.data",
    "measure": "ckrm_tf.measures.table",
    "narrow": "ckrm_tf.narrowing",
    "psi": "ckrm_tf.measures.similarity",
    "resnet": "ckrm_tf.families.resnet_model",
    "width_groups": "ckrm_tf.narrowing",
}

__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    """A public name, loaded now and kept."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})


register_with_keras()
