"""CKRM-TF: how much of a convolutional network is redundant, and the network without it."""

from ckrm_tf.errors import CKRMError
from ckrm_tf.layout import Layout
from ckrm_tf.resnet import resnet
from ckrm_tf.widths import Stage, Widths

__all__ = ["CKRMError", "Layout", "Stage", "Widths", "resnet"]
