"""ViT-B/16 (arXiv 2010.11929) in Keras, and the rule of the one layer that Keras does not have."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from ckrm_tf import channel_rule

WIDTH, HEADS, BLOCKS, PATCH, SIZE, CLASSES = 768, 12, 12, 16, 224, 1000


class Tokens(layers.Layer):
    """Puts a class token before the patches and adds what is learned of each place.

    Input (n, patches, width), output (n, patches + 1, width).
    """

    def build(self, shape: tuple[Any, ...]) -> None:
        """One vector for the token, one a place."""
        _, patches, width = shape
        self.token = self.add_weight(shape=(1, 1, width), name="token")
        self.places = self.add_weight(shape=(1, patches + 1, width), name="places")

    def call(self, patches: Any) -> Any:
        """(n, patches, width) to (n, patches + 1, width)."""
        token = keras.ops.repeat(self.token, keras.ops.shape(patches)[0], axis=0)
        return keras.ops.concatenate([token, patches], axis=1) + self.places


@channel_rule(Tokens)
def tokens(call: Any) -> Any:
    """Both weights go with the channels of the patches."""
    channels = call.channels(-1)
    call.use(call.layer.token, 2, channels)
    call.use(call.layer.places, 2, channels)
    return call.result(channels)


def block(x: Any) -> Any:
    y = layers.LayerNormalization(epsilon=1e-6)(x)
    x = layers.Add()([x, layers.MultiHeadAttention(HEADS, WIDTH // HEADS)(y, y)])
    y = layers.LayerNormalization(epsilon=1e-6)(x)
    y = layers.Dense(4 * WIDTH, activation="gelu")(y)
    return layers.Add()([x, layers.Dense(WIDTH)(y)])


def vit_b_16() -> keras.Model:
    image = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(WIDTH, PATCH, strides=PATCH)(image)
    x = Tokens()(layers.Reshape(((SIZE // PATCH) ** 2, WIDTH))(x))
    for _ in range(BLOCKS):
        x = block(x)
    x = layers.LayerNormalization(epsilon=1e-6)(x)[:, 0]
    return keras.Model(image, layers.Dense(CLASSES)(x), name="vit_b_16")
