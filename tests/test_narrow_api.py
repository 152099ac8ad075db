"""`narrow`: which channels stay, how many, what mending gives back; every criterion by its laws."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops

from ckrm_tf import CKRMError, cost, narrow, width_groups
from ckrm_tf.design.design import Design
from ckrm_tf.narrowing import SELECTORS, Narrower
from ckrm_tf.narrowing.latency import latency
from ckrm_tf.narrowing.mend import regression
from ckrm_tf.narrowing.plan import Channels
from ckrm_tf.narrowing.recalibrate import recalibrate
from ckrm_tf.narrowing.select import chosen, pivots, unlike_first

WIDTH = 12


def images(count: int = 64, seed: int = 0) -> np.ndarray:
    """Noise of different contrast, smooth enough for convolutions to see something."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(count, 4, 4, 3)).repeat(3, 1).repeat(3, 2)
    fine = rng.normal(size=(count, 12, 12, 3))
    return ((noise + 0.5 * fine) * rng.uniform(0.3, 2, (count, 1, 1, 1))).astype("float32")


def network(seed: int = 1, width: int = WIDTH) -> keras.Model:
    """Two convolutions with batch norm, a sum, and a head without activation."""
    keras.utils.set_random_seed(seed)
    image = keras.Input((12, 12, 3))
    x = layers.Conv2D(width, 3, padding="same", name="one")(image)
    x = layers.ReLU()(layers.BatchNormalization(name="one_bn")(x))
    y = layers.Conv2D(width, 3, padding="same", name="two")(x)
    y = layers.ReLU()(layers.BatchNormalization(name="two_bn")(y))
    y = layers.Conv2D(8, 3, name="three")(y)
    model = keras.Model(image, layers.Dense(4, name="head")(layers.Flatten()(y)))
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.gamma.assign(rng.uniform(0.5, 1.5, width))
            layer.beta.assign(rng.normal(0, 0.3, width))
            layer.moving_mean.assign(rng.normal(0, 0.3, width))
            layer.moving_variance.assign(rng.uniform(0.5, 1.5, width))
    return model


def outputs(model: keras.Model, x: np.ndarray) -> np.ndarray:
    return np.asarray(model(x, training=False))


def duplicate(model: keras.Model, names=("one", "one_bn")) -> keras.Model:
    """The second half of a layer's channels becomes twice the first half."""
    half = WIDTH // 2
    for name in names:
        layer = model.get_layer(name)
        weights = [w.copy() for w in layer.get_weights()]
        for weight in weights:
            weight[..., half:] = weight[..., :half]
        if name.endswith("_bn"):
            for weight in weights[:2]:
                weight[half:] *= 2
        layer.set_weights(weights)
    return model


# --- criteria: one table, every row through all laws


@pytest.fixture(scope="module")
def plain():
    return network(), images()


@pytest.mark.parametrize("name", SELECTORS)
def test_an_order_is_a_permutation_and_the_same_each_time(name, plain):
    model, x = plain
    first, second = (Narrower(model, images=x, seed=3).order(name) for _ in range(2))
    assert set(first) == {"one", "two", "three"}
    for group, order in first.items():
        assert sorted(order.tolist()) == list(range(width_groups(model)[group].width))
        assert np.array_equal(order, second[group])


@pytest.mark.parametrize("name", SELECTORS)
def test_the_order_follows_the_channels_when_they_are_permuted(name):
    model, x = network(), images()
    before = Narrower(model, images=x).order(name)["one"]
    place = np.random.default_rng(4).permutation(WIDTH)
    for layer in ("one", "one_bn"):
        found = model.get_layer(layer)
        found.set_weights([w[..., place] for w in found.get_weights()])
    two = model.get_layer("two")
    kernel, bias = two.get_weights()
    two.set_weights([kernel[:, :, place], bias])
    after = Narrower(model, images=x).order(name)["one"]
    if name == "random":
        assert np.array_equal(after, before)
    else:
        assert np.array_equal(place[after], before)


@pytest.mark.parametrize("name", [n for n in SELECTORS if n not in ("random", "norm", "taylor")])
def test_a_channel_that_repeats_another_goes_first(name):
    model, x = duplicate(network()), images()
    first = Narrower(model, images=x).order(name)["one"][: WIDTH // 2]
    if name == "fpgm":
        # The median of two heaps of unequal size: the larger copies are the farther ones.
        assert (first >= WIDTH // 2).all()
    else:
        assert len({int(u) % (WIDTH // 2) for u in first}) == WIDTH // 2


def test_norm_and_taylor_keep_what_counts():
    model, x = network(), images()
    bn, two = model.get_layer("one_bn"), model.get_layer("two")
    gamma, *others = bn.get_weights()
    gamma[[2, 5]] *= 1e-3
    bn.set_weights([gamma, *others])
    assert set(Narrower(model).order("norm")["one"][-2:].tolist()) == {2, 5}
    kernel, bias = two.get_weights()
    kernel[:, :, 7] = 0
    two.set_weights([kernel, bias])
    assert 7 in Narrower(model, images=x).order("taylor")["one"][-3:]


def test_criteria_that_need_images_say_so(plain):
    model, _ = plain
    for name in SELECTORS:
        if SELECTORS[name].images:
            with pytest.raises(CKRMError, match=f"select {name}: expected images"):
                narrow(model, 0.5, select=name)
    with pytest.raises(CKRMError, match="Did you mean 'pivot'"):
        narrow(model, 0.5, select="pivots")


def test_pivots_take_independent_directions_first():
    rng = np.random.default_rng(0)
    basis = rng.normal(size=(200, 3)) * [3, 2, 1]
    x = np.concatenate([basis, basis @ rng.normal(size=(3, 4)) * 0.5], axis=1)
    order, gained = pivots(x.T @ x)
    assert np.linalg.matrix_rank(x[:, order[:3]]) == 3
    assert gained[3:].max() < 1e-6 * gained[0]
    assert gained[2] > 1e-3 * gained[0]


def test_farthest_first_by_hand():
    likeness = np.array([[1, 0.9, 0.1], [0.9, 1, 0.2], [0.1, 0.2, 1]])
    assert unlike_first(likeness, np.array([1.0, 2.0, 0.5])).tolist() == [1, 2, 0]


# --- mending


def test_regression_is_that_of_least_squares():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(500, 6))
    keeps = np.array([True, True, False, True, False, True])
    wanted = np.linalg.lstsq(x[:, keeps], x[:, ~keeps], rcond=None)[0]
    assert regression(x.T @ x, keeps, 1e-12) == pytest.approx(wanted, abs=1e-8)
    assert np.abs(regression(x.T @ x, keeps, 10.0)).max() < np.abs(wanted).max()


@pytest.mark.parametrize("mend", [True, "once"])
@pytest.mark.parametrize("flat", [False, True])
def test_mending_gives_back_what_the_kept_channels_can_say(flat, mend):
    model, x = network(2), images()
    if flat:
        three = model.get_layer("three")
        kernel, bias = three.get_weights()
        kernel[..., 4:], bias[4:] = 2 * kernel[..., :4], 2 * bias[:4]
        three.set_weights([kernel, bias])
        keep = {"three": range(4)}
    else:
        duplicate(model)
        keep = {"one": range(WIDTH // 2)}
    wanted = outputs(model, x)
    mended = outputs(narrow(model, keep=keep, images=x, mend=mend, ridge=1e-9), x)
    plain = outputs(narrow(model, keep=keep, images=x, mend=False), x)
    size = np.abs(wanted).max()
    assert np.ptp(wanted, axis=0).max() > 0.1 * size
    assert np.abs(mended - wanted).max() < 1e-3 * size
    assert np.abs(plain - wanted).max() > 0.05 * size


def test_mending_helps_on_images_it_has_not_seen():
    model, x, new = network(3), images(), images(seed=9)
    wanted = outputs(model, new)
    before = model.get_weights()
    errors = {
        mend: np.mean((outputs(narrow(model, 0.5, images=x, mend=mend), new) - wanted) ** 2)
        for mend in (True, "once", False)
    }
    assert errors[True] < errors["once"] < 0.5 * errors[False]
    # The model itself is as it was.
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_mending_a_whole_network_changes_nothing():
    model, x = network(4), images()
    same = narrow(model, 1.0, images=x)
    assert outputs(same, x) == pytest.approx(outputs(model, x), abs=1e-4)


@pytest.mark.parametrize(
    "middle",
    [
        layers.Conv2D(12, 3, groups=3, padding="same"),
        layers.SeparableConv2D(10, 3, padding="same"),
        layers.Conv2DTranspose(10, 3, padding="same"),
        layers.Dense(10),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_every_kind_of_reader_is_mended(middle):
    keras.utils.set_random_seed(2)
    image = keras.Input((12, 12, 3))
    x = layers.Conv2D(12, 3, padding="same", activation="relu", name="first")(image)
    twin = type(middle).from_config(middle.get_config())
    model = keras.Model(
        image, layers.GlobalAveragePooling2D()(layers.Conv2D(4, 1, name="last")(twin(x)))
    )
    first = model.get_layer("first")
    kernel, bias = first.get_weights()
    # In every block of four, the last two repeat the first two.
    kernel = kernel.reshape(3, 3, 3, 3, 4)
    bias = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    kernel[..., 2:], bias[:, 2:] = kernel[..., :2], bias[:, :2]
    first.set_weights([kernel.reshape(3, 3, 3, 12), bias.reshape(12)])
    if isinstance(twin, layers.SeparableConv2D):
        # One filter for every channel: what repeats before it repeats behind it.
        twin.depthwise_kernel.assign(np.repeat(twin.depthwise_kernel[:, :, :1], 12, 2))
    group = width_groups(model)["first"]
    keep = [0, 1] if group.width == 4 else [0, 1, 4, 5, 8, 9]
    data = images()
    wanted = outputs(model, data)
    size = np.abs(wanted).max()
    kept = {"first": keep}
    assert (
        np.abs(outputs(narrow(model, keep=kept, images=data, ridge=1e-9), data) - wanted).max()
        < 1e-3 * size
    )
    assert np.abs(outputs(narrow(model, keep=kept), data) - wanted).max() > 0.05 * size


def test_mending_needs_images(plain):
    with pytest.raises(CKRMError, match="mend: expected images"):
        narrow(plain[0], 0.5, mend=True)


def test_statistics_anew_are_those_of_the_images():
    model, x = network(), images(32)
    recalibrate(model, x, batch=32)
    made = keras.Model(model.inputs[0], model.get_layer("one").output)
    wanted = outputs(made, x).mean(axis=(0, 1, 2))
    bn = model.get_layer("one_bn")
    assert np.asarray(bn.moving_mean) == pytest.approx(wanted, abs=1e-5)
    assert bn.momentum == 0.99
    other = network()
    assert np.abs(np.asarray(other.get_layer("one_bn").moving_mean) - wanted).max() > 0.05


# --- widths


@pytest.mark.parametrize("what", ["params", "macs"])
@pytest.mark.parametrize("allocate", ["uniform", "energy"])
def test_a_limit_is_kept_and_used(what, allocate, plain):
    model, x = network(width=40), plain[1]
    whole = getattr(cost(model), what)
    for share in (0.5, 0.2):
        small = narrow(model, {what: share}, images=x, allocate=allocate)
        assert 0.75 * share * whole < getattr(cost(small), what) <= share * whole
    number = whole // 3
    assert getattr(cost(narrow(model, {what: number})), what) <= number


def test_widths_by_group_and_design(plain):
    model, _ = plain
    for to in ({"one": 5}, Design({"one": 5})):
        small = narrow(model, to)
        assert [small.get_layer(n).filters for n in ("one", "two", "three")] == [5, 12, 8]


def test_parameters_are_those_that_cost_counts():
    model = network()
    model.get_layer("two").trainable = False
    before = cost(model)
    assert before.params == sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    assert before.params < before.total
    for share in (0.3, 0.7):
        small = narrow(model, {"params": share})
        assert 0.6 * share < cost(small).params / before.params <= share
    # The same number of parameters allows less where more of them are trainable.
    number = int(0.7 * before.params)
    frozen = narrow(model, {"params": number}).get_layer("one").filters
    model.get_layer("two").trainable = True
    assert narrow(model, {"params": number}).get_layer("one").filters < frozen


def test_floor_multiple_and_freeze():
    model = network(width=40)
    # A layer that is left alone keeps its whole kernel: what it reads stays too.
    small = narrow(model, 0.3, floor=15, freeze=["three"])
    assert [small.get_layer(n).filters for n in ("one", "two", "three")] == [15, 40, 8]
    assert narrow(model, 0.55, multiple=8).get_layer("one").filters == 24
    assert width_groups(model, freeze=["two"])["two"].reason == "frozen on request"
    with pytest.raises(CKRMError, match="unknown layer in freeze"):
        narrow(model, 0.5, freeze=["tow"])


def test_latency_is_measured():
    model = network(width=64)
    # Generous, since other work shares the machine.
    small = narrow(model, {"latency": 0.9})
    assert cost(small).params < cost(model).params
    assert latency(model, repeats=3) > 0
    with pytest.raises(CKRMError, match="what the narrowest takes"):
        narrow(network(width=2), {"latency": 1e-9})


@pytest.mark.parametrize(
    ("to", "match"),
    [
        ({"on": 3}, "Did you mean 'one'"),
        ({"one": 0}, "whole number from 1 to 12"),
        ({"one": 13}, "whole number from 1 to 12"),
        ({"one": 2.5}, "whole number from 1 to 12"),
        ({"head": 2}, "it is an output of the model"),
        ({"macs": 1.5}, "a share above 0"),
        ({"macs": 0.5, "one": 3}, "one constraint"),
        ({"macs": 1e-6}, "what the narrowest network costs"),
        (0, "a share above 0"),
        (1.2, "a share above 0"),
        ("half", "a share above 0"),
        (None, "a share above 0"),
    ],
)
def test_wrong_wishes_are_told_in_a_line(to, match, plain):
    with pytest.raises(CKRMError, match=match) as error:
        narrow(plain[0], to)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("keep", "match"),
    [
        ({"one": []}, "at least one"),
        ({"one": [0, 0]}, "different whole numbers"),
        ({"one": [12]}, "from 0 to 11"),
        ({"one": [0.5]}, "whole numbers"),
        ({"two_": [0]}, "Did you mean 'two'"),
        ({"head": [0]}, "a free group"),
    ],
)
def test_wrong_channels_are_told_in_a_line(keep, match, plain):
    with pytest.raises(CKRMError, match=match):
        narrow(plain[0], keep=keep)


def test_to_and_keep_exclude_each_other(plain):
    with pytest.raises(CKRMError, match="one of to and keep"):
        narrow(plain[0], 0.5, keep={"one": [0]})


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        (np.zeros((4, 10, 12, 3)), "of shape"),
        (np.zeros((0, 12, 12, 3)), "at least one"),
        ([np.zeros((4, 12, 12, 3))] * 2, "of shape"),
        (np.full((4, 12, 12, 3), np.nan), "finite numbers"),
    ],
)
def test_wrong_images_are_told_in_a_line(wrong, match, plain):
    with pytest.raises(CKRMError, match=match):
        narrow(plain[0], 0.5, images=wrong)


def test_no_tensor_is_left_without_a_channel():
    image = keras.Input((8, 8, 3))
    parts = ops.split(layers.Conv2D(12, 3, name="source")(image), 3, axis=-1)
    x = sum(layers.Conv2D(4, 1)(part) for part in parts)
    model = keras.Model(image, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    for width in (1, 2, 3, 4, 9):
        small = narrow(model, {"source": width}, select="random", seed=width)
        assert small.get_layer("source").filters == max(3, width)
    with pytest.raises(CKRMError, match="at least one channel of every tensor"):
        narrow(model, keep={"source": [0, 1, 2, 3]})


def test_quick_counts_are_the_counts():
    model = network()
    channels = Channels(model)
    counter = channels.counter(channels.params)
    rng = np.random.default_rng(2)
    for _ in range(20):
        widths = {n: int(rng.integers(1, g.width + 1)) for n, g in channels.groups.free.items()}
        keep = chosen(channels, Narrower(model).order("norm"), widths)
        assert counter(widths) == channels.costs(keep)[0]
