"""Dense layers, embeddings and attention."""

from __future__ import annotations

import math
from typing import Any

from keras import layers

from ckrm_tf.narrowing.atoms import Label
from ckrm_tf.narrowing.rules.activation import activated
from ckrm_tf.narrowing.rules.base import channel_rule
from ckrm_tf.narrowing.rules.convolution import check_plain
from ckrm_tf.narrowing.trace import Call, NoRuleError, Shape


def _places(shape: Shape) -> int:
    """How often a dense kernel is applied to one image: the axes between batch and last."""
    return math.prod(side or 1 for side in shape[1:-1])


@channel_rule(layers.Dense)
def dense(call: Call) -> list[Label]:
    """Kernel (in, out) along the last axis; channels along other axes pass by."""
    layer = call.layer
    check_plain(layer)
    ids = call.channels()
    made = call.new(layer.units)
    call.read(layer.kernel, 0, ids, bias=layer.bias)
    call.use(layer.kernel, 1, made)
    call.use(layer.bias, 0, made)
    call.sets("units", made)
    others = [i for i in call.labels[0][:-1] if i is not None]
    sides = [
        s for s, i in zip(call.shapes[0][1:-1], call.labels[0][1:-1], strict=True) if i is None
    ]
    call.macs(
        math.prod(s or 1 for s in sides),
        layer.kernel.shape[0] if ids is None else ids,
        made,
        *others,
    )
    left = activated(call, made, others)
    return call.result(left)


@channel_rule(layers.Embedding)
def embedding(call: Call) -> list[Label]:
    """A table (vocabulary, width): makes channels, multiplies nothing."""
    check_plain(call.layer)
    made = call.new(call.layer.output_dim)
    call.use(call.layer.embeddings, 1, made)
    call.sets("output_dim", made)
    rank = len(call.out_shapes[0])
    return [[None] * (rank - 1) + [made]]


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
    for part in (query, key, value, output):
        check_plain(part)
        if part.kernel is None or len(part.kernel.shape) != 3:
            raise NoRuleError("kernels of another shape")
    sources = _sources(call)
    for index in set(sources):
        for axis, ids in enumerate(call.labels[index][:-1]):
            if ids is not None and axis != len(call.labels[index]) - 1:
                call.freeze(ids, "attention mixes positions along the axis")
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
    queries, keys = _places(call.shapes[sources[0]]), _places(call.shapes[sources[1]])
    call.macs(queries * keys * (dims[0] + dims[2]), heads)
    call.macs(queries * dims[2], heads, made)
