"""The null of responses: the same network with random weights, on the same images.

Smooth images alone make channels alike: the maps of an untrained stem are too. So what a trained
network shows beyond its untrained self is what was learned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from ckrm_tf.measures.responses_sites import follow

# Layers whose weights describe the data and are not learned.
DATA = (layers.Normalization,)


def random_weights(model: keras.Model, images: Sequence[Any], seed: int) -> list[Any]:
    """Weights of an untrained network, batch norms calibrated on images. The model is unchanged.

    Each weight is drawn by its layer's own initialiser with a seed of its own; scales that start
    at zero start at one. The moving statistics are those of what each batch norm reads; where the
    model's own are still those of the start, they are in the null too.

    Args:
        model: functional or sequential.
        images: a block of images, one tensor for each flat input.
        seed: of the draw.

    Returns:
        One array for each of `model.weights`.
    """
    owners, calibrate = _owners(model), _calibrator(model)
    mapping = []
    for number, variable in enumerate(model.weights):
        owner = owners.get(id(variable))
        value = None if owner is None else _drawn(owner, variable, seed, number)
        if value is not None:
            mapping.append((variable, ops.convert_to_tensor(value, dtype=variable.dtype)))
    with keras.StatelessScope(state_mapping=mapping) as scope:
        follow(model, list(images), lambda token, value: None, before=calibrate)
        found = [scope.get_current_value(variable) for variable in model.weights]
    return [
        variable.value if value is None else value
        for variable, value in zip(model.weights, found, strict=True)
    ]


def _calibrator(model: keras.Model) -> Callable[[Any, Any], None]:
    """What sets the statistics of a batch norm before it is called."""
    moved = {
        id(layer)
        for layer in model._flatten_layers()
        if isinstance(layer, layers.BatchNormalization) and not _at_start(layer)
    }

    def calibrate(layer: Any, value: Any) -> None:
        if id(layer) not in moved:
            return
        value = ops.cast(value, "float32")
        axis = layer.axis % len(value.shape)
        mean, variance = ops.moments(value, tuple(a for a in range(len(value.shape)) if a != axis))
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign(variance)

    return calibrate


def _at_start(layer: layers.BatchNormalization) -> bool:
    """Whether no image has passed a batch norm in training."""
    return all(
        np.array_equal(
            ops.convert_to_numpy(variable.value),
            ops.convert_to_numpy(initializer(variable.shape, dtype=variable.dtype)),
        )
        for variable, initializer in (
            (layer.moving_mean, layer.moving_mean_initializer),
            (layer.moving_variance, layer.moving_variance_initializer),
        )
    )


def _owners(model: keras.Model) -> dict[int, Any]:
    """The layer that each weight belongs to, by `id` of the weight."""
    found: dict[int, Any] = {}
    for layer in (model, *model._flatten_layers(include_self=False, recursive=True)):
        for variable in (*layer._trainable_variables, *layer._non_trainable_variables):
            found[id(variable)] = layer
    return found


def _drawn(layer: Any, variable: Any, seed: int, number: int) -> Any:
    """The weight as it might have started; None where it stays."""
    if isinstance(layer, DATA) or not keras.backend.is_float_dtype(variable.dtype):
        return None
    initializer = _initializer(layer, variable.name)
    if initializer is None:
        if len(variable.shape) < 2:
            return None
        initializer = keras.initializers.GlorotUniform()
    settings = initializer.get_config() if hasattr(initializer, "get_config") else {}
    if "seed" in settings:
        own = int(np.random.default_rng([seed, number]).integers(2**31 - 1))
        initializer = type(initializer).from_config({**settings, "seed": own})
    value = initializer(variable.shape, dtype=variable.dtype)
    if variable.name == "gamma" and not ops.convert_to_numpy(value).any():
        return ops.ones_like(value)
    return value


def _initializer(layer: Any, name: str) -> Any:
    """The initialiser of a layer's weight, by the names that Keras gives to both."""
    short = name.removesuffix("_kernel")
    for candidate in (name, short, "depthwise" if name == "kernel" else name):
        found = getattr(layer, f"{candidate}_initializer", None)
        if found is not None:
            return found
    return None
