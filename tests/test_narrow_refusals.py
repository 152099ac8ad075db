"""What cannot be narrowed is refused in one line; what is not known is frozen and named."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest
from keras import layers

from ckrm_tf import CKRMError, cost, narrow, width_groups


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="own")
        self.inner = layers.Dense(4)

    def call(self, x):
        return self.inner(x)


class Forgetful(layers.Layer):
    """Its config leaves out what its constructor needs."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def call(self, x):
        return x * self.units

    def get_config(self):
        return {"name": self.name}


def subclassed():
    model = Subclassed()
    model(np.zeros((1, 4), "float32"))
    return model


def functional(*between):
    inputs = keras.Input((4,))
    x = inputs
    for layer in between:
        x = layer(x)
    return keras.Model(inputs, layers.Dense(3, name="last")(x), name="net")


def refused(call):
    with pytest.raises(CKRMError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (subclassed, "model own: .* subclassed model of class Subclassed. .* functional model"),
        (lambda: keras.Sequential([layers.Dense(3)], name="net"), "model net: .* keras.Input"),
        (functional, "model net: expected at least one width that is free"),
        (lambda: "model.keras", "model: expected a Functional or Sequential .* received str"),
        (
            lambda: keras.Function((x := keras.Input((4,))), layers.Dense(3)(x)),
            "model: expected a Functional or Sequential .* received Function",
        ),
        (
            lambda: functional(layers.Dense(6), Forgetful(2, name="odd"), layers.Dense(5)),
            "layer odd: expected Forgetful.from_config",
        ),
    ],
)
def test_a_model_that_cannot_be_narrowed_is_refused(model, said):
    made = model()
    message = refused(lambda: narrow(made, 0.5))
    assert re.search(said, message), message


def test_cost_refuses_the_same_models():
    assert "subclassed" in refused(lambda: cost(subclassed()))
    assert "keras.Input" in refused(lambda: cost(keras.Sequential([layers.Dense(3)])))


def test_unknown_layers_to_freeze_are_named():
    model = functional(layers.Dense(8, name="first"))
    message = refused(lambda: narrow(model, 0.5, freeze=["frist"]))
    assert "layer in freeze" in message
    assert "Did you mean 'first'" in message
    assert "free" in refused(lambda: narrow(model, 0.5, freeze=["first"]))


def test_layers_to_freeze_stay_as_wide_as_they_are():
    model = functional(layers.Dense(8, name="first"), layers.Dense(6, name="second"))
    small = narrow(model, 0.5, freeze=["first"])
    assert [small.get_layer(n).units for n in ("first", "second")] == [8, 3]
    assert [narrow(model, 0.5).get_layer(n).units for n in ("first", "second")] == [4, 3]


def test_lora_freezes_its_layer_and_is_carried_over():
    model = functional(layers.Dense(8, name="first"), layers.Dense(6, name="second"))
    layer = model.get_layer("first")
    layer.enable_lora(2)
    layer.lora_kernel_b.assign(np.ones((2, 8)))
    groups = width_groups(model)
    assert "LoRA" in groups.frozen["first"]
    assert list(groups.free) == ["second"]
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    assert np.array_equal(narrow(model, 1.0)(x), model(x))
    assert narrow(model, 0.5).get_layer("second").units == 3


def test_quantised_layers_are_frozen_and_carried_over():
    model = functional(layers.Dense(8, name="first"), layers.Dense(6, name="second"))
    model.get_layer("first").quantize("int8")
    groups = width_groups(model)
    assert "quantised" in groups.frozen["first"]
    assert list(groups.free) == ["second"]
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    assert np.array_equal(narrow(model, 1.0)(x), model(x))
    assert narrow(model, 0.5).get_layer("second").units == 3


def test_a_layer_without_a_rule_is_named_with_its_reason():
    model = functional(layers.Dense(8), layers.Lambda(lambda x: x[:, ::-1], name="turn"))
    groups = width_groups(model)
    assert not groups.free
    assert "Lambda turn has no rule" in groups.frozen["turn"]
    assert "Lambda turn has no rule" in refused(lambda: narrow(model, 0.5))


class Unregistered(keras.regularizers.Regularizer):
    def __call__(self, x):
        return keras.ops.sum(x**2)

    def get_config(self):
        return {}


def swish_like(x):
    return x * keras.ops.sigmoid(1.5 * x)


def test_functions_and_classes_that_keras_does_not_know_are_carried_over():
    model = functional(
        layers.Dense(8, name="first", kernel_regularizer=Unregistered()),
        layers.Dense(6, name="second", activation=swish_like),
        layers.Activation(swish_like, name="third"),
    )
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    assert np.array_equal(narrow(model, 1.0)(x), model(x))
    small = narrow(model, 0.5)
    assert small.get_layer("first").units == 4
    assert isinstance(small.get_layer("first").kernel_regularizer, Unregistered)
    assert len(small.losses) == 1
    # What an unknown function does to channels is not guessed.
    assert small.get_layer("second").units == 6
    assert small.get_layer("third").activation is swish_like
    assert "swish_like" in width_groups(model)["second"].reason
