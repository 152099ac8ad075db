"""The variables of a SavedModel folder, read from its checkpoint. No code of it is run."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ckrm_tf.errors import CKRMError
from ckrm_tf.models.stored_weights import ByName, Weights

GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
# Keras 3 writes all variables a second time, in no order.
AGAIN = "_all_variables/"
OPTIMIZER = ("optimizer", ".OPTIMIZER_SLOT", "keras_api/metrics")


def saved_model_weights(folder: Path) -> Weights:
    """The weights of a SavedModel by the full names of its variables.

    Raises:
        CKRMError: no variables, or none with a name.
    """
    import tensorflow as tf  # noqa: PLC0415 - slow, and only this format needs it
    from tensorflow.core.protobuf.trackable_object_graph_pb2 import (  # noqa: PLC0415
        TrackableObjectGraph,
    )

    expected = "a SavedModel folder with named variables"
    try:
        reader = tf.train.load_checkpoint(str(folder / "variables" / "variables"))
        graph = TrackableObjectGraph.FromString(reader.get_tensor(GRAPH))
    except Exception as error:  # whatever TensorFlow and protobuf raise
        lines = str(error).splitlines() or [type(error).__name__]
        raise CKRMError(f"model {folder}", expected=expected, received=lines[0]) from error
    values: dict[str, np.ndarray] = {}
    for node in graph.nodes:
        for attribute in node.attributes:
            key, name = attribute.checkpoint_key, attribute.full_name
            if key.startswith(AGAIN) or any(mark in key for mark in OPTIMIZER) or not name:
                continue
            if reader.has_tensor(key):
                values.setdefault(name, np.asarray(reader.get_tensor(key)))
    if not values:
        raise CKRMError(f"model {folder}", expected=expected, received="none")
    return ByName(values)
