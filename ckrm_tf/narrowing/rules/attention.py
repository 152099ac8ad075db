"""Attention: heads go whole, channels are read and made."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from keras import layers

from ckrm_tf.narrowing.atoms import Label
from ckrm_tf.narrowing.call import Call, NoRuleError, Shape
from ckrm_tf.narrowing.rules.base import RULES, channel_rule
from ckrm_tf.narrowing.rules.convolution import check_plain


def _places(shape: Shape) -> int:
    return math.prod(side or 1 for side in shape[1:-1])


@channel_rule(layers.MultiHeadAttention)
def attention(call: Call) -> list[Label]:
    """Heads go whole; query, key and value read channels, the output kernel makes them.

    Kernels: query, key (in, heads, key_dim), value (in, heads, value_dim), output (heads,
    value_dim, out).
    """
    layer = call.layer
    query, key, value, output = (
        getattr(layer, f"_{name}_dense") for name in ("query", "key", "value", "output")
    )
    config = layer.get_config()
    shape = config["output_shape"]
    if isinstance(shape, list | tuple) and len(shape) != 1:
        raise NoRuleError("output_shape has several axes")
    if config.get("use_gate"):
        raise NoRuleError("attention with a gate")
    if len(call.out_shapes) == 2 and len(call.shapes[0]) != 3:
        raise NoRuleError("it returns scores over several axes of places")
    for part in (query, key, value, output):
        check_plain(part)
        if part.kernel is None or len(part.kernel.shape) != 3:
            raise NoRuleError("kernels of another shape")
    sources = _sources(call)
    _fixed_positions(call, sources)
    heads = call.new(config["num_heads"], "heads")
    made = call.new(output.kernel.shape[-1])
    for part, index in zip((query, key, value), sources, strict=True):
        call.read(part.kernel, 0, call.channels(index=index), index=index)
        call.use(part.kernel, 1, heads)
        call.use(part.bias, 0, heads)
    call.use(output.kernel, 0, heads)
    call.use(output.kernel, 2, made)
    call.use(output.bias, 0, made)
    call.sets("num_heads", heads)
    # Its default is the width of the query, which may become another.
    call.sets("output_shape", made, lambda alive: int(alive.sum()))
    _count(call, config, sources, heads, made)
    label: Label = [None] * len(call.out_shapes[0])
    label[-1] = made
    found = [label]
    if len(call.out_shapes) == 2:
        scores: Label = [None] * len(call.out_shapes[1])
        scores[1] = heads
        found.append(scores)
    return found


def _sources(call: Call) -> tuple[int, int, int]:
    """The positions of query, key and value among the call's tensors."""
    given = dict(zip(("query", "value", "key"), call.step.args, strict=False)) | call.step.kwargs
    place = {id(x): i for i, x in enumerate(call.step.inputs)}
    value = given["value"]
    key = given.get("key")
    wanted = (given["query"], value if key is None else key, value)
    if any(id(x) not in place for x in wanted):
        raise NoRuleError("query, key or value is not a tensor of the graph")
    query, keys, values = (place[id(x)] for x in wanted)
    return query, keys, values


def _count(call: Call, config: dict[str, Any], sources: Any, heads: Any, made: Any) -> None:
    dims = (config["key_dim"], config["key_dim"], config["value_dim"] or config["key_dim"])
    for index, dim in zip(sources, dims, strict=True):
        ids = call.channels(index=index)
        width = call.shapes[index][-1] if ids is None else ids
        call.macs(_places(call.shapes[index]) * dim, heads, width)
    queries = _places(call.shapes[sources[0]])
    shape = call.shapes[sources[1]]
    keys = math.prod(shape[axis] or 1 for axis in _axes(call))
    call.macs(queries * keys * (dims[0] + dims[2]), heads)
    call.macs(queries * dims[2], heads, made)


def _axes(call: Call) -> list[int]:
    """The axes of places that are attended over; all unless some are named."""
    rank = len(call.shapes[0])
    return [axis % rank for axis in call.layer._attention_axes or range(1, rank - 1)]


def _fixed_positions(call: Call, sources: tuple[int, int, int]) -> None:
    for index in set(sources):
        for ids in call.labels[index][:-1]:
            call.freeze(ids, "attention mixes positions along the axis")


def grouped_attention(call: Call) -> list[Label]:
    """Several query heads share a key and value head; they go together.

    The output is as wide as the query, whatever that becomes.
    """
    layer = call.layer
    if getattr(layer, "use_gate", False):
        raise NoRuleError("attention with a gate")
    parts = [getattr(layer, f"_{name}_dense") for name in ("query", "key", "value", "output")]
    for part in parts:
        check_plain(part)
    query, key, value, output = parts
    sources = _sources(call)
    _fixed_positions(call, sources)
    shared = call.new(layer.num_key_value_heads, "heads")
    heads = np.repeat(shared, layer.num_repeats)
    made = call.channels(index=sources[0])
    for part, own, index in zip((query, key, value), (heads, shared, shared), sources, strict=True):
        ids = call.channels(index=index)
        call.read(part.kernel, 0, ids, index=index)
        call.use(part.kernel, 1, own)
        call.use(part.bias, 0, own)
        width = call.shapes[index][-1] if ids is None else ids
        call.macs(_places(call.shapes[index]) * layer.head_dim, own, width)
    call.use(output.kernel, 0, heads)
    call.use(output.kernel, 2, made)
    call.use(output.bias, 0, made)
    call.sets("num_query_heads", heads)
    call.sets("num_key_value_heads", shared)
    queries, keys = _places(call.shapes[sources[0]]), _places(call.shapes[sources[1]])
    call.macs(2 * queries * keys * layer.head_dim, heads)
    call.macs(queries * layer.head_dim, heads, layer.feature_dim if made is None else made)
    found: list[Label] = [[None, None, made]]
    if len(call.out_shapes) > 1:
        found.append([None, heads, None, None])
    return found


if hasattr(layers, "GroupQueryAttention"):
    RULES[layers.GroupQueryAttention] = grouped_attention
