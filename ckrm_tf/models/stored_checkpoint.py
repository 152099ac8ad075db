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
    owned: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    for node in graph.nodes:
        for attribute in node.attributes:
            key, name = attribute.checkpoint_key, attribute.full_name
            if key.startswith(AGAIN) or any(mark in key for mark in OPTIMIZER) or not name:
                continue
            if reader.has_tensor(key):
                place, _, leaf = name.rpartition("/")
                owner = key.partition("/.ATTRIBUTES")[0].rpartition("/")[0]
                # Keras 2 lists the variables of nested models without their layers, in order.
                while leaf in owned.get((place, owner), ()):
                    owner += "+"
                own = owned.setdefault((place, owner), {})
                own[leaf] = np.asarray(reader.get_tensor(key))
    if not owned:
        raise CKRMError(f"model {folder}", expected=expected, received="none")
    return ByName(_by_name(owned))


def _by_name(owned: dict[tuple[str, str], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The variables of each (place, owner) by full names.

    Layers of nested models may have one name: the second is `conv#2`. The same variables under
    another owner are left out.
    """
    values: dict[str, np.ndarray] = {}
    places: dict[str, list[dict[str, np.ndarray]]] = {}
    for (place, _), own in owned.items():
        others = places.setdefault(place, [])
        if any(all(_same(other.get(k), v) for k, v in own.items()) for other in others):
            continue
        others.append(own)
        free = f"{place}#{len(others)}" if len(others) > 1 else place
        values |= {f"{free}/{leaf}".removeprefix("/"): value for leaf, value in own.items()}
    return values


def _same(a: np.ndarray | None, b: np.ndarray) -> bool:
    return a is not None and a.shape == b.shape and a.tobytes() == b.tobytes()
