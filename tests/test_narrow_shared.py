"""Shared layers are mended on what all their calls read."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from ckrm_tf import narrow
from ckrm_tf.narrowing.layerwise import Layerwise
from ckrm_tf.narrowing.mend import RIDGE
from ckrm_tf.narrowing.plan import Channels
from ckrm_tf.narrowing.schedule import Schedule

RNG = np.random.default_rng(5)
KEEP = {"first": np.array([0, 2, 3]), "second": np.array([1, 4])}


def pictures(gain: float) -> np.ndarray:
    return (gain * RNG.normal(size=(12, 6, 6, 2))).astype("float32")


def tower() -> keras.Model:
    image = keras.Input((6, 6, 2))
    x = layers.Conv2D(6, 3, name="first")(image)
    x = layers.ReLU()(layers.BatchNormalization(name="norm")(x))
    x = layers.Conv2D(5, 3, name="second")(x)
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(x))
    return keras.Model(image, layers.Dense(3, name="head")(x), name="tower")


def weights(model: keras.Model) -> list[np.ndarray]:
    return [np.asarray(w) for w in model.get_weights()]


def test_a_tower_called_twice_is_mended_as_on_all_its_images() -> None:
    one, (a, b) = tower(), (pictures(1), pictures(3))
    inputs = [keras.Input((6, 6, 2)) for _ in range(2)]
    twice = keras.Model(inputs, layers.Subtract()([one(x) for x in inputs]))
    keep = {f"tower/{name}": kept for name, kept in KEEP.items()}
    found = narrow(twice, keep=keep, images=[a, b])
    wanted = narrow(one, keep=KEEP, images=np.concatenate([a, b]))
    for first, second in zip(weights(found), weights(wanted), strict=True):
        np.testing.assert_allclose(first, second, atol=2e-5)
    # The images of the first call alone say something else, to kernels, biases and means.
    alone = narrow(one, keep=KEEP, images=a)
    apart = [np.abs(x - y).max() for x, y in zip(weights(found), weights(alone), strict=True)]
    names = ["/".join(w.path.split("/")[-2:]) for w in one.weights]
    moved = {name for name, gap in zip(names, apart, strict=True) if gap > 1e-3}
    assert {"second/kernel", "second/bias", "head/kernel", "head/bias"} <= moved


def feeding_itself() -> keras.Model:
    places = keras.Input((4, 3))
    made = layers.Dense(5, use_bias=False, name="made")(places)
    shared = layers.Dense(5, name="shared")
    x = shared(shared(made))
    return keras.Model(places, layers.Dense(2, name="head")(layers.Flatten()(x)))


def test_a_layer_that_feeds_itself_is_fitted_on_all_its_calls() -> None:
    model, images = feeding_itself(), RNG.normal(size=(40, 4, 3)).astype("float32")
    bias = model.get_layer("shared").bias
    bias.assign(RNG.normal(size=5))
    channels = Channels(model)
    (group,) = [g.name for g in channels.groups.free.values()]
    kept = np.array([0, 2, 4])
    found = Layerwise(channels, channels.alive({group: kept})).mend(images)
    made, shared = model.get_layer("made"), model.get_layer("shared")
    W, b = (np.asarray(w, np.float64) for w in shared.get_weights())

    def fit(now: np.ndarray, before: np.ndarray) -> np.ndarray:
        gram, cross = now.T @ now, now.T @ before
        level = RIDGE * np.mean(np.diag(gram)) * np.eye(len(kept))
        return np.linalg.solve(gram + level, cross @ W + level @ W[kept])

    x1 = images.reshape(-1, 3).astype(np.float64) @ np.asarray(made.kernel, np.float64)
    x2 = x1 @ W + b
    now1 = x1[:, kept]
    V = fit(now1, x1)
    # The bias of the first pass is put right on the first call.
    now2 = (now1 @ V + b + (x2 - now1 @ V - b).mean(0))[:, kept]
    wanted = fit(np.vstack([now1, now2]), np.vstack([x1, x2]))
    np.testing.assert_allclose(found[id(shared.kernel)][kept][:, kept], wanted[:, kept], atol=1e-4)
    assert np.abs(wanted - V)[:, kept].max() > 1e-2
    # Over both calls the means of what comes out are those of the model as it is.
    off1 = (x1 @ W + b - now1 @ wanted - b)[:, kept]
    before = b[kept] + off1.mean(0)
    off2 = (x2 @ W + b)[:, kept] - (now1 @ wanted[:, kept] + before) @ wanted[:, kept] - b[kept]
    bias_wanted = b[kept] + (off1.mean(0) + off2.mean(0)) / 2
    np.testing.assert_allclose(found[id(bias)][kept], bias_wanted, atol=1e-4)
    assert np.abs(bias_wanted - before).max() > 1e-3


@pytest.mark.parametrize("build", [tower, feeding_itself])
def test_everything_kept_changes_nothing(build: Any) -> None:
    model = build()
    images = RNG.normal(size=(8, *model.input_shape[1:])).astype("float32")
    whole = narrow(model, 1.0, images=images)
    np.testing.assert_allclose(whole(images), model(images), atol=1e-5)


def test_calls_come_together_where_they_can() -> None:
    def sizes(model: keras.Model, name: str) -> list[int]:
        groups = Schedule.of(model).groups
        return [len(g) for g in groups if g[0].step.operation.name == name]

    one = tower()
    inputs = [keras.Input((6, 6, 2)) for _ in range(3)]
    assert sizes(keras.Model(inputs, layers.Add()([one(x) for x in inputs])), "second") == [3]
    itself = feeding_itself()
    assert sizes(itself, "shared") == [1, 1]
    assert Schedule.of(itself).returning == {id(itself.get_layer("shared"))}
