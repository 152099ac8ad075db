"""The CAM head and the GG-CAM loss against plain NumPy."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from ckrm_tf import CKRMError, Layout, Stage, Widths, resnet
from ckrm_tf.layers.cam import CAMHead, cam_model
from ckrm_tf.layers.ggcam_loss import GGCAMLoss

RNG = np.random.default_rng(11)
TINY = Widths(3, (Stage(1, 4, 6), Stage(1, 2, 5)))


def numpy_loss(
    maps: np.ndarray,
    logits: np.ndarray,
    labels: np.ndarray,
    gaze: np.ndarray,
    a: float,
    e: float,
    lk: float,
    shift: float,
    released: bool,
) -> float:
    entropies, distances = [], []
    for m, z, y, g in zip(maps, logits, labels, gaze, strict=True):
        entropies.append(-(z[y] - np.log(np.sum(np.exp(z)))))
        seen = m[:, :, 0] if released else 1 / (1 + np.exp(-(np.exp(lk) * m[:, :, y] + shift)))
        if g.max() > 0:
            distances.append(np.mean((seen - g) ** 2))
    entropy, distance = np.mean(entropies), np.mean(distances) if distances else 0.0
    s_c, s_d = np.exp(a), np.exp(e)
    return float(entropy / s_c**2 + np.log(1 + s_c) + distance / (2 * s_d**2) + np.log(1 + s_d))


def numeric_gradient(function: Any, at: np.ndarray, step: float = 1e-6) -> np.ndarray:
    gradient = np.zeros_like(at)
    for index in np.ndindex(at.shape):
        moved = [at.copy(), at.copy()]
        moved[0][index] += step
        moved[1][index] -= step
        gradient[index] = (function(moved[0]) - function(moved[1])) / (2 * step)
    return gradient


def batch(n: int = 3) -> dict[str, np.ndarray]:
    gaze = RNG.uniform(size=(n, 2, 3))
    gaze[1:2] = 0  # nobody looked at the second image
    return {
        "maps": RNG.normal(size=(n, 2, 3, 4)),
        "logits": RNG.normal(size=(n, 4)),
        "labels": np.array([2, 0, 3, 1, 1])[:n],
        "gaze": gaze,
    }


@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_loss_and_its_gradients(released: bool, n: int) -> None:
    # Exact in binary: Keras rounds initial values to float32 on their way to float64.
    start = {"a": 0.25, "e": -0.5, "lk": 0.125, "shift": 0.0625}
    data = batch(n)
    loss = GGCAMLoss(**start, released=released, dtype="float64")
    maps, logits = tf.constant(data["maps"]), tf.constant(data["logits"])
    with tf.GradientTape() as tape:
        tape.watch([maps, logits])
        value = loss(maps, logits, data["labels"], data["gaze"])
    scalars = {"a": loss.a, "e": loss.e, "lk": loss.lk}
    gradients = tape.gradient(value, [maps, logits, *(v.value for v in scalars.values())])
    options = {**start, "released": released}
    assert float(value) == pytest.approx(numpy_loss(**data, **options), rel=1e-9)
    for name, gradient in zip(["maps", "logits"], gradients, strict=False):
        expected = numeric_gradient(
            lambda v, name=name: numpy_loss(**{**data, name: v}, **options), data[name]
        )
        np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-8)
    for name, gradient in zip(scalars, gradients[2:], strict=True):
        expected = numeric_gradient(
            lambda v, name=name: numpy_loss(**data, **{**options, name: float(v)}),
            np.array(start[name]),
        )
        np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-8)
    assert (float(gradients[-1]) == 0) == released


def test_terms_are_what_the_scales_multiply() -> None:
    data = batch()
    loss = GGCAMLoss(0.0, 0.0, dtype="float64")
    entropy, distance = (float(t) for t in loss.terms(**data_tensors(data)))
    expected = numpy_loss(**data, a=0, e=0, lk=0, shift=0, released=False)
    assert entropy + distance / 2 + 2 * math.log(2) == pytest.approx(expected, rel=1e-9)


def data_tensors(data: dict[str, np.ndarray]) -> dict[str, Any]:
    return {name: tf.constant(value) for name, value in data.items()}


def test_the_papers_start_is_finite_and_learns_the_maps_first() -> None:
    data = {k: v.astype("float32") for k, v in batch().items()}
    loss = GGCAMLoss()
    assert [float(w) for w in loss.trainable_weights] == [7.0, -23.0, 0.0]
    with tf.GradientTape() as tape:
        value = loss(**data_tensors(data))
    gradients = tape.gradient(value, [w.value for w in loss.trainable_weights])
    assert np.isfinite([float(value), *map(float, gradients)]).all()
    _, distance = loss.terms(**data_tensors(data))
    assert float(value) == pytest.approx(0.5 * math.exp(46) * float(distance), rel=1e-4)
    assert float(gradients[1]) < 0  # descent raises e, so that the maps' share falls


def test_no_gaze_at_all_leaves_the_cross_entropy() -> None:
    data = batch()
    data["gaze"][:] = 0
    loss = GGCAMLoss(0.0, 0.0, dtype="float64")
    assert float(loss.terms(**data_tensors(data))[1]) == 0
    expected = numpy_loss(**data, a=0, e=0, lk=0, shift=0, released=False)
    assert float(loss(**data_tensors(data))) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("maps", (3, 2, 3, 5), "one map per logit"),
        ("maps", (3, 6, 4), "one map per logit"),
        ("gaze", (3, 3, 2), "gaze_to_grid"),
        ("gaze", (3, 2, 3, 1), "gaze maps"),
        ("labels", (3, 4), "class indices"),
    ],
)
def test_shapes_that_do_not_belong_together(name: str, shape: tuple, message: str) -> None:
    data = {**batch(), name: np.zeros(shape, "int64" if name == "labels" else "float64")}
    with pytest.raises(CKRMError, match=message):
        GGCAMLoss(dtype="float64")(**data_tensors(data))


@pytest.mark.parametrize(
    "bad", [{"a": float("nan")}, {"e": "x"}, {"lk": None}, {"shift": math.inf}]
)
def test_bad_start(bad: dict) -> None:
    with pytest.raises(CKRMError, match=f"GGCAMLoss {next(iter(bad))}"):
        GGCAMLoss(**bad)


def test_head_is_the_plain_one() -> None:
    head = CAMHead(3)
    features = RNG.normal(size=(2, 4, 5, 7)).astype("float32")
    logits, maps = (np.asarray(t) for t in head(features))
    kernel, bias = np.asarray(head.kernel), np.asarray(head.bias)
    expected = np.zeros((2, 4, 5, 3))
    for n, i, j, k in np.ndindex(expected.shape):
        expected[n, i, j, k] = np.mean(kernel[:, k] * features[n, i, j])
    np.testing.assert_allclose(maps, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(logits, expected.mean(axis=(1, 2)) + bias, rtol=1e-4, atol=1e-6)
    assert np.abs(np.concatenate([kernel.ravel(), bias])).max() <= 1 / math.sqrt(7)
    assert head.compute_output_shape((2, 4, 5, 7)) == (logits.shape, maps.shape)


@pytest.mark.parametrize("head", ["dense", "cam"])
@pytest.mark.parametrize("conv", ["plain", "slim"])
def test_maps_of_a_network_average_to_its_logits(head: Any, conv: Any) -> None:
    model = resnet(TINY, (32, 24, 1), 3, layout=Layout(conv=conv), head=head)
    assert model.output_names == ["logits"]
    assert model.count_params() == TINY.cost((32, 24, 1), 3, Layout(conv=conv)).total
    image = RNG.normal(size=(2, 32, 24, 1)).astype("float32")
    bias = np.asarray(model.get_layer("logits").bias)
    with_maps = cam_model(model)
    for _ in range(2):
        logits, maps = (np.asarray(t) for t in with_maps(image))
        assert maps.shape == (2, 4, 3, 3)
        np.testing.assert_allclose(logits, np.asarray(model(image)), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(logits, maps.mean(axis=(1, 2)) + bias, rtol=1e-4, atol=1e-5)
        # The weights are shared: what is assigned to one network is seen in the other.
        bias = np.array([5.0, -1.0, 2.0], "float32")
        model.get_layer("logits").bias.assign(bias)


def test_three_parameters_more() -> None:
    """128,065 as built, 23,534,470 by arithmetic: the published totals and a, e and lk."""
    image, label = keras.Input((224, 224, 1)), keras.Input((), dtype="int32")
    gaze = keras.Input((7, 7))
    widths = Widths.from_rule(16, 0.75)
    logits, maps = cam_model(resnet(widths, head="cam"))(image)
    training = keras.Model([image, label, gaze], GGCAMLoss()(maps, logits, label, gaze))
    assert sum(math.prod(w.shape) for w in training.trainable_weights) == 128_065
    extra = sum(math.prod(w.shape) for w in GGCAMLoss().trainable_weights)
    assert Widths.from_rule(64, 2).params() + extra == 23_534_470


# TensorFlow's variables do not know NumPy 2's copy keyword yet; saving copies them.
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")
@pytest.mark.parametrize("head", ["dense", "cam"])
def test_saved_and_loaded(tmp_path: Path, head: Any) -> None:
    image = RNG.normal(size=(2, 16, 16, 1)).astype("float32")
    model = resnet(TINY, (16, 16, 1), head=head)
    for name, net in (("plain", model), ("maps", cam_model(model))):
        net.save(tmp_path / f"{name}.keras")
        loaded = keras.models.load_model(tmp_path / f"{name}.keras")
        for before, after in zip(
            tf.nest.flatten(net(image)), tf.nest.flatten(loaded(image)), strict=True
        ):
            np.testing.assert_array_equal(np.asarray(before), np.asarray(after))
    loss = GGCAMLoss(1.0, -2.0, 0.5, shift=0.25, released=True)
    assert GGCAMLoss.from_config(loss.get_config()).get_config() == loss.get_config()


def test_bad_heads() -> None:
    with pytest.raises(CKRMError, match="Did you mean 'cam'"):
        resnet(TINY, (16, 16, 1), head="cams")  # type: ignore[arg-type]
    with pytest.raises(CKRMError, match="CAMHead classes"):
        CAMHead(0)
    with pytest.raises(CKRMError, match="CAMHead input"):
        CAMHead(3).build((None, 8))
    softmax = keras.Sequential([keras.Input((4, 4, 2)), keras.layers.Flatten()])
    with pytest.raises(CKRMError, match="a model ending in CAMHead"):
        cam_model(softmax)
