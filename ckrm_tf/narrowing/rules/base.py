"""The registry of channel rules: one rule for each exact type of layer, one for each op by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ckrm_tf.errors import CKRMError
from ckrm_tf.narrowing.call import Rule

RULES: dict[type, Rule] = {}
OPS: dict[str, Rule] = {}


def channel_rule(*kinds: type) -> Callable[[Rule], Rule]:
    """Register how channels pass through a layer of your own.

    The function gets a `Call` and returns, for each output, a list with one entry per axis: the
    channels along it, or None where they are fixed. It says which axis of which weight goes with
    which channels; everything else follows.

    Args:
        kinds: the layer classes, looked up by exact type: a subclass needs its own line.

    Raises:
        CKRMError: for something that is not a class.

    Example:
        >>> import keras
        >>> from ckrm_tf import channel_rule
        >>> class Scale(keras.layers.Layer):
        ...     def build(self, shape):
        ...         self.gain = self.add_weight(shape=(shape[-1],), name="gain")
        ...     def call(self, x):
        ...         return x * self.gain
        >>> @channel_rule(Scale)
        ... def scale(call):
        ...     call.use(call.layer.gain, 0, call.channels(-1))
        ...     return call.same()
    """
    for kind in kinds:
        if not isinstance(kind, type):
            raise CKRMError("channel_rule", expected="a layer class", received=repr(kind))

    def register(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(kinds, rule))
        return rule

    return register


def op_rule(*names: str) -> Callable[[Rule], Rule]:
    """Register the rule of `keras.ops` operations by the names of their classes."""

    def register(rule: Rule) -> Rule:
        OPS.update(dict.fromkeys(names, rule))
        return rule

    return register


def rule_for(operation: Any) -> Rule | None:
    """The rule of an operation by its exact type, or None.

    Two classes are called Add, one a layer and one an op, and they differ; a subclass may compute
    something else. So a layer is found by its class and an op by its name within Keras's ops.
    """
    kind = type(operation)
    if kind in RULES:
        return RULES[kind]
    if kind.__module__.startswith(("keras.src.ops.", "keras.ops.")):
        return OPS.get(kind.__name__)
    return None
