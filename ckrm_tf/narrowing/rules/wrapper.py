"""Layers around a layer."""

from __future__ import annotations

from dataclasses import replace

from keras import layers

from ckrm_tf.narrowing.atoms import Label
from ckrm_tf.narrowing.call import Call, NoRuleError
from ckrm_tf.narrowing.rules.base import RULES, channel_rule


@channel_rule(layers.TimeDistributed)
def time_distributed(call: Call) -> list[Label]:
    """The rule of the layer inside, on tensors without the axis of time."""
    inner = call.layer.layer
    rule = RULES.get(type(inner))
    if rule is None:
        raise NoRuleError(f"{type(inner).__name__} {inner.name} inside has no rule")
    label = call.labels[0]
    if label[1] is not None:
        call.freeze(label[1], "it is the axis of time")
    inside = Call(call.trace, call.step, call.path, [[label[0], *label[2:]]])
    inside.layer = inner
    inside.shapes = [(s[0], *s[2:]) for s in call.shapes]
    inside.out_shapes = [(s[0], *s[2:]) for s in call.out_shapes]
    reads, terms = call.trace.reads, call.trace.macs
    counted, known = len(terms), len(reads.get(call.step.key, ()))
    found = rule(inside)
    times = call.shapes[0][1] or 1
    terms[counted:] = [replace(t, factor=t.factor * times) for t in terms[counted:]]
    if call.step.key in reads:
        # What a kernel reads through another kernel is not made again along time. What an earlier
        # walk of a nested model noted has the axis of time already.
        noted = reads[call.step.key]
        noted[known:] = [
            replace(r, along=r.along + 1 if r.along > 0 else r.along)
            for r in noted[known:]
            if r.prepare is None
        ]
    return [[lab[0], None, *lab[1:]] for lab in found or [[None] * (len(inside.out_shapes[0]))]]
