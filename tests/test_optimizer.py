from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from ckrm_tf.train.optimizer import FusedAdam

X = np.random.default_rng(1).normal(size=(24, 6, 6, 1)).astype(np.float32)
Y = (X.mean(axis=(1, 2, 3)) > 0).astype(np.int64)


def network() -> keras.Model:
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            # No bias: before batch norm its gradient is rounding noise, which Adam would blow up.
            layers.Conv2D(3, 3, use_bias=False, kernel_regularizer=keras.regularizers.L1(1e-3)),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2),
        ]
    )


def trained(optimizer: keras.optimizers.Optimizer, epochs: int = 5) -> keras.Model:
    model = network()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss=loss)
    model.fit(X, Y, batch_size=8, epochs=epochs, shuffle=False, verbose=0)
    return model


def schedule() -> keras.optimizers.schedules.LearningRateSchedule:
    return keras.optimizers.schedules.CosineDecay(0.02, 15)


@pytest.mark.parametrize(
    "make",
    [
        lambda adam: adam(0.01),
        lambda adam: adam(schedule(), beta_1=0.8, beta_2=0.99, epsilon=1e-4),
        lambda adam: adam(0.01, clipnorm=0.1, weight_decay=0.01),
        lambda adam: adam(0.01, amsgrad=True),
        lambda adam: adam(0.01, use_ema=True, ema_momentum=0.9),
    ],
)
def test_fifteen_steps_are_those_of_keras(make):
    ours, theirs = trained(make(FusedAdam)), trained(make(keras.optimizers.Adam))
    start = network()
    for a, b, before in zip(ours.weights, theirs.weights, start.weights, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=0, atol=2e-6)
        assert np.abs(b.numpy() - before.numpy()).max() > 1e-3
    pairs = zip(ours.optimizer.variables, theirs.optimizer.variables, strict=True)
    for a, b in pairs:
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=2e-6)


# Keras saves through `np.array(variable)`, which TensorFlow's __array__ does not fit yet.
@pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)
def test_a_saved_model_goes_on_training_where_it_stopped(tmp_path):
    model = trained(FusedAdam(schedule()), epochs=2)
    path = tmp_path / "model.keras"
    model.save(path)
    again = keras.models.load_model(path)
    assert type(again.optimizer) is FusedAdam
    assert int(again.optimizer.iterations) == 6
    assert isinstance(
        again.optimizer._learning_rate, keras.optimizers.schedules.LearningRateSchedule
    )
    for net in (model, again):
        net.fit(X, Y, batch_size=8, epochs=3, shuffle=False, verbose=0)
    for a, b in zip(model.weights, again.weights, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=0, atol=1e-6)
