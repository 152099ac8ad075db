"""The measure on responses: against plain NumPy, under changes that no function sees, its null."""

from __future__ import annotations

import copy
from collections.abc import Callable

import keras
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from ckrm_tf.criteria.response import response_signals, sites_of_axes
from ckrm_tf.errors import CKRMError
from ckrm_tf.families.layout import Layout
from ckrm_tf.families.resnet import ResNetFamily
from ckrm_tf.families.resnet_model import BN_EPSILON, resnet
from ckrm_tf.families.widths import Stage, Widths
from ckrm_tf.measures import responses_compiled, responses_sums
from ckrm_tf.measures.callback import CKRMCallback
from ckrm_tf.measures.responses import (
    RESPONSE_COLUMNS,
    ResponseMeasure,
    null_spread,
    response_measure,
)
from ckrm_tf.measures.responses_compiled import CompiledNetwork
from ckrm_tf.measures.table import measure
from ckrm_tf.train.batches import scaled
from ckrm_tf.train.recipe import Recipe
from ckrm_tf.train.trainer import Trainer
from search.cli import main
from search.measure import report

WIDTHS = Widths(8, (Stage(1, 8, 16), Stage(2, 8, 12)))
FAMILY = ResNetFamily(WIDTHS, (16, 16, 1))
# Every convolution that a batch norm follows, and what reads the channels of those before a 3x3.
BLOCKS = ("stage1_block1", "stage2_block1", "stage2_block2")


@pytest.fixture(scope="module")
def images(tiny_data):
    return scaled(tiny_data.train.images, tiny_data.scale)


@pytest.fixture(scope="module")
def made(tiny_data, images):
    """A trained network under the measure."""
    trainer = Trainer(lambda: FAMILY.build(FAMILY.start), tiny_data, Recipe(epochs=6, batch_size=8))
    trainer.train(1)
    return ResponseMeasure(trainer.model, images, 0.5)


@pytest.fixture(scope="module")
def wanted(made):
    return made.measured()


class Weights:
    """The weights of a network by path, to be changed by hand."""

    def __init__(self, model: keras.Model) -> None:
        self.paths = [variable.path for variable in model.weights]
        self.values = dict(zip(self.paths, model.get_weights(), strict=True))

    def scale(self, layer: str, factors: np.ndarray, *, gamma: bool) -> None:
        """Scale a convolution's filters; gamma or the statistics of its batch norm make up."""
        values, norm = self.values, f"{layer}_bn"
        values[f"{layer}/kernel"] = values[f"{layer}/kernel"] * factors
        values[f"{layer}/bias"] = values[f"{layer}/bias"] * factors
        values[f"{norm}/moving_mean"] = values[f"{norm}/moving_mean"] * factors
        if gamma:
            values[f"{norm}/gamma"] = values[f"{norm}/gamma"] / factors
        else:
            variance = values[f"{norm}/moving_variance"] + BN_EPSILON
            values[f"{norm}/moving_variance"] = variance * factors**2 - BN_EPSILON

    def permute(self, layer: str, order: np.ndarray, reader: str | None) -> None:
        """Renumber a convolution's filters and the channels of the one kernel that reads them."""
        for name in ("kernel", "bias"):
            self.values[f"{layer}/{name}"] = self.values[f"{layer}/{name}"][..., order]
        for name in ("gamma", "beta", "moving_mean", "moving_variance"):
            path = f"{layer}_bn/{name}"
            self.values[path] = self.values[path][order]
        if reader is not None:
            path = f"{reader}/kernel"
            self.values[path] = self.values[path][:, :, order]

    def list(self) -> list[np.ndarray]:
        return [self.values[path].astype(np.float32) for path in self.paths]


CONVOLUTIONS = ("stem_conv", *(f"{b}_conv{i}" for b in BLOCKS for i in (1, 2, 3)))


def differs(found: dict, wanted: dict) -> float:
    return max(
        abs(getattr(found[name], part) - getattr(wanted[name], part))
        for name in wanted
        for part in ("lam", "needed", "directions")
    )


def changed(made: ResponseMeasure, change: Callable[[Weights], None]) -> dict:
    weights = Weights(made.model)
    change(weights)
    return made.measured(weights.list())


def outputs(made: ResponseMeasure, weights: list[np.ndarray]) -> np.ndarray:
    before = made.model.get_weights()
    made.model.set_weights(weights)
    found = np.asarray(made.model(made.arrays[0], training=False))
    made.model.set_weights(before)
    return found


def test_the_trained_network_leaves_something_to_compare(made, wanted):
    lams = [response.lam for response in wanted.values()]
    assert len({round(lam, 3) for lam in lams}) > 5
    assert max(lams) > 0.05
    assert any(response.needed < response.channels for response in wanted.values())
    assert any(response.directions < response.channels - 1 for response in wanted.values())


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_scales_of_layers_with_their_statistics(made, wanted, seed):
    factors = 2.0 ** np.random.default_rng(seed).uniform(-5, 5, len(CONVOLUTIONS))

    def change(weights: Weights) -> None:
        for layer, factor in zip(CONVOLUTIONS, factors, strict=True):
            weights.scale(layer, np.array(factor), gamma=False)

    assert differs(changed(made, change), wanted) < 1e-3


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_scales_and_signs_of_filters_that_gamma_takes_up(made, wanted, seed):
    rng = np.random.default_rng(seed)

    def change(weights: Weights) -> None:
        for layer in CONVOLUTIONS:
            size = weights.values[f"{layer}/bias"].shape
            factors = 2.0 ** rng.uniform(-2, 2, size) * rng.choice([-1.0, 1.0], size)
            weights.scale(layer, factors, gamma=True)

    assert differs(changed(made, change), wanted) < 1e-3


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_channels_renumbered(made, wanted, seed):
    rng = np.random.default_rng(seed)

    def change(weights: Weights) -> None:
        for block in BLOCKS:
            for i in (1, 2):
                weights.permute(f"{block}_conv{i}", rng.permutation(8), f"{block}_conv{i + 1}")

    assert differs(changed(made, change), wanted) < 1e-3


def test_the_changes_leave_the_function_and_their_halves_do_not(made, wanted):
    """The controls: a change that nothing makes up changes the function and the measure."""
    order, factors = np.roll(np.arange(8), 3), np.linspace(-4, 4, 8)

    def whole(weights: Weights) -> None:
        weights.permute("stage1_block1_conv1", order, "stage1_block1_conv2")
        weights.scale("stage1_block1_conv2", factors, gamma=True)
        weights.scale("stem_conv", np.array(8.0), gamma=False)

    def no_reader(weights: Weights) -> None:
        weights.permute("stage1_block1_conv1", order, None)

    def no_statistics(weights: Weights) -> None:
        path = "stem_conv/kernel"
        weights.values[path] = weights.values[path] * 8

    def no_gamma(weights: Weights) -> None:
        path = "stage1_block1_conv2_bn/gamma"
        weights.values[path] = weights.values[path] * factors

    before = np.asarray(made.model(made.arrays[0], training=False))
    weights = Weights(made.model)
    whole(weights)
    np.testing.assert_allclose(outputs(made, weights.list()), before, atol=2e-3)
    assert differs(changed(made, whole), wanted) < 1e-3
    for half in (no_reader, no_statistics, no_gamma):
        weights = Weights(made.model)
        half(weights)
        assert np.abs(outputs(made, weights.list()) - before).max() > 0.01
        assert differs(changed(made, half), wanted) > 1e-3


def by_hand(values: np.ndarray, threshold: float) -> tuple[float, int, int]:
    """Lambda, needed and directions of (images, ..., channels) with NumPy alone."""
    rows = values.reshape(-1, values.shape[-1]).astype(np.float64)
    alike = np.abs(np.corrcoef(rows.T)) > threshold
    lam = alike[np.triu_indices(len(alike), 1)].mean()
    left = list(np.argsort(-rows.var(0)))
    needed = 0
    while left:
        needed += 1
        left = [i for i in left[1:] if not alike[left[0], i]]
    held = np.cumsum(np.linalg.eigvalsh(np.cov(rows.T))[::-1])
    return float(lam), needed, int(np.argmax(held >= 0.99 * held[-1])) + 1


def test_numbers_agree_with_numpy(made, wanted, images, monkeypatch):
    monkeypatch.setattr(responses_sums, "PLACES", 10**6)
    every = ResponseMeasure(made.model, images, 0.5)
    every.summing.block = 20  # the last block is not full
    every.summing.rows = 10**6
    found = every.measured()
    for site in every.sites:
        if len(site.tensors) > 1:
            continue
        layer = site.name if site.name.endswith("_add") else f"{site.name}_bn"
        seen = keras.Model(made.model.input, made.model.get_layer(layer).output)
        lam, needed, directions = by_hand(np.asarray(seen(images, training=False)), 0.5)
        assert found[site.name].lam == pytest.approx(lam, abs=1e-9)
        assert (found[site.name].needed, found[site.name].directions) == (needed, directions)
    # The drawn places say nearly the same.
    assert abs(found["stem_conv"].lam - wanted["stem_conv"].lam) <= 2 / 28


def test_every_width_has_a_row_and_every_convolution_its_width(made):
    names = [site.name for site in made.sites]
    assert set(names) == {
        "stem_conv", "stage1_block1_add", "stage2_block2_add",
        *(f"{block}_conv{i}" for block in BLOCKS for i in (1, 2)),
    }  # fmt: skip
    convolutions = [x.name for x in made.model.layers if isinstance(x, layers.Conv2D)]
    assert set(made.of_layer) == set(convolutions)
    sums = made.of_layer["stage2_block1_shortcut"]
    assert sums.name == "stage2_block2_add"
    assert sums is made.of_layer["stage2_block2_conv3"]
    assert len(sums.tensors) == 2


def mixed(*, apart: bool) -> keras.Model:
    """Depthwise, 1x1, dense and a sum; activations inside the layers, or layers of their own."""

    def active(x, layer):
        if not apart:
            layer.activation = keras.activations.relu
            return layer(x)
        return layers.ReLU()(layer(x))

    image = keras.Input((8, 8, 2))
    x = active(image, layers.Conv2D(6, 3, padding="same", name="conv"))
    y = active(x, layers.DepthwiseConv2D(3, padding="same", name="depthwise"))
    x = layers.Add(name="sum")([x, layers.Conv2D(6, 1, name="point")(y)])
    x = active(layers.GlobalAveragePooling2D()(x), layers.Dense(5, name="dense"))
    return keras.Model(image, layers.Dense(3, name="classes")(x))


def test_depthwise_pointwise_dense_and_sums_and_activations_inside(images):
    rng = np.random.default_rng(0)
    pictures = rng.normal(size=(24, 8, 8, 2)).astype(np.float32)
    keras.utils.set_random_seed(3)
    inside, apart = mixed(apart=False), mixed(apart=True)
    apart.set_weights(inside.get_weights())
    first, second = (response_measure(m, pictures, 0.3, nulls=0) for m in (inside, apart))
    assert list(first["name"]) == ["conv", "depthwise", "sum", "dense"]
    assert inside.get_layer("conv").activation is keras.activations.relu
    pd.testing.assert_frame_equal(first, second)
    assert first["lambda_response"].max() > 0
    assert list(first["channels"]) == [6, 6, 6, 5]
    made = ResponseMeasure(inside, pictures)
    assert made.of_layer["point"].name == "sum"


def test_copies_and_dead_channels_are_counted(made):
    def copies(weights: Weights) -> None:
        for path, axis in (("stage2_block1_conv1/kernel", 3), ("stage2_block1_conv1/bias", 0)):
            value = np.moveaxis(weights.values[path].copy(), axis, 0)
            value[1:4] = value[0] * np.array([2.0, -1.0, 0.5]).reshape(3, *[1] * (value.ndim - 1))
            weights.values[path] = np.moveaxis(value, 0, axis)

    def dead(weights: Weights) -> None:
        gamma = weights.values["stage2_block1_conv1_bn/gamma"].copy()
        gamma[2:6] = 0
        weights.values["stage2_block1_conv1_bn/gamma"] = gamma

    high = ResponseMeasure(made.model, made.arrays[0], 0.9999)
    name, weights = "stage2_block1_conv1", Weights(made.model)
    assert high.measured(weights.list())[name].lam == 0
    copies(weights)
    found = high.measured(weights.list())[name]
    assert found.lam == pytest.approx(6 / 28)
    assert found.needed == 5
    weights = Weights(made.model)
    dead(weights)
    found = high.measured(weights.list())[name]
    # Four that are still are like all: 6 pairs among them and 16 with the others.
    assert found.lam == pytest.approx(22 / 28)
    assert found.needed == 4
    assert found.directions <= 4


def test_untrained_networks_are_told_of_nothing(made):
    """A draw is held against other draws; the control is a layer whose filters are all one."""
    sites = made.sites
    draws = [[made.null(seed)[site.name].lam for site in sites] for seed in range(6)]
    channels = [site.channels for site in sites]
    for seed in range(6):
        others = [draws[k] for k in range(6) if k != seed]
        mean, spread, bar = null_spread(others, channels)
        assert not (np.array(draws[seed]) > bar).any()
        assert (spread > 0).all()
        assert (bar > mean).all()
    weights = Weights(made.model)
    path = "stage2_block1_conv1/kernel"
    weights.values[path] = np.repeat(weights.values[path][..., :1], 8, axis=-1)
    lams = {name: r.lam for name, r in made.measured(weights.list(), directions=False).items()}
    assert (
        lams["stage2_block1_conv1"] == 1 > bar[[s.name for s in sites].index("stage2_block1_conv1")]
    )


def test_an_untrained_network_has_a_null_of_its_own_kind(images, made):
    """Where no image has passed the batch norms, those of the null are at their start too."""
    keras.utils.set_random_seed(1)
    fresh = ResponseMeasure(FAMILY.build(FAMILY.start), images, 0.5)
    table = fresh.table()
    assert not (table["lambda_response"] > table["lambda_bar"]).any()
    calibrated = np.mean([r.lam for r in made.null(1).values()])
    assert table["lambda_null"].mean() > calibrated + 0.05


def test_the_null_is_drawn_from_its_seed_and_leaves_the_model(made):
    before = made.model.get_weights()
    first, again, other = made.null(5), made.null(5), made.null(6)
    assert {k: v.lam for k, v in first.items()} == {k: v.lam for k, v in again.items()}
    assert {k: v.lam for k, v in first.items()} != {k: v.lam for k, v in other.items()}
    for old, new in zip(before, made.model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_maps_are_slices(made, images):
    """Copies of a channel are alike map by map too, and unlike channels are not all alike."""
    table = response_measure(made.model, images, 0.5, form="maps", nulls=0).set_index("name")
    assert table["lambda_response"].between(0, 1).all()
    assert table["lambda_response"].nunique() > 3
    weights = Weights(made.model)
    path = "stage1_block1_conv1/kernel"
    weights.values[path] = np.repeat(weights.values[path][..., :1], 8, axis=-1)
    for name in ("moving_mean", "moving_variance", "gamma", "beta"):
        key = f"stage1_block1_conv1_bn/{name}"
        weights.values[key] = np.repeat(weights.values[key][:1], 8)
    weights.values["stage1_block1_conv1/bias"] *= 0
    found = ResponseMeasure(made.model, images, 0.99, form="maps").measured(weights.list())
    assert found["stage1_block1_conv1"].lam == 1
    assert found["stage1_block1_conv2"].lam < 1


def test_weights_that_are_not_numbers_read_nan(made):
    weights = Weights(made.model)
    weights.values["stage2_block1_conv1/kernel"] = np.full((1, 1, 16, 8), np.nan)
    found = made.measured(weights.list())
    assert np.isnan(found["stage2_block1_conv1"].lam)
    assert np.isnan(found["stage2_block1_conv1"].needed)
    assert found["stage1_block1_conv1"].lam >= 0


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.function")
def test_with_xla_as_a_whole_the_numbers_are_the_same(made, wanted, images):
    """As on an accelerator."""
    whole = ResponseMeasure(made.model, images, 0.5)
    whole.summing.run = CompiledNetwork(whole.summing._one_block, whole=True)
    found = whole.measured()
    assert whole.summing.compiled == responses_compiled.XLA
    assert differs(found, wanted) <= 1  # one direction, or one pair at the threshold
    assert {k: round(v.lam, 1) for k, v in found.items()} == {
        k: round(v.lam, 1) for k, v in wanted.items()
    }


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.function")
def test_what_xla_refuses_runs_without_it():
    import tensorflow as tf  # noqa: PLC0415 - only here

    run = CompiledNetwork(lambda x: tf.strings.to_number(tf.strings.as_string(x)) + x, whole=True)
    assert float(run(tf.constant(2.0))) == 4
    assert run.how == responses_compiled.SUMS
    assert run.reason
    taken = CompiledNetwork(lambda x: x + x, whole=True)
    assert float(taken(tf.constant(2.0))) == 4
    assert (taken.how, taken.reason) == (responses_compiled.XLA, "")


def test_signals_of_a_family_come_from_its_graph(made, images):
    speaking = sites_of_axes(made, FAMILY)
    assert {axis: {site.name for site in sites} for axis, sites in speaking.items()} == {
        "stem/filters": {"stem_conv"},
        "stage1/mid": {"stage1_block1_conv1", "stage1_block1_conv2"},
        "stage1/out": {"stage1_block1_add"},
        "stage2/mid": {f"stage2_block{b}_conv{i}" for b in (1, 2) for i in (1, 2)},
        "stage2/out": {"stage2_block2_add"},
    }
    found = response_signals(made.model, FAMILY, images, threshold=0.5, nulls=0)
    own = made.measured(directions=False)
    mid = [own[name] for name in ("stage1_block1_conv1", "stage1_block1_conv2")]
    assert found["stage1/mid"].needed == max(r.needed / r.channels for r in mid)
    assert found["stage1/mid"].excess == pytest.approx(np.mean([r.lam for r in mid]))
    less = response_signals(made.model, FAMILY, images, threshold=0.5, nulls=2)
    assert less["stem/filters"].excess < found["stem/filters"].excess
    for signal in less.values():
        assert 0 <= signal.redundancy <= 1
        assert 0 < signal.needed <= 1
    named = response_signals(made.model, {"stem": ["stem_conv"]}, images, threshold=0.5, nulls=0)
    assert named == {"stem": found["stem/filters"]}


def test_signals_of_slim_convolutions():
    family = ResNetFamily(Widths(8, (Stage(1, 16, 16),)), (16, 16, 1), layout=Layout(conv="slim"))
    pictures = np.random.default_rng(0).normal(size=(8, 16, 16, 1))
    found = response_signals(family.build(family.start), family, pictures, nulls=0)
    assert set(found) == {"stem/filters", "stage1/mid", "stage1/out"}


def test_the_table_of_a_model_has_weights_and_responses(made, images):
    table = measure(made.model, images, threshold=0.5)
    alone = measure(made.model, threshold=0.5)
    assert table["name"].is_unique
    both = table.iloc[: len(alone)]
    pd.testing.assert_series_equal(both["lambda"], alone["lambda"])
    assert set(table["name"][len(alone) :]) == {"stage1_block1_add", "stage2_block2_add"}
    assert (table["skipped"] == "").all()
    assert (alone["skipped"] != "").any()
    rows = table.set_index("name")
    for column in RESPONSE_COLUMNS:
        assert pd.api.types.is_numeric_dtype(table[column])
        assert rows.at["stage1_block1_conv3", column] == rows.at["stage1_block1_add", column]
    assert rows["lambda_response"].between(0, 1).all()
    assert np.isnan(rows.at["stage1_block1_add", "lambda"])
    dense = keras.Sequential([keras.Input((4,)), layers.Dense(6, name="one"), layers.Dense(2)])
    found = measure(dense, np.random.default_rng(0).normal(size=(20, 4)))
    assert list(found["name"]) == ["one"]
    assert found["channels"][0] == 6


def test_the_callback_reports_responses_and_outlives_nan(images):
    class Poison(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                kernel = self.model.get_layer("second").kernel
                kernel.assign(np.full(kernel.shape, np.nan))

    model = keras.Sequential(
        [
            keras.Input((16, 16, 1)), layers.Conv2D(6, 3, name="first"), layers.ReLU(),
            layers.Conv2D(4, 3, name="second"), layers.GlobalAveragePooling2D(), layers.Dense(2),
        ]
    )  # fmt: skip
    model.compile(keras.optimizers.SGD(0.0), "mse", run_eagerly=True)
    callback = CKRMCallback(threshold=0.5, images=images[:16])
    targets = np.zeros((8, 2), np.float32)
    own = ResponseMeasure(model, images[:16], 0.5).measured(directions=False)
    logs = model.fit(images[:8], targets, epochs=2, verbose=0, callbacks=[callback, Poison()])
    found = logs.history
    for name in ("lambda/second", "lambda_response/second", "ckrm", "ckrm_response"):
        assert np.isfinite(found[name][0])
        assert np.isnan(found[name][1])
    assert found["lambda_response/first"][0] == own["first"].lam
    copy.deepcopy(callback)


def test_what_cannot_be_measured_is_refused(images):
    model = resnet(Widths(4, (Stage(1, 4, 4),)), (16, 16, 1), 3)
    with pytest.raises(CKRMError, match="Did you mean 'maps'"):
        response_measure(model, images, form="map")
    with pytest.raises(CKRMError, match="nulls"):
        response_measure(model, images, nulls=-1)
    with pytest.raises(CKRMError, match="images"):
        response_measure(model, images[:, :8])
    flat = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    with pytest.raises(CKRMError, match="two channels"):
        response_measure(flat, np.zeros((3, 4)))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_search_measure_with_data(made, tiny_data, tmp_path, capsys):
    path, table = tmp_path / "trained.keras", tmp_path / "table.csv"
    keras.Model(made.model.input, made.model.output).save(path)
    splits = {
        f"{name}_{part}": value
        for name, split in tiny_data.splits().items()
        for part, value in (("images", split.images[..., 0]), ("labels", split.labels))
    }
    np.savez(tmp_path / "films.npz", **splits)
    arguments = ["--data", str(tmp_path / "films.npz"), "--pixels", "0,1", "--csv", str(table)]
    main(report, [str(path), *arguments, "--output", "logits"])
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split()[:2] == ["width", "lambda"] for line in lines)
    assert any(line.startswith("stage2_block2_add ") for line in lines)
    assert "Responses to 48 training images" in lines[-1]
    rows = pd.read_csv(table).set_index("name")
    wanted = response_measure(made.model, made.arrays[0], nulls=0).set_index("name")
    found = rows.loc["stage2_block2_add"]
    assert found["needed"] == wanted.at["stage2_block2_add", "needed"]
    with pytest.raises(SystemExit):
        main(report, [str(path), "--image-size", "16", "--layout", "npz"])
