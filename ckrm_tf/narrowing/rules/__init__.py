"""What each kind of layer does to channels: one small file a kind, found by the exact class."""

from ckrm_tf.narrowing.rules import (  # noqa: F401 - each registers its rules
    activation,
    arrangement,
    attention,
    convolution,
    dense,
    merge,
    normalization,
    own,
    shape,
    spatial,
    wrapper,
)
from ckrm_tf.narrowing.rules.base import channel_rule, rule_for

__all__ = ["channel_rule", "rule_for"]
