"""Strided 1x1 convolutions, trained without a stride: the same function, on every second pixel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import keras
from keras import layers, ops

# Keras documents `convolution_op` as the place where a layer's convolution may be replaced.
HOOK = "convolution_op"


@contextmanager
def sampled_strides(model: keras.Model) -> Iterator[None]:
    """Within it the strided 1x1 convolutions of a model convolve a sampled map with no stride.

    TensorFlow 2.21 with oneDNN computes the gradient of a strided 1x1 kernel of fewer than 8 input
    channels wrongly: it writes beyond its memory. Numbers differ from run to run, or the process
    ends (`benchmarks/onednn_crash.py`). A traced step keeps what it was traced with.

    Args:
        model: any; it is as before in the end.
    """
    found = [
        layer
        for layer in model._flatten_layers(include_self=False, recursive=True)
        if _is_strided_pointwise(layer)
    ]
    for layer in found:
        setattr(layer, HOOK, partial(_convolution, layer))
    try:
        yield
    finally:
        for layer in found:
            delattr(layer, HOOK)


def _is_strided_pointwise(layer: Any) -> bool:
    # A class that replaces the hook itself knows why.
    plain = getattr(type(layer), HOOK, None) is layers.Conv2D.convolution_op
    return plain and set(layer.kernel_size) == {1} and max(layer.strides) > 1


def _convolution(layer: Any, inputs: Any, kernel: Any) -> Any:
    """What `convolution_op` of the layer gives."""
    form = layer.data_format
    if len(layer.strides) == 3:
        # TensorFlow pools no volumes of float16 on a processor. Of images pooling is the faster.
        first = 2 if form == "channels_first" else 1
        steps = (1,) * first + tuple(layer.strides)
        sampled = inputs[tuple(slice(None, None, step) for step in steps)]
    else:
        sampled = ops.average_pool(inputs, 1, layer.strides, padding="valid", data_format=form)
    return ops.conv(sampled, kernel, 1, padding="valid", data_format=form)
