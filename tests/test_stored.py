"""Kernels straight from a model's file: those of the model, and no code of it is run."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from contextlib import contextmanager
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from ckrm_tf.errors import CKRMError
from ckrm_tf.measures.kernels import model_kernels
from ckrm_tf.models.stored import stored_kernels
from search.cli import main
from search.measure import report

# Keras 3.15 reads variables through an __array__ without NumPy 2's copy argument when it saves.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def saved(model: keras.Model, path: Path) -> Path:
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(rng.uniform(0.1, 1.0, weight.shape))
    with warnings.catch_warnings(action="ignore"):  # Keras finds `.h5` old
        model.save(path)
    return path


def nested() -> keras.Model:
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, name="first")(image)
    x = layers.BatchNormalization(scale=False)(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2)(x)
    inner = [keras.Input((12, 12, 16)), layers.Conv2D(4, 3, name="deep"), layers.ReLU()]
    x = keras.Sequential([*inner, layers.BatchNormalization(center=False)], name="inner")(x)
    x = layers.Conv2DTranspose(6, 3, name="up")(layers.SeparableConv2D(5, 3)(x))
    x = layers.Conv2D(6, 3, groups=2, name="grouped")(layers.BatchNormalization()(x))
    side = layers.Conv2D(6, 3, padding="same", name="side")(x)
    x = layers.BatchNormalization()(layers.Add()([x, side]))
    return keras.Model(image, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))


def recurrent() -> keras.Model:
    image = keras.Input((4, 8, 8, 3))
    x = layers.ConvLSTM2D(4, 3, return_sequences=True)(image)
    x = layers.Bidirectional(layers.ConvLSTM2D(2, 3, return_sequences=True))(x)
    x = layers.TimeDistributed(layers.Conv2D(5, 3, name="each"))(x)
    x = layers.TimeDistributed(layers.BatchNormalization())(x)
    x = layers.TimeDistributed(layers.Conv2D(2, 1, name="seen"))(x)
    return keras.Model(image, layers.BatchNormalization()(x))


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("make", [nested, recurrent])
def test_the_file_tells_what_the_model_tells(make, suffix, tmp_path):
    model = make()
    path = saved(model, tmp_path / f"model{suffix}")
    wanted = list(model_kernels(model, pointwise=True))
    stored = stored_kernels(path, pointwise=True)
    assert stored.assumed == []
    assert [k.name for k in stored.kernels] == [k.name for k in wanted]
    for found, own in zip(stored.kernels, wanted, strict=True):
        assert (found.shape, found.reason, found.folded) == (own.shape, own.reason, own.folded)
        for a, b in zip(found.groups, own.groups, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)
    if make is nested:
        assert {k.name for k in wanted if k.folded} == {"first", "inner/deep", "up"}
        assert not any(k.folded for k in stored_kernels(path, fold=False).kernels)
    else:
        assert {k.name.split("/")[-1] for k in wanted if k.folded} == {"each", "seen"}


def test_a_saved_model_by_the_names_of_its_variables(tmp_path, capsys):
    """Case 22 and the search's own exports."""
    image = keras.Input((8, 8, 4))
    x = layers.BatchNormalization()(layers.Conv2D(6, 3, groups=2, name="first")(image))
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, name="deep")(x)
    model = keras.Model(image, layers.Conv2DTranspose(5, 3, name="up")(x))
    saved(model, tmp_path / "model.keras")
    model.export(tmp_path / "saved_model", verbose=False)
    stored = stored_kernels(tmp_path / "saved_model")
    assert [(k.name, k.shape, len(k.groups)) for k in stored.kernels] == [
        ("first", (3, 3, 2, 6), 1), ("deep", (3, 3, 6, 2), 6), ("up", (3, 3, 12, 5), 1)
    ]  # fmt: skip
    # Without the layers' settings neither groups nor what follows is known.
    assert stored.assumed == ["first"]
    assert not any(k.folded for k in stored.kernels)
    main(report, [str(tmp_path / "saved_model")])
    said = capsys.readouterr().out
    assert "Taken for plain convolutions" in said
    assert "first" in said
    main(report, [str(tmp_path)])
    assert "model.keras:" in capsys.readouterr().out.splitlines()[0]


@keras.saving.register_keras_serializable("tests")
class Gate(layers.Layer):
    """A layer of one's own with a convolution inside."""

    def build(self, shape):
        self.conv = layers.Conv2D(4, 3, padding="same", name="inside")
        self.conv.build(shape)

    def call(self, x):
        return self.conv(x)


@keras.saving.register_keras_serializable("tests")
class Standardized(layers.Conv2D):
    """A convolution of one's own."""


def own_layers() -> keras.Model:
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, name="c1")(image)
    x = layers.BatchNormalization()(x)
    x = Standardized(6, 3, groups=2, name="own")(Gate(name="gate")(x))
    x = layers.Lambda(lambda x: x * 2)(x)
    return keras.Model(image, layers.Conv2D(8, 3, name="c2")(x))


def strange(path: Path) -> None:
    """Rename the classes in the file: a process in which they are not known reads it so."""

    def renamed(text: str) -> str:
        for name in ("Gate", "Standardized"):
            text = text.replace(f'"{name}"', f'"No{name}"').replace(
                f"tests>{name}", f"tests>No{name}"
            )
        return text

    changed(path, renamed)
    if path.suffix == ".keras":
        # The places of the weights go by class too.
        for name in ("gate", "standardized"):
            moved(path, f"layers/{name}", f"layers/no_{name}")


def changed(path: Path, change) -> None:
    """Put another configuration into a saved model."""
    if path.suffix == ".h5":
        with h5py.File(path, "a") as file:
            file.attrs["model_config"] = change(file.attrs["model_config"])
        return
    with members_of(path) as members:
        members["config.json"] = change(members["config.json"].decode()).encode()


def moved(path: Path, place: str, other: str) -> None:
    """Put the weights at a place of a `.keras` file to another."""
    with members_of(path) as members:
        held = io.BytesIO(members["model.weights.h5"])
        with h5py.File(held, "r+") as file:
            file.move(place, other)
        members["model.weights.h5"] = held.getvalue()


@contextmanager
def members_of(path: Path):
    """What a `.keras` file holds, by name; written back in the end."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    yield members
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_layers_of_ones_own_and_lambda(suffix, tmp_path, capsys):
    """Case 09: every kernel is in the file, and the cause is told in full."""
    path = saved(own_layers(), tmp_path / f"own{suffix}")
    strange(path)
    stored = stored_kernels(path)
    assert [(k.name.split("/")[0], k.shape) for k in stored.kernels] == [
        ("c1", (3, 3, 3, 8)), ("gate", (3, 3, 8, 4)), ("own", (3, 3, 2, 6)), ("c2", (3, 3, 6, 8))
    ]  # fmt: skip
    assert [k.folded for k in stored.kernels] == [True, False, False, False]
    assert [len(k.groups) for k in stored.kernels] == [1, 1, 2, 1]
    assert len(stored.assumed) == 2
    main(report, [str(path)])
    said = capsys.readouterr().out
    assert "not rebuilt" in said
    assert "NoGate" in said or "Lambda" in said
    assert all(f"\n{name} " in said for name in ("c1", "own", "c2"))


def test_no_code_of_a_file_is_run(tmp_path, monkeypatch, capsys):
    """A Lambda that would leave a trace."""
    monkeypatch.chdir(tmp_path)
    trace = tmp_path / "trace"
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, name="conv")(image)

    write = lambda x: (__import__("pathlib").Path("trace").touch(), x)[1]  # noqa: E731
    model = keras.Model(image, layers.Lambda(write)(x))
    trace.unlink()
    path = saved(model, tmp_path / "lambda.keras")
    main(report, [str(path)])
    said = capsys.readouterr().out
    assert "\nconv " in said
    assert "--unsafe" in said
    assert not trace.exists()
    main(report, [str(path), "--unsafe"])
    assert "not rebuilt" not in capsys.readouterr().out
    assert trace.exists()


@pytest.mark.parametrize("which", ["DepthwiseConv2D", "Conv2DTranspose"])
def test_a_file_of_keras_2(which, tmp_path, capsys):
    """Case 08: its depthwise layers have a setting that Keras 3 does not know."""
    image = keras.Input((16, 16, 3))
    x = layers.DepthwiseConv2D(3)(layers.Conv2D(8, 3, name="c1")(image))
    x = layers.Conv2D(8, 3, name="c2")(layers.Conv2DTranspose(4, 3)(x))
    path = saved(keras.Model(image, x), tmp_path / "k2.h5")
    with h5py.File(path, "a") as file:
        config = json.loads(file.attrs["model_config"])
        for layer in config["config"]["layers"]:
            if layer["class_name"] == which:
                layer["config"] |= {"groups": 1, "only_in_keras_2": True}
        file.attrs["model_config"] = json.dumps(config)
    main(report, [str(path)])
    said = capsys.readouterr().out
    assert "\nc1 " in said
    assert "\nc2 " in said
    assert "only_in_keras_2" in said  # the cause in full


class Subclassed(keras.Model):
    """A model without a list of layers: its weights lie under the names of its attributes."""

    def __init__(self):
        super().__init__()
        self.eye, self.head = layers.Conv2D(4, 3), layers.Dense(2)

    def call(self, image):
        return self.head(self.eye(image))


def test_the_weights_of_a_subclassed_model(tmp_path):
    model = Subclassed()
    model(np.zeros((1, 8, 8, 3), "float32"))
    model.save_weights(tmp_path / "own.weights.h5")
    (kernel,) = stored_kernels(tmp_path / "own.weights.h5").kernels
    assert kernel.name == "eye"
    np.testing.assert_array_equal(np.concatenate(kernel.groups, -1), model.eye.kernel)


def test_a_file_without_weights_is_named(tmp_path):
    with h5py.File(tmp_path / "tables.h5", "w") as file:
        file["x"] = np.zeros((3, 3, 2, 8), "float32")
    with pytest.raises(CKRMError, match=r"tables\.h5: expected the weights of at least one"):
        stored_kernels(tmp_path / "tables.h5")


def test_weights_alone_and_a_subclassed_model(tmp_path):
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3, name="conv")])
    model.save_weights(tmp_path / "just.weights.h5")
    (kernel,) = stored_kernels(tmp_path / "just.weights.h5").kernels
    assert kernel.shape == (3, 3, 3, 4)


@pytest.mark.parametrize(
    "name", ["text.keras", "text.h5", "empty.keras", "cut.keras", "list.h5", "huge.h5"]
)
def test_files_that_are_none(name, tmp_path):
    path = tmp_path / name
    path.write_text("not a model")
    if name == "empty.keras":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", "{}")
    if name == "cut.keras":
        whole = saved(nested(), tmp_path / "whole.keras").read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    if name == "list.h5":
        with h5py.File(path, "w") as file:
            file.attrs["model_config"] = "[1, {"
    if name == "huge.h5":
        with h5py.File(path, "w") as file:
            file.create_dataset("layers/conv2d/vars/0", (10**5, 10**5, 10, 10), chunks=True)
    with pytest.raises(CKRMError, match=name):
        stored_kernels(path)


@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_a_strange_configuration_is_an_error_in_words_or_read(data, whole_h5):
    """One value of the configuration is another: no other error, whatever it is."""
    path, text = whole_h5
    config = json.loads(text)
    place, key = config, "config"
    for _ in range(data.draw(st.integers(1, 8))):
        inside = place[key]
        if not isinstance(inside, dict | list) or not inside:
            break
        keys = list(inside) if isinstance(inside, dict) else list(range(len(inside)))
        place, key = inside, data.draw(st.sampled_from(keys))
    strange_values = [None, 0, -3, "x", [], {}, [[1]], {"config": []}, 1e99, True, [["a", 0, 0]]]
    place[key] = data.draw(st.sampled_from(strange_values))
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = json.dumps(config)
    said = path.name
    try:
        stored_kernels(path)
    except CKRMError as error:
        said = str(error)
    assert path.name in said


@pytest.fixture(scope="module")
def whole_h5(tmp_path_factory) -> tuple[Path, str]:
    with warnings.catch_warnings(action="ignore"):
        path = saved(nested(), tmp_path_factory.mktemp("whole") / "whole.h5")
    with h5py.File(path, "r") as file:
        return path, file.attrs["model_config"]


def test_weights_that_are_missing_or_broken_are_rows(tmp_path):
    path = saved(nested(), tmp_path / "model.h5")
    with h5py.File(path, "a") as file:
        group = file["model_weights/first"]
        group.attrs["weight_names"] = np.array([], dtype="S1")
        file["model_weights/grouped/grouped/kernel"][0, 0, 0, 0] = np.nan
    rows = {k.name: k.reason for k in stored_kernels(path).kernels}
    assert rows["first"] == "its weights are not in the file"
    assert "NaN" in rows["grouped"]
    assert rows["side"] is None


def plain(name: str = "conv", **more) -> keras.Model:
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, name=name, **more)(image)
    return keras.Model(image, layers.Conv2D(4, 3, name="other")(x))


@pytest.mark.parametrize("name", ["bf16", "f16.0", "a:0"])
def test_an_h5_file_of_any_precision_and_any_name(name, tmp_path):
    """Keras cannot read bfloat16 back from `.h5`, where it is two bytes of no type."""
    model = plain(name, dtype="bfloat16" if name == "bf16" else "float16")
    path = saved(model, tmp_path / "half.h5")
    first, other = stored_kernels(path).kernels
    assert (first.name, first.reason) == (name, None)
    np.testing.assert_array_equal(first.groups[0], np.float32(model.get_layer(name).kernel))
    assert np.ptp(first.groups[0]) > 0.5
    assert other.name == "other"


@pytest.mark.parametrize("way", ["gone", "outside", "raw"])
def test_what_one_layer_lacks_is_one_row(way, tmp_path, capsys):
    """A kernel is not there, or is a link to another file: that is not followed."""
    path = saved(plain(), tmp_path / "model.h5")
    aside = saved(plain(), tmp_path / "aside.h5")
    (tmp_path / "raw").write_bytes(bytes(4 * 3 * 3 * 3 * 4))
    place = "model_weights/conv/conv/kernel"
    with h5py.File(path, "a") as file:
        del file[place]
        if way == "outside":
            file[place] = h5py.ExternalLink(str(aside), place)
        elif way == "raw":
            whole = [(str(tmp_path / "raw"), 0, h5py.h5f.UNLIMITED)]
            file.create_dataset(place, (3, 3, 3, 4), "float32", external=whole)
    rows = {k.name: k.reason for k in stored_kernels(path).kernels}
    assert rows == {"conv": "its weights are not in the file", "other": None}
    assert {k.reason for k in stored_kernels(aside).kernels} == {None}
    main(report, [str(path)])
    assert "Skipped 1 (conv)" in capsys.readouterr().out


def every_kind() -> keras.Model:
    image = keras.Input((16, 16, 3))
    x = layers.DepthwiseConv2D(3, depth_multiplier=3, use_bias=False)(image)
    x = layers.SeparableConv2D(6, 3, depth_multiplier=2)(x)
    x = layers.Conv2DTranspose(6, 3, use_bias=False)(x)
    x = layers.Conv1DTranspose(5, 3)(layers.Reshape((-1, 6))(x))
    return keras.Model(image, layers.MultiHeadAttention(2, 3)(x, x))


class Attributes(keras.Model):
    """The places of its weights are named by attributes, not by classes."""

    def __init__(self):
        super().__init__()
        self.state = layers.ConvLSTM2D(3, 2)
        self.apart = layers.SeparableConv2D(6, 3, depth_multiplier=2)

    def call(self, frames):
        return self.apart(self.state(frames))


def attributes() -> keras.Model:
    model = Attributes()
    model(np.zeros((1, 2, 9, 9, 2), "float32"))
    return model


def contents(kernels) -> list[tuple[float, ...]]:
    """What every measured kernel holds, in order of size."""
    measured = [k for k in kernels if k.reason is None]
    return sorted(tuple(np.sort(np.concatenate([g.ravel() for g in k.groups]))) for k in measured)


@pytest.mark.parametrize("make", [every_kind, attributes, recurrent])
def test_weights_alone_are_those_of_the_model(make, tmp_path):
    model = make()
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(rng.uniform(0.1, 1.0, weight.shape))
    model.save_weights(tmp_path / "model.weights.h5")
    found = stored_kernels(tmp_path / "model.weights.h5", pointwise=True)
    wanted = [k for k in model_kernels(model, pointwise=True, fold=False) if k.reason is None]
    assert sorted(k.shape for k in found.kernels if k.reason is None) == sorted(
        k.shape for k in wanted
    )
    for a, b in zip(contents(found.kernels), contents(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    # Attention is listed, and not measured.
    assert sum(k.reason is not None for k in found.kernels) == (4 if make is every_kind else 0)


def test_places_are_read_in_the_order_of_their_numbers(tmp_path):
    inside = [layers.Conv2D(2 + n, 1) for n in range(12)]
    keras.Sequential([keras.Input((4, 4, 3)), *inside]).save_weights(tmp_path / "m.weights.h5")
    shapes = [k.shape[-1] for k in stored_kernels(tmp_path / "m.weights.h5").kernels]
    assert shapes == list(range(2, 14))


@pytest.mark.parametrize("listed", [False, True])
def test_variables_of_one_name_in_a_saved_model(listed, tmp_path):
    """Keras 2 names the layers of nested models alike; a second list of all adds none."""
    rng = np.random.default_rng(0)

    def part(values: np.ndarray) -> tf.Module:
        module = tf.Module()
        module.kernel = tf.Variable(values, name="c/kernel")
        module.bias = tf.Variable(np.zeros(values.shape[-1], "float32"), name="c/bias")
        return module

    whole, kernels = tf.Module(), [rng.normal(size=(3, 3, 2, n)) for n in (4, 4, 5)]
    parts = [part(kernel) for kernel in (*kernels, kernels[0])]
    # One list of all variables, or each with its layer.
    whole.all = [v for p in parts for v in (p.kernel, p.bias)] if listed else parts
    tf.saved_model.save(whole, str(tmp_path / "saved"))
    found = stored_kernels(tmp_path / "saved").kernels
    assert [k.name for k in found] == ["c", "c#2", "c#3"]
    for kernel, own in zip(kernels, found, strict=True):
        np.testing.assert_array_equal(own.groups[0], kernel)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_both_directions_of_a_file_of_keras_2(suffix, tmp_path):
    """Its configuration tells of one layer and not of the names that both have."""
    model = recurrent()
    path = saved(model, tmp_path / f"model{suffix}")
    wanted = list(model_kernels(model, pointwise=True))

    def older(text: str) -> str:
        config = json.loads(text)
        (both,) = (c for c in config["config"]["layers"] if c["class_name"] == "Bidirectional")
        del both["config"]["backward_layer"]
        inner = both["config"]["layer"]["config"]
        inner["name"] = inner["name"].removeprefix("forward_")
        return json.dumps(config)

    changed(path, older)
    found = stored_kernels(path, pointwise=True).kernels
    assert [k.name for k in found] == [k.name for k in wanted]
    assert sum("backward" in k.name for k in found) == 1
    for own, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(own.groups[0], other.groups[0], rtol=1e-6)


def sharing(order: int) -> keras.Model:
    """A layer that two models share, before or after another of its class."""
    image = keras.Input((8, 8, 3))
    shared = layers.Conv2D(3, 3, padding="same", name="shared")
    two = [shared, layers.Conv2D(3, 3, padding="same", name="own")][::order]
    inner = keras.Sequential([keras.Input((8, 8, 3)), *two], name="inner")
    return keras.Model(image, inner(shared(image)))


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("suffix", [".keras", ".h5", "keras 2"])
def test_a_layer_that_models_share_is_one_row(suffix, order, tmp_path):
    model = sharing(order)
    path = saved(model, tmp_path / ("model.h5" if suffix == ".h5" else "model.keras"))
    if suffix == "keras 2" and order == 1:
        # It counts no layer a second time.
        place = "layers/sequential/layers/conv2d"
        moved(path, f"{place}_1", place)
    found = stored_kernels(path).kernels
    assert [k.name for k in found] == ["shared", "inner/own"]
    for kernel, layer in zip(
        found, [model.layers[1], model.layers[2].get_layer("own")], strict=True
    ):
        np.testing.assert_array_equal(kernel.groups[0], layer.kernel)


@pytest.mark.parametrize("equal", [False, True])
def test_layers_of_one_name_in_two_models_are_two_rows(equal, tmp_path):
    """Other weights, or none that could tell them apart."""
    image = keras.Input((8, 8, 3))
    for_each = [
        keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(3, 3, padding="same", name="c")])
        for _ in range(2)
    ]
    model = keras.Model(image, for_each[1](for_each[0](image)))
    path = saved(model, tmp_path / "model.h5")
    if equal:
        for part in for_each:
            part.get_layer("c").kernel.assign(np.full((3, 3, 3, 3), 0.5))
        with warnings.catch_warnings(action="ignore"):
            model.save(path)
    assert len(stored_kernels(path).kernels) == 2
