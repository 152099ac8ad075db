"""A compiled forward pass of a model whose weights are arguments."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

from ckrm_tf.narrowing import keras_graph
from ckrm_tf.narrowing.plan import Channels

# The most numbers of a tensor of one forward pass: 64 MB.
LARGEST = 2**24


def compiled(model: keras.Model, variables: list[Any]) -> Callable[[Any, Any], Any]:
    """A function (values of the variables, inputs) -> output, compiled where the backend can.

    Args:
        model: with one output; called in inference mode.
        variables: those whose values are given at each call. The others keep their own.
    """

    def forward(values: list[Any], inputs: list[Any]) -> Any:
        mapping = list(zip(variables, values, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            return keras_graph.run(model, inputs)[0]

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf  # noqa: PLC0415 - the JAX backend must not need TensorFlow

        # As a partial, because TensorFlow counts tracings by Python code, over all its functions.
        found: Callable[[Any, Any], Any] = tf.function(partial(forward), autograph=False)
        return found
    if keras.backend.backend() == "jax":
        import jax  # noqa: PLC0415 - only this backend needs it

        jitted: Callable[[Any, Any], Any] = jax.jit(forward)
        return jitted
    return forward


def batches(channels: Channels, arrays: list[np.ndarray]) -> list[list[Any]]:
    """The images as tensors in batches of one size, so that one compiled pass serves all.

    The last is filled up from the first images: outputs beyond the number of images are no use.
    """
    count = len(arrays[0])
    number = -(-count // max(1, LARGEST // channels.largest))
    size = -(-count // number)
    places = np.arange(number * size) % count
    return [
        [
            ops.convert_to_tensor(array[part], dtype=symbol.dtype)
            for array, symbol in zip(arrays, keras_graph.inputs(channels.model), strict=True)
        ]
        for part in np.split(places, number)
    ]
