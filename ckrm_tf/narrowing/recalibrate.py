"""Batch-norm statistics anew, from images, without labels."""

from __future__ import annotations

from typing import Any

import keras

from ckrm_tf.narrowing import keras_graph
from ckrm_tf.narrowing.responses import BATCH, as_inputs


def recalibrate(model: keras.Model, images: Any, batch: int = BATCH) -> None:
    """Replace the moving statistics of every batch norm by those on these images, in place.

    One pass in training mode; the statistics are the mean over its batches. Batch norms that are
    frozen, or called with `training=False`, keep theirs.

    Args:
        model: a built functional or sequential model.
        images: as the model takes them.
        batch: images a step; each batch has one voice.
    """
    arrays = as_inputs(model, images)
    norms = [
        layer
        for _, layer in keras_graph.leaves(model)
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    momenta = [layer.momentum for layer in norms]
    try:
        for number, start in enumerate(range(0, len(arrays[0]), batch)):
            for layer in norms:
                layer.momentum = number / (number + 1)
            values = [a[start : start + batch] for a in arrays]
            model(
                keras.tree.pack_sequence_as(keras_graph.input_structure(model), values),
                training=True,
            )
    finally:
        for layer, momentum in zip(norms, momenta, strict=True):
            layer.momentum = momentum
