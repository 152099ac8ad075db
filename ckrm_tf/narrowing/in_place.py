"""Whether slices of a model can be computed in its old size, with zeros in kernels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ckrm_tf.errors import CKRMError
from ckrm_tf.narrowing import keras_graph
from ckrm_tf.narrowing.atoms import Label
from ckrm_tf.narrowing.groups import ALWAYS
from ckrm_tf.narrowing.plan import Channels

HINT = "ckrm_tf.narrow builds and mends its slices one by one."


def check_in_place(channels: Channels) -> None:
    """Refuse a model in which removed channels reach others by another way than a kernel.

    Raises:
        CKRMError: a norm over channels, or a product of two tensors summed over channels, where
            channels may be removed.
    """
    if channels.trace.inexact:
        raise CKRMError(
            f"model {channels.model.name}",
            expected="no norm over channels that may be removed",
            received=channels.trace.inexact[0],
            hint=HINT,
        )
    summed = next(_summed(channels, channels.model), None)
    if summed is not None:
        raise CKRMError(
            f"model {channels.model.name}",
            expected="no sum over channels that may be removed but by a kernel",
            received=summed,
            hint=HINT,
        )


def _summed(channels: Channels, model: Any) -> Iterator[str]:
    """The paths of operations without weights whose outputs lack channels of an input."""
    trace = channels.trace
    labels = {
        id(symbol): label
        for symbol, label in zip(keras_graph.inputs(model), trace.inputs[id(model)], strict=True)
    }
    for step in keras_graph.steps(model):
        operation = step.operation
        if keras_graph.is_model(operation):
            yield from _summed(channels, operation)
            continue
        if getattr(operation, "variables", ()):
            continue
        left = [trace.labels[id(symbol)] for symbol in step.outputs]
        known = {unit for label in left for units in _units(channels, label) for unit in units}
        for symbol in step.inputs:
            label = trace.labels.get(id(symbol)) or labels[id(symbol)]
            if any(not units & known for units in _units(channels, label)):
                yield trace.paths[id(operation)]


def _units(channels: Channels, label: Label) -> Iterator[set[int]]:
    """The units that may be removed along each axis that has any."""
    for ids in label:
        if ids is not None:
            units = channels.units.units(ids)
            if np.any(units != ALWAYS):
                yield set(units[units != ALWAYS].tolist())
