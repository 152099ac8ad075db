"""CKRMCallback in real trainings: logs, TensorBoard files read back, copies, bad arguments."""

from __future__ import annotations

import copy

import keras
import numpy as np
import pytest
from keras import layers

from ckrm_tf.errors import CKRMError
from ckrm_tf.measures.callback import CKRMCallback
from ckrm_tf.measures.redundancy import ckrm
from ckrm_tf.measures.similarity import energy_epsilon
from ckrm_tf.measures.table import measure
from ckrm_tf.train.trainer import TrainingNetwork

X = np.random.default_rng(0).normal(size=(8, 8, 8, 1)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, 2, 8)


def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 1))
    x = layers.Conv2D(8, 3, name="first")(image)
    x = layers.Conv2D(4, 1, name="point")(x)
    x = layers.Conv2D(4, 3, name="second")(x)
    return keras.Model(image, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))


def fit(model: keras.Model, *callbacks: keras.callbacks.Callback, epochs: int = 1) -> dict:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(
        keras.optimizers.SGD(0.5), loss, run_eagerly=keras.backend.backend() == "tensorflow"
    )
    return model.fit(X, Y, epochs=epochs, verbose=0, callbacks=list(callbacks)).history


class Spy(keras.callbacks.Callback):
    """Notes lambda by hand at the end of every epoch, and what the logs say."""

    def on_train_begin(self, logs=None):
        self.by_hand, self.logged = [], []

    def on_epoch_end(self, epoch, logs=None):
        kernel = self.model.get_layer("first").kernel.numpy()
        self.by_hand.append(ckrm(kernel, 0.4, energy_epsilon(kernel)))
        self.logged.append(dict(logs))


def test_lambda_of_every_epoch_in_history_and_in_later_callbacks():
    spy = Spy()
    history = fit(network(), CKRMCallback(threshold=0.4), spy, epochs=3)
    assert history["lambda/first"] == spy.by_hand
    assert [logs["ckrm"] for logs in spy.logged] == history["ckrm"]
    assert set(history) == {"loss", "ckrm", "lambda/first", "lambda/second"}
    mean = (np.array(history["lambda/first"]) + history["lambda/second"]) / 2
    np.testing.assert_allclose(history["ckrm"], mean)


def test_values_agree_with_the_table():
    model = network()
    history = fit(model, CKRMCallback(threshold=0.4, epsilon=1e-3, pointwise=True))
    table = measure(model, threshold=0.4, epsilon=1e-3, pointwise=True).set_index("name")["lambda"]
    assert {k.removeprefix("lambda/"): v[-1] for k, v in history.items() if "/" in k} == dict(table)


def test_between_measurements_the_last_value_stands():
    spy = Spy()
    history = fit(network(), CKRMCallback(3, threshold=0.4), spy, epochs=5)
    expected = [spy.by_hand[i] for i in (0, 0, 0, 3, 4)]  # the last epoch is measured too
    assert history["lambda/first"] == expected


def test_chosen_layers_only():
    history = fit(network(), CKRMCallback(layers=["second"]))
    assert set(history) == {"loss", "ckrm", "lambda/second"}


def test_early_stopping_can_monitor_it():
    model = network()
    stop = keras.callbacks.EarlyStopping("ckrm", mode="min", patience=0)
    history = fit(model, CKRMCallback(threshold=0.0), stop, epochs=9)
    assert history["ckrm"] == [1.0, 1.0]


def test_the_search_s_training_network():
    inner = network()
    model = TrainingNetwork(inner.inputs, inner.outputs[0])
    model.compile(keras.optimizers.Adam())
    history = model.fit(X, Y, verbose=0, callbacks=[CKRMCallback()]).history
    assert {"ckrm", "lambda/first", "lambda/second"} <= set(history)


def test_tensorboard_reads_scalars_and_histograms_back(tmp_path):
    pytest.importorskip("tensorflow")
    from tensorboard.backend.event_processing.event_accumulator import (  # noqa: PLC0415
        EventAccumulator,
    )
    from tensorboard.util.tensor_util import make_ndarray  # noqa: PLC0415

    callback = CKRMCallback(2, threshold=0.4, log_dir=tmp_path / "logs")
    clone = copy.deepcopy(callback)  # as KerasTuner does before every trial
    model = network()
    history = fit(model, clone, epochs=4)
    assert callback._writer is None
    assert clone._writer is None
    events = EventAccumulator(str(tmp_path / "logs"), size_guidance={"tensors": 0})
    events.Reload()
    tags = set(events.Tags()["tensors"])
    assert tags == {
        "ckrm", "lambda/first", "lambda/second", "omega/first", "omega/second"
    }  # fmt: skip
    scalars = events.Tensors("lambda/first")
    assert [event.step for event in scalars] == [0, 2, 3]
    values = [float(make_ndarray(event.tensor_proto)) for event in scalars]
    np.testing.assert_allclose(values, np.array(history["lambda/first"])[[0, 2, 3]], rtol=1e-6)
    histogram = make_ndarray(events.Tensors("omega/first")[-1].tensor_proto)
    assert histogram[:, 2].sum() == 8 * 7 / 2  # every pair is in one bin
    found = measure(model, threshold=0.4).set_index("name").loc["first"]
    assert histogram[-1, 1] == pytest.approx(found["max"], abs=1e-5)


def test_a_second_training_starts_afresh():
    callback = CKRMCallback()
    fit(network(), callback)
    with_one = layers.Conv2D(3, 3, name="other")
    model = keras.Sequential([keras.Input((8, 8, 1)), with_one, layers.GlobalMaxPool2D()])
    assert set(fit(model, callback)) == {"loss", "ckrm", "lambda/other"}


@pytest.mark.parametrize(
    "arguments",
    [
        {"every": 0},
        {"every": 1.5},
        {"threshold": 2},
        {"epsilon": -1.0},
        {"layers": "first"},
        {"pairs": 0},
    ],
)
def test_impossible_arguments(arguments):
    with pytest.raises(CKRMError, match=next(iter(arguments))):
        CKRMCallback(**arguments)


def test_layers_that_cannot_be_measured_are_refused_before_training():
    with pytest.raises(CKRMError, match="Did you mean 'first'"):
        fit(network(), CKRMCallback(layers=["fist"]))
    with pytest.raises(CKRMError, match="1x1"):
        fit(network(), CKRMCallback(layers=["point"]))
    dense = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(2)])
    with pytest.raises(CKRMError, match="convolution"):
        fit(dense, CKRMCallback())
