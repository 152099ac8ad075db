"""How long a model takes for one batch, measured."""

from __future__ import annotations

import time
from typing import Any

import keras
import numpy as np

from ckrm_tf.narrowing import keras_graph

REPEATS = 20


def latency(model: Any, batch: int = 1, repeats: int = REPEATS) -> float:
    """Seconds for one batch in inference mode: the shortest of several, after one to warm up.

    Args:
        model: a built model; sides of unknown size are taken as 224.
        batch: images at once.
        repeats: calls timed.
    """
    given = [
        keras.ops.convert_to_tensor(
            np.zeros([batch, *(224 if s is None else s for s in x.shape[1:])]), dtype=x.dtype
        )
        for x in keras_graph.inputs(model)
    ]
    structure = keras.tree.pack_sequence_as(keras_graph.input_structure(model), given)

    def call() -> Any:
        return model(structure, training=False)

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf  # noqa: PLC0415 - other backends need no TensorFlow

        call = tf.function(call, autograph=False)
    times = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        keras.tree.map_structure(keras.ops.convert_to_numpy, call())
        times.append(time.perf_counter() - started)
    return min(times[1:])
