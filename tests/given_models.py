"""A small classifier with a layer of its own, as somebody might bring it."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
from keras import layers

from ckrm_tf.data.dataset import Dataset
from ckrm_tf.families.functional import ModelFamily
from ckrm_tf.models.facts import as_pixels, read_facts
from ckrm_tf.models.load import load_layers, load_model
from ckrm_tf.models.sent import SentModel

OWN = """
import keras


@keras.saving.register_keras_serializable("brought")
class Centred(keras.layers.Layer):
    def call(self, x):
        return x - 0.5
"""


def save_given(path: Path, own: Path, data: Dataset, epochs: int = 0) -> None:
    """Write the model, and the module of its own layer.

    Args:
        path, own: where.
        data: what it classifies.
        epochs: over the training and validation images, which it knows then.
    """
    own.write_text(OWN)
    keras.utils.set_random_seed(1)
    image = keras.Input(data.input_shape)
    x = load_layers(str(own))["Centred"]()(image)
    for number, filters in enumerate((6, 5), start=1):
        x = layers.Conv2D(filters, 3, strides=2, padding="same", name=f"conv{number}")(x)
        x = layers.ReLU(name=f"relu{number}")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, layers.Dense(data.classes, activation="softmax")(x), name="given")
    if epochs:
        model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
        images = np.concatenate([data.train.images, data.val.images]) / np.float32(data.scale)
        labels = np.concatenate([data.train.labels, data.val.labels])
        model.fit(images, labels, epochs=epochs, verbose=0)
    model.save(path)


def given_family(folder: Path, data: Dataset) -> ModelFamily:
    """The family of its slices; no file is left from which it could be read again."""
    path, own = folder / "given.keras", folder / "own.py"
    save_given(path, own, data)
    model = load_model(path, custom=str(own))
    sent = SentModel.of(path, str(own))
    path.unlink()
    own.unlink()
    facts = read_facts(model, pixels=(0.0, 1.0))
    images = as_pixels(data.train.images, data.scale, facts)
    return ModelFamily(model, facts, data.input_shape, images=images, sent=sent)
