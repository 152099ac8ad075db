"""From a trained network to what a user runs: raw pixels in, probabilities out."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

from ckrm_tf.errors import CKRMError

BATCH = 32


def inference_model(model: keras.Model, scale: float) -> keras.Model:
    """`model` from raw pixels to probabilities: no regularisers, no optimiser, the same names.

    Args:
        model: functional, from `image` in [0, 1] to `logits`.
        scale: the pixel value of full brightness; pixels are divided by it.

    Returns:
        A new functional model from `image` to `probabilities` with copies of the weights. Its
        layers are those of `model`, not a nested model, so that `measure` and viewers see them.

    Raises:
        CKRMError: when `model` is not such a network or `scale` not above 0.
    """
    _check_model(model)
    if not 0 < scale < np.inf:
        raise CKRMError("scale", expected="a finite number above 0", received=repr(scale))
    image = keras.Input(model.input_shape[1:], name="image")
    rescale = layers.Rescaling(1 / scale, name="rescale")

    def without_regularizer(layer: layers.Layer) -> layers.Layer:
        config = layer.get_config()
        config.update({key: None for key in config if key.endswith("_regularizer")})
        return layer.__class__.from_config(config)

    def rescale_first(layer: layers.Layer, *args: Any, **kwargs: Any) -> Any:
        return layer(*(rescale(a) if a is image else a for a in args), **kwargs)

    # A view without the compile state: cloning would otherwise restore losses and metrics too.
    view = keras.Model(model.input, model.output, name=model.name)
    clone = keras.models.clone_model(
        view,
        input_tensors=image,
        clone_function=without_regularizer,
        call_function=rescale_first,
    )
    for layer in model.layers:
        if layer.weights:
            clone.get_layer(layer.name).set_weights(layer.get_weights())
    # In float32 whatever the precision of the network, so that probabilities add up to 1.
    probabilities = layers.Softmax(name="probabilities", dtype="float32")(clone.output)
    return keras.Model(image, probabilities, name=model.name)


def outputs(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """`model` in inference mode on `images` (n, height, width, channels), as float32.

    On the CPU: an accelerator's convolutions may round to ten bits, and files are compared here.
    """
    with keras.device("cpu:0"):
        batches = [
            keras.ops.convert_to_numpy(model(images[start : start + BATCH], training=False))
            for start in range(0, len(images), BATCH)
        ]
    return np.concatenate(batches).astype(np.float32)


def _check_model(model: keras.Model) -> None:
    if not isinstance(model, keras.Model) or not hasattr(model, "output"):
        raise CKRMError(
            "model to export", expected="a functional Keras model", received=type(model).__name__
        )
    single = len(model.inputs) == 1 and len(model.outputs) == 1
    if not single or len(model.input_shape) != 4 or len(model.output_shape) != 2:
        raise CKRMError(
            "model to export",
            expected="one image (batch, height, width, channels) in, logits (batch, classes) out",
            received=f"{model.input_shape} in, {model.output_shape} out",
        )
    last = model.get_layer(model.output_names[0])
    activation = getattr(last, "activation", keras.activations.linear)
    if isinstance(last, layers.Softmax) or activation is not keras.activations.linear:
        raise CKRMError(
            "model to export",
            expected="logits, without an activation",
            received=f"{last.name} with an activation",
            hint="The export adds the softmax.",
        )
