"""A small classifier with a layer of its own, as somebody might bring it."""

from __future__ import annotations

import keras
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


def given_family(folder, data: Dataset) -> ModelFamily:
    """The family of its slices; no file is left from which it could be read again."""
    path, own = folder / "given.keras", folder / "own.py"
    own.write_text(OWN)
    keras.utils.set_random_seed(1)
    image = keras.Input(data.input_shape)
    x = load_layers(str(own))["Centred"]()(image)
    for number, filters in enumerate((6, 5), start=1):
        x = layers.Conv2D(filters, 3, strides=2, padding="same", name=f"conv{number}")(x)
        x = layers.ReLU(name=f"relu{number}")(x)
    x = layers.GlobalAveragePooling2D()(x)
    keras.Model(image, layers.Dense(data.classes, activation="softmax")(x), name="given").save(path)
    model = load_model(path, custom=str(own))
    sent = SentModel.of(path, str(own))
    path.unlink()
    own.unlink()
    facts = read_facts(model, pixels=(0.0, 1.0))
    images = as_pixels(data.train.images, data.scale, facts)
    return ModelFamily(model, facts, data.input_shape, images=images, sent=sent)
