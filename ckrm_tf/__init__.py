"""CKRM-TF: how much of a convolutional network is redundant, and the network without it."""

from ckrm_tf.callbacks import CKRMCallback
from ckrm_tf.data import load_dataset
from ckrm_tf.errors import CKRMError
from ckrm_tf.layers.slim_conv import SlimConv2D
from ckrm_tf.layout import Layout
from ckrm_tf.measure.redundancy import ckrm
from ckrm_tf.measure.similarity import kernel_similarity, psi
from ckrm_tf.resnet import resnet
from ckrm_tf.widths import Stage, Widths

__all__ = [
    "CKRMCallback",
    "CKRMError",
    "Layout",
    "SlimConv2D",
    "Stage",
    "Widths",
    "ckrm",
    "kernel_similarity",
    "load_dataset",
    "psi",
    "resnet",
]
