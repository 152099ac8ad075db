"""First-order importance of channels: weights times gradients. Needs TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import keras
import numpy as np

from ckrm_tf.errors import CKRMError
from ckrm_tf.narrowing import keras_graph
from ckrm_tf.narrowing.evidence import Evidence
from ckrm_tf.narrowing.groups import Group
from ckrm_tf.narrowing.responses import BATCH, as_inputs

_CACHE_NAME = "_taylor"


def importance(evidence: Evidence, group: Group) -> np.ndarray | None:
    """|sum of weight times gradient| over what makes each unit, each layer at unit total.

    The loss is that of the compiled model when labels are given; else half the mean square of the
    outputs, whose change says how much the outputs change.

    Raises:
        CKRMError: labels without a compiled loss, or another backend than TensorFlow.
    """
    products = _products(evidence)
    members = evidence.channels.units.members[group.name]
    by_path = dict(evidence.channels.trace.producers)
    total, heard = np.zeros(group.width), False
    for path in group.layers:
        for variable in getattr(by_path.get(path), "trainable_variables", ()):
            value = _per_unit(evidence, variable, products, members)
            if value is not None:
                total += np.abs(value) / max(float(np.abs(value).sum()), 1e-30)
                heard = True
    return total if heard else None


def _per_unit(
    evidence: Evidence, variable: Any, products: Mapping[int, np.ndarray], members: np.ndarray
) -> np.ndarray | None:
    uses = evidence.channels.trace.uses.get(id(variable), {})
    for axis in sorted(uses, reverse=True):
        ids = uses[axis]
        if ids is None:
            continue
        units = evidence.channels.units.units(ids)
        inside = np.isin(units, members)
        if inside.any() and id(variable) in products:
            product = products[id(variable)]
            sums = product.sum(axis=tuple(a for a in range(product.ndim) if a != axis))
            return np.bincount(
                units[inside] - members[0], weights=sums[inside], minlength=len(members)
            )
    return None


def _products(evidence: Evidence) -> Mapping[int, np.ndarray]:
    """weight * gradient of every trainable weight, summed over the images; computed once."""
    cached: Mapping[int, np.ndarray] | None = evidence.__dict__.get(_CACHE_NAME)
    if cached is not None:
        return cached
    if keras.backend.backend() != "tensorflow":
        raise CKRMError(
            "select taylor", expected="the TensorFlow backend", received=keras.backend.backend()
        )
    import tensorflow as tf  # noqa: PLC0415 - the other criteria need no TensorFlow

    model = evidence.channels.model
    if evidence.labels is not None and not getattr(model, "compiled", False):
        raise CKRMError(
            "select taylor with labels", expected="a compiled model, for its loss", received="none"
        )
    arrays = as_inputs(model, evidence.images)
    labels = evidence.labels
    if labels is not None and not isinstance(labels, dict):
        labels = np.asarray(labels) if len(model.outputs) == 1 else list(labels)
    if any(len(one) != len(arrays[0]) for one in keras.tree.flatten(labels) if one is not None):
        raise CKRMError("labels", expected=f"{len(arrays[0])}, one an image", received="others")
    variables = model.trainable_variables
    sums = [np.zeros(v.shape) for v in variables]
    for start in range(0, len(arrays[0]), BATCH):
        part = slice(start, start + BATCH)
        batch = [tf.convert_to_tensor(a[part]) for a in arrays]
        given = keras.tree.pack_sequence_as(keras_graph.input_structure(model), batch)
        with tf.GradientTape() as tape:
            found = model(given, training=False)
            if labels is None:
                loss = sum(
                    tf.reduce_mean(tf.square(tf.cast(x, tf.float32))) / 2
                    for x in keras.tree.flatten(found)
                )
            else:
                loss = model.compute_loss(
                    x=given,
                    y=keras.tree.map_structure(partial(_rows, part), labels),
                    y_pred=found,
                    training=False,
                )
        gradients = tape.gradient(loss, [v.value for v in variables])
        for k, gradient in enumerate(gradients):
            if gradient is not None:
                sums[k] += variables[k].numpy() * tf.convert_to_tensor(gradient).numpy()
    found_products = {id(v): total for v, total in zip(variables, sums, strict=True)}
    evidence.__dict__[_CACHE_NAME] = found_products
    return found_products


def _rows(part: slice, labels: Any) -> Any:
    return labels[part]
