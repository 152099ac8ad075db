"""Narrowing: a trained Keras model in, a narrower one out, with its weights."""

from ckrm_tf.narrowing.api import narrow, width_groups
from ckrm_tf.narrowing.call import Call, NoRuleError
from ckrm_tf.narrowing.groups import Group, Groups
from ckrm_tf.narrowing.model_cost import ModelCost, cost
from ckrm_tf.narrowing.narrower import Narrower
from ckrm_tf.narrowing.rules import channel_rule
from ckrm_tf.narrowing.select import SELECTORS

__all__ = [
    "SELECTORS",
    "Call",
    "Group",
    "Groups",
    "ModelCost",
    "Narrower",
    "NoRuleError",
    "channel_rule",
    "cost",
    "narrow",
    "width_groups",
]
