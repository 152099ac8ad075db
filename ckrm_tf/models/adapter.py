"""A model that somebody brought behind the interface of a search: [0, 1] in, logits out."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

from ckrm_tf.errors import CKRMError
from ckrm_tf.models.facts import ModelFacts, activation_of, last_step
from ckrm_tf.narrowing import keras_graph

TWO_CLASSES = "two_classes"


def logits_from_unit_images(
    model: keras.Model, facts: ModelFacts, input_shape: tuple[int, int, int], name: str
) -> keras.Model:
    """A network from `image` in [0, 1] to logits around a model; the weights are shared.

    The model's softmax or sigmoid is taken off, so give a copy of your own.

    Args:
        model: as `facts` describes it; its last activation is changed in place.
        facts: of the model.
        input_shape: (height, width, channels) of an image of the data.
        name: of the model as a layer of the network.

    Raises:
        CKRMError: channels that do not fit, or an output that is not a layer's.
    """
    inner = without_activation(model, facts, name)
    image = keras.Input(input_shape, name="image")
    x: Any = image
    if (facts.low, facts.high) != (0.0, 1.0):
        x = layers.Rescaling(facts.high - facts.low, facts.low, name="pixels")(x)
    if input_shape[-1] == 1 and facts.shape[-1] > 1:
        x = layers.Concatenate(name="channels")([x] * facts.shape[-1])
    elif input_shape[-1] != facts.shape[-1]:
        raise CKRMError("images: channels", expected=facts.shape[-1], received=input_shape[-1])
    x = inner(x)
    if model.output_shape[-1] == 1:
        # One unit z is the two logits 0 and z.
        two = layers.Dense(2, use_bias=False, trainable=False, name=TWO_CLASSES)
        x = two(x)
        two.kernel.assign(np.array([[0.0, 1.0]]))
    return keras.Model(image, x, name=model.name)


def without_activation(model: keras.Model, facts: ModelFacts, name: str) -> keras.Model:
    """The model up to its logits, its layers shared, under another name."""
    symbol = keras_graph.outputs(model)[0]
    if facts.output != "logits":
        found = last_step(model)
        last = None if found is None else found[1].operation
        if found is None or activation_of(last) != facts.output:
            raise CKRMError(
                f"model {model.name}: output",
                expected=f"{facts.output} at the end",
                received=activation_of(last) if last is not None else "its input",
            )
        if isinstance(last, layers.Dense):
            last.activation = keras.activations.linear
        elif found[0] is model:
            symbol = found[1].inputs[0]
        else:
            raise CKRMError(
                f"model {model.name}: output",
                expected="a Dense layer at the end, or the activation outside nested models",
                received=f"{type(last).__name__} inside {found[0].name}",
            )
    return keras.Model(model.inputs[0], symbol, name=name)


def fresh_weights(network: keras.Model) -> keras.Model:
    """The same network with newly drawn weights.

    What fits the numbers to the network is not learned and stays: the statistics of Normalization
    and the two classes made of one.
    """
    fresh = keras.models.clone_model(network)
    pairs = zip(keras_graph.leaves(network), keras_graph.leaves(fresh), strict=True)
    for (path, old), (_, new) in pairs:
        if isinstance(old, layers.Normalization):
            new.set_weights(old.get_weights())
            new.finalize_state()
        elif path == TWO_CLASSES:
            new.set_weights(old.get_weights())
    return fresh
