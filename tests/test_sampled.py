"""Strided 1x1 convolutions are trained on a sampled map: the same function and gradients."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops
from processes import python

from ckrm_tf.train.sampled import HOOK, sampled_strides

tf = pytest.importorskip("tensorflow")


@keras.saving.register_keras_serializable("tests")
class OwnConv(layers.Conv2D):
    def convolution_op(self, inputs, kernel):
        return 2 * super().convolution_op(inputs, kernel)


STRIDED = {
    "same": (layers.Conv2D(5, 1, 2, padding="same"), (7, 8, 4)),
    "valid": (layers.Conv2D(5, 1, 2), (7, 8, 4)),
    "one axis": (layers.Conv2D(5, 1, (1, 2)), (7, 8, 4)),
    "three": (layers.Conv2D(5, 1, 3, padding="same"), (8, 7, 4)),
    "grouped": (layers.Conv2D(6, 1, 2, groups=2), (7, 8, 4)),
    "no bias": (layers.Conv2D(5, 1, 2, use_bias=False), (7, 8, 4)),
    "1d": (layers.Conv1D(5, 1, 2, padding="same"), (9, 4)),
    "causal": (layers.Conv1D(5, 1, 2, padding="causal"), (9, 4)),
    "3d": (layers.Conv3D(5, 1, 2), (5, 6, 7, 4)),
    "3d, channels first": (layers.Conv3D(5, 1, 2, data_format="channels_first"), (4, 5, 6, 7)),
    "3d, half": (layers.Conv3D(5, 1, 2, dtype="mixed_float16"), (5, 6, 7, 4)),
}
OTHERS = {
    "no stride": (layers.Conv2D(5, 1), (7, 8, 4)),
    "wider": (layers.Conv2D(5, 3, 2), (7, 8, 4)),
    "depthwise": (layers.DepthwiseConv2D(1, 2), (7, 8, 4)),
    "transposed": (layers.Conv2DTranspose(5, 1, 2), (7, 8, 4)),
    "of a user": (OwnConv(5, 1, 2), (7, 8, 4)),
}


def answers(model, images):
    """What a model gives, and the gradient of the sum of its squares."""
    with tf.GradientTape() as tape:
        found = model(images)
        loss = ops.sum(found**2)
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    return [np.asarray(array) for array in (found, *gradients)]


def model_of(layer, shape):
    # Inside another model: layers are found at any depth.
    inside = keras.Sequential([keras.Input(shape), layer])
    image = keras.Input(shape)
    return keras.Model(image, inside(image))


@pytest.mark.parametrize(("layer", "shape"), STRIDED.values(), ids=STRIDED)
def test_the_function_and_its_gradients_stay(layer, shape):
    model = model_of(layer, shape)
    images = np.random.default_rng(0).normal(size=(3, *shape)).astype("float32")
    before = answers(model, images)
    with sampled_strides(model):
        assert HOOK in vars(layer)
        within = answers(model, images)
    assert HOOK not in vars(layer)
    for one, other in zip(before, within, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    # The kernel's gradient is that of the definition, where the layer is the simplest.
    simple = layer.compute_dtype == "float32" and layer.data_format == "channels_last"
    if layer.groups == 1 and simple:
        read = images[:, *(slice(None, None, step) for step in layer.strides)]
        read, out = (array.reshape(-1, array.shape[-1]) for array in (read, within[0]))
        kernel = within[1].reshape(read.shape[1], -1)
        np.testing.assert_allclose(kernel, 2 * read.T @ out, rtol=1e-4, atol=1e-3)
        assert np.abs(kernel).max() > 1


@pytest.mark.parametrize(("layer", "shape"), OTHERS.values(), ids=OTHERS)
def test_other_layers_are_left_alone(layer, shape):
    model = model_of(layer, shape)
    with sampled_strides(model):
        assert HOOK not in vars(layer)


def test_layers_are_as_before_after_an_error_too():
    layer, shape = STRIDED["same"]
    with pytest.raises(ZeroDivisionError), sampled_strides(model_of(layer, shape)):
        _ = 1 / 0
    assert HOOK not in vars(layer)


TRAINED = """
import sys
import tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(1)
import contextlib, hashlib, keras, numpy as np
from keras import layers
from ckrm_tf.data.dataset import Dataset, Split
from ckrm_tf.train import trainer
from ckrm_tf.train.recipe import Recipe

if sys.argv[1] == "plain":
    trainer.sampled_strides = contextlib.nullcontext

def build():
    image = keras.Input((24, 24, 4), name="image")
    x = layers.Conv2D(64, 1, 2, name="strided")(image)
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(x))
    return keras.Model(image, layers.Dense(2, name="logits")(x))

random = np.random.default_rng(0)
split = Split(random.integers(0, 256, (64, 24, 24, 4)).astype("uint8"), np.arange(64) % 2)
data = Dataset("noise", ("a", "b"), split, split, split)
made = trainer.Trainer(build, data, Recipe(epochs=60, batch_size=32))
for _ in range(2):
    made.train(1)
    print(hashlib.sha256(made.model.get_layer("strided").kernel.numpy().tobytes()).hexdigest())
"""


def trained(how: str) -> tuple[int, set[str], str]:
    """The exit status of a process that trains twice on one thread, and its different weights."""
    done = python(TRAINED, how, TF_ENABLE_ONEDNN_OPTS="1")
    return done.returncode, set(done.stdout.split()), done.stderr


def test_trainings_of_few_channels_end_and_repeat_with_onednn():
    status, weights, error = trained("sampled")
    assert (status, len(weights)) == (0, 1), error
    status, weights, _ = trained("plain")
    if (status, len(weights)) == (0, 1):
        pytest.skip("TensorFlow has no such fault on this processor")
