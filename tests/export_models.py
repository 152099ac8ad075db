"""Small models that each try one thing that export formats find hard."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
from keras import layers

from ckrm_tf.narrowing.keras_graph import leaves


def disturbed(model: keras.Model) -> keras.Model:
    """`model` with every weight, moving statistics and biases included, away from its start."""
    rng = np.random.default_rng(7)
    for weight in model.weights:
        if weight.dtype == "float32":
            value = np.asarray(weight.value)
            weight.assign(
                value * rng.uniform(0.8, 1.2, value.shape) + 0.05 * rng.random(value.shape)
            )
    for _, layer in leaves(model):
        if isinstance(layer, layers.Normalization):
            # It computes with tensors made of its weights.
            layer.finalize_state()
    return model


def two_convolutions() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((12, 12, 1)),
            layers.Conv2D(4, 3, padding="same"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Conv2D(6, 3, strides=2),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3),
        ],
        name="two_convolutions",
    )


def two_in_two_out() -> keras.Model:
    """Dictionaries at both ends, names that formats do not allow, a sequence of any length."""
    film, notes = keras.Input((12, 12, 3), name="Film 1"), keras.Input((None, 5), name="notes")
    seen = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, activation="relu")(film))
    read = layers.GlobalAveragePooling1D()(layers.Conv1D(4, 3, padding="same")(notes))
    both = layers.Concatenate()([seen, read])
    outputs = {"z": layers.Dense(3)(both), "age": layers.Dense(1)(read)}
    return keras.Model({"Film 1": film, "notes": notes}, outputs)


def augmented() -> keras.Model:
    image = keras.Input((12, 12, 1))
    x = layers.RandomRotation(0.2)(layers.RandomFlip()(image))
    x = layers.Conv2D(4, 3, activation="relu")(layers.RandomContrast(0.5)(x))
    return keras.Model(image, layers.Dense(3)(layers.Flatten()(layers.Dropout(0.5)(x))))


def mixed_precision() -> keras.Model:
    policy = keras.DTypePolicy("mixed_bfloat16")
    image = keras.Input((12, 12, 1))
    x = layers.Conv2D(4, 3, dtype=policy)(image)
    x = layers.ReLU(dtype=policy)(layers.BatchNormalization(dtype=policy)(x))
    inner = keras.Sequential([layers.Conv2D(4, 3, dtype=policy)], name="inner")
    x = layers.GlobalAveragePooling2D(dtype=policy)(inner(x))
    return keras.Model(image, layers.Dense(3, dtype=policy)(x))


def grouped() -> keras.Model:
    """Any size of image."""
    image = keras.Input((None, None, 4))
    x = layers.Conv2D(8, 3, groups=4, padding="same")(image)
    x = layers.SeparableConv2D(6, 3)(layers.DepthwiseConv2D(3, depth_multiplier=2)(x))
    return keras.Model(image, layers.Dense(3)(layers.GlobalMaxPooling2D()(x)))


def attention() -> keras.Model:
    image = keras.Input((8, 8, 3))
    x = layers.Reshape((16, 16))(layers.Conv2D(16, 2, strides=2)(image))
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 8)(x, x))
    return keras.Model(image, layers.Dense(3, activation="gelu")(layers.Flatten()(x)))


def up_and_down() -> keras.Model:
    """A U in one dimension: the output has the size of the input."""
    signal = keras.Input((16, 2))
    low = layers.MaxPooling1D(2)(layers.Conv1D(4, 3, padding="same", activation="swish")(signal))
    high = layers.Conv1DTranspose(4, 4, strides=2, padding="same")(low)
    return keras.Model(signal, layers.Conv1D(2, 1)(layers.Concatenate()([high, signal])))


def volume() -> keras.Model:
    image = keras.Input((6, 6, 6, 1))
    x = layers.Conv3D(4, 3, activation="leaky_relu")(layers.ZeroPadding3D()(image))
    return keras.Model(image, layers.Dense(3)(layers.GlobalAveragePooling3D()(x)))


def squeezed() -> keras.Model:
    """Squeeze and excitation with operators, on whole-number pixels."""
    image = keras.Input((12, 12, 3), dtype="uint8")
    x = layers.Conv2D(8, 3)(layers.Rescaling(1 / 255)(image))
    gate = layers.Dense(8, activation="sigmoid")(keras.ops.mean(x, axis=(1, 2), keepdims=True))
    x = layers.PReLU(shared_axes=(1, 2))(layers.UnitNormalization()(x * gate))
    return keras.Model(image, layers.Dense(3)(layers.Flatten()(layers.AveragePooling2D(2)(x))))


def normalized() -> keras.Model:
    """Tensors outside the weights: statistics that were given, and such that were measured."""
    image = keras.Input((8, 8, 3))
    given = layers.Normalization(mean=[0.4, 0.5, 0.6], variance=[0.1, 0.2, 0.3])
    measured = layers.Normalization()
    measured.adapt(np.random.default_rng(1).normal(3, 2, (20, 8, 8, 4)))
    x = measured(layers.Conv2D(4, 3, padding="same")(keras.Sequential([given])(image)))
    return keras.Model(image, layers.Dense(3)(layers.GlobalMaxPooling2D()(x)))


def fixed_batch() -> keras.Model:
    image = keras.Input(batch_shape=(2, 8, 8, 1))
    return keras.Model(image, layers.Dense(3)(layers.Flatten()(layers.Conv2D(2, 3)(image))))


MODELS: tuple[Callable[[], keras.Model], ...] = (
    two_convolutions,
    two_in_two_out,
    augmented,
    mixed_precision,
    grouped,
    attention,
    up_and_down,
    volume,
    squeezed,
    normalized,
    fixed_batch,
)
