"""Models of the table for each kind of graph: nested, shared, of ops, with several inputs."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers, ops
from narrow_zoo import block, case, head, image


def _tower(name="tower"):
    i = image()
    return keras.Model(i, block(block(i, 8), 6), name=name)


@case(free=3)
def nested():
    i = image()
    return keras.Model(i, head(block(_tower()(layers.Rescaling(0.5)(i)), 8)))


@case(free=4)
def nested_twice():
    i = image(16, 16, 4)
    inner = keras.Model(i, _inner(i)(block(i, 4)), name="outer")
    j = image()
    return keras.Model(j, head(inner(layers.Conv2D(4, 1)(j))))


def _inner(i):
    k = keras.Input((16, 16, 4))
    return keras.Sequential(
        [k, layers.Conv2D(6, 3), layers.ReLU(), layers.Conv2D(5, 3)], name="inner"
    )


@case(free=2)
def siamese():
    tower = keras.Sequential(
        [
            image(),
            layers.Conv2D(8, 3),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(6),
        ],
        name="tower",
    )
    i, j = image(), image()
    return keras.Model([i, j], layers.Dense(2)(ops.absolute(tower(i) - tower(j))))


@case(free=1)
def shared_layer():
    i = image()
    shared = layers.Conv2D(8, 3, padding="same")
    x = layers.ReLU()(shared(layers.Conv2D(8, 3, padding="same")(i)))
    return keras.Model(i, head(shared(x)))


# Keras itself does not read the original back: it saves the shared layer's weights once.
@case(free=2, without=("saved",))
def shared_between_models():
    shared = layers.Conv2D(8, 3, padding="same", name="shared")
    i, j, k = image(), image(), image()
    left = keras.Model(i, layers.Conv2D(6, 1)(shared(i)), name="left")
    right = keras.Model(j, layers.Conv2D(6, 3, padding="same")(shared(j)), name="right")
    return keras.Model(k, head(layers.ReLU()(left(k) + right(k))))


@case(free=5)
def split_slice_join():
    i = image()
    x = block(i, 12)
    a, b = ops.split(x, 2, axis=-1)
    x = ops.concatenate([b, a * 2.0 + 1.0], axis=-1)
    a, b, c = ops.split(block(x, 12), [3, 8], axis=-1)
    x = ops.concatenate([block(c, 5), block(b, 7), a], axis=-1)
    x = ops.relu(x[..., 2:11])
    x = ops.stack([x, ops.tanh(x)], axis=1)
    x = ops.max(x, axis=1)
    x = ops.where(x > 0.5, x, 0.1 * x)
    return keras.Model(i, layers.Dense(3)(ops.mean(layers.Conv2D(5, 1)(x), axis=[1, 2])))


@case(free=3)
def movements():
    i = image()
    x = block(i, 12)
    x = ops.transpose(ops.flip(x, axis=-1), (0, 3, 2, 1))
    x = ops.moveaxis(ops.swapaxes(x, 2, 3), 1, -1)
    x = ops.repeat(x, 2, axis=-1)
    x = ops.reshape(x, (-1, 16, 16, 4, 6))
    x = ops.sum(x, axis=3)
    x = ops.squeeze(ops.expand_dims(ops.average_pool(x, 2, 2), 1), 1)
    x = ops.image.resize(ops.max_pool(x, 2), (6, 6))
    x = layers.Conv2D(8, 3)(x)
    x = layers.RepeatVector(3)(layers.GlobalMaxPooling2D()(x))
    return keras.Model(i, layers.Dense(2)(layers.Flatten()(layers.Conv1D(4, 2)(x))))


@case(free=4)
def arrangements():
    i = image()
    x = ops.tile(ops.roll(block(i, 6), 2, axis=-1), (1, 1, 1, 2))
    x = ops.depth_to_space(block(ops.roll(x, 3, axis=1), 16), 2)
    x = ops.space_to_depth(block(x, 5), 4)
    return keras.Model(i, head(block(x, 6)))


@case(free=2)
def private_scales():
    from keras.src.applications.convnext import LayerScale  # noqa: PLC0415
    from keras.src.applications.inception_resnet_v2 import CustomScaleLayer  # noqa: PLC0415

    i = image()
    x = block(i, 8)
    y = LayerScale(0.5, 8)(layers.Conv2D(8, 3, padding="same")(x))
    x = CustomScaleLayer(0.3)([x, y])
    return keras.Model(i, head(block(x, 6)))


@case(free=3)
def option_a():
    i = image()
    x = block(i, 4)
    y = ops.pad(x, [[0, 0], [0, 0], [0, 0], [2, 2]]) + block(x, 8)
    y = ops.pad(y, [[0, 0], [1, 1], [1, 1], [0, 0]])
    return keras.Model(i, head(block(y, 8)))


@case(free=4)
def products():
    i = image()
    x = layers.Reshape((256, 8))(block(i, 8))
    q, k, v = (layers.Conv1D(8, 1, activation="relu")(x) for _ in range(3))
    scores = ops.softmax(ops.matmul(q, ops.transpose(k, (0, 2, 1))) / 8.0, axis=-1)
    x = ops.matmul(scores, v)
    x = layers.GlobalAveragePooling1D()(x)
    y = layers.Dense(6, activation="relu")(x)
    z = layers.Dense(6, activation="relu")(x)
    return keras.Model(i, [layers.Dense(2)(z), layers.Dot(axes=1)([y, z])])


@case(free=3)
def joined_on_space():
    i = image()
    x = layers.Concatenate(axis=1)([block(i, 8), block(i, 8)])
    x = layers.Concatenate()([x, ops.concatenate([i, i], axis=1)])
    return keras.Model(i, head(block(block(x, 6), 4)))


@case(free=3)
def dictionaries():
    left, right = keras.Input((16, 16, 3), name="left"), keras.Input((16, 16, 1), name="right")
    x, y = block(left, 8), block(right, 6)
    z = layers.Concatenate()([x, y])
    return keras.Model(
        {"left": left, "right": right},
        {"map": layers.Conv2D(2, 1)(z), "label": [head(block(z, 5)), head(y, 2)]},
    )


@case(free=3)
def nested_with_two_inputs():
    a, b = keras.Input((16, 16, 3)), keras.Input((16, 16, 4))
    inner = keras.Model([a, b], layers.Concatenate()([block(a, 6), b]), name="pair")
    i = image()
    return keras.Model(i, head(block(inner([i, block(i, 4)]), 5)))


@case(free=2)
def variable_size():
    i = keras.Input((None, None, 3))
    x = layers.UpSampling2D()(layers.MaxPooling2D()(block(i, 8)))
    return keras.Model(i, layers.Conv2D(2, 1)(block(x, 6)))


@case(free=3)
def deep_supervision():
    i = image()
    x = block(i, 8)
    y = block(x, 8)
    return keras.Model(i, [head(x), y, head(block(block(y, 6), 6))])


@case(free=3)
def frozen_backbone():
    body = _tower("backbone")
    body.trainable = False
    i = image()
    x = layers.RandomFlip()(i)
    x = layers.Dense(6, activation="tanh")(layers.GlobalAveragePooling2D()(body(x, training=False)))
    model = keras.Model(i, layers.Dense(3)(x))
    model.compile("adam", keras.losses.MeanSquaredError(), metrics=["mae"])
    return model


@keras.saving.register_keras_serializable(package="zoo")
class OwnStep(keras.Model):
    """A functional model with a training step of its own."""

    def train_step(self, data):
        return {**super().train_step(data), "own": 1.0}


@case(free=2)
def own_training_step():
    i = image()
    model = OwnStep(inputs=i, outputs=head(block(block(i, 8), 6)))
    model.compile(keras.optimizers.AdamW(1e-3), keras.losses.Huber(0.5))
    return model


@case(free=3)
def constants_in_calls():
    i = image()
    x = block(i, 8) + 3.0
    x = block(x / np.float32(2), 8) + np.ones(8, "float32")
    x = 1.0 - ops.clip(block(x, 6), 0.0, 0.9)
    return keras.Model(i, head(block(x, 4)))


# A norm over the one channel left gives its beta: Keras takes x / s from x / s + beta in float32.
@case(free=1, tolerance=1e-4)
def layer_norm_of_one():
    i = image()
    x = layers.Conv2D(2, 1, use_bias=False)(i)
    y = layers.Conv2D(2, 1)(layers.LayerNormalization()(x))
    return keras.Model(i, [layers.Dense(3)(layers.GlobalAveragePooling2D()(x)), y])
