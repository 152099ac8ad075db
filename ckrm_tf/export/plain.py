"""Copies of a model without its training: uncompiled, and in float32 where asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from ckrm_tf.errors import CKRMError
from ckrm_tf.export.flat import REDUCED

REDUCED_POLICIES = {*REDUCED, *(f"mixed_{dtype}" for dtype in REDUCED)}


def uncompiled(model: keras.Model) -> keras.Model:
    """`model` itself, or a copy of it when it is compiled: no loss, metric or optimiser."""
    return _copy(model, model.get_config()) if model.compiled else model


def in_float32(model: keras.Model) -> keras.Model:
    """`model` itself when all of it computes in float32, else a copy that does."""
    config = model.get_config()
    full = _without_reduced(config)
    return model if full == config else _copy(model, full)


def _without_reduced(value: Any) -> Any:
    """`value`, part of a configuration, with every reduced precision made float32."""
    if isinstance(value, Mapping):
        named = "name" if value.keys() == {"name"} else "dtype"
        return {
            key: "float32"
            if key == named and isinstance(part, str) and part in REDUCED_POLICIES
            else _without_reduced(part)
            for key, part in value.items()
        }
    if isinstance(value, (list, tuple)):
        return type(value)(_without_reduced(part) for part in value)
    return value


def _copy(model: keras.Model, config: Mapping[str, Any]) -> keras.Model:
    try:
        copy = model.__class__.from_config(config)
        copy.set_weights(model.get_weights())
    except (TypeError, ValueError) as error:
        raise CKRMError(
            "copy of the model to export",
            expected="a model that Keras can build from its configuration",
            received=" ".join(str(error).split())[:300],
            hint="Register custom layers with keras.saving.register_keras_serializable.",
        ) from error
    return copy
