"""Dense layers and embeddings."""

from __future__ import annotations

import math

from keras import layers

from ckrm_tf.narrowing.atoms import Label
from ckrm_tf.narrowing.call import Call, Shape
from ckrm_tf.narrowing.rules.activation import activated
from ckrm_tf.narrowing.rules.base import channel_rule
from ckrm_tf.narrowing.rules.convolution import check_plain


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
