"""Every format on every small model, and what each must refuse."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from export_models import (
    MODELS,
    attention,
    augmented,
    disturbed,
    grouped,
    mixed_precision,
    two_convolutions,
    two_in_two_out,
)
from keras import layers

from ckrm_tf import CKRMError
from ckrm_tf.export import export_files, files, inference_model
from ckrm_tf.export.compare import Port, calls_of, difference, spread
from ckrm_tf.export.flat import FlatModel
from ckrm_tf.export.plain import in_float32, uncompiled
from ckrm_tf.export.registry import FORMATS, formats_named
from ckrm_tf.files import whole_folder

# Keras saves through `np.array(variable)`, which TensorFlow's __array__ does not fit yet.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(3)


def row(name: str):
    missing = [one for one in FORMATS[name].needs if importlib.util.find_spec(one) is None]
    return pytest.param(
        name, marks=pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}")
    )


every_format = pytest.mark.parametrize(
    "name", [row(name) for name, one in FORMATS.items() if one.exact]
)


@every_format
@pytest.mark.parametrize("build", MODELS, ids=lambda build: build.__name__)
def test_every_model_in_every_format(build, name, tmp_path):
    model = disturbed(build())
    report = export_files(model, tmp_path / "export", formats=(name,), check="here")
    assert report.differences[name] <= FORMATS[name].tolerance
    # Without this the comparison would prove nothing.
    assert report.spread > 0.05
    assert (report.precision > 0) == (build is mixed_precision and name != "keras")
    assert {path.name for path in report.folder.iterdir()} == {FORMATS[name].file, "export.json"}
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


@every_format
@pytest.mark.parametrize("build", [two_convolutions, augmented, attention])
def test_a_file_with_other_weights_is_refused(build, name, tmp_path, monkeypatch):
    model = disturbed(build())
    one = FORMATS[name]

    def write_another(flat, path, facts):
        wrong = keras.models.clone_model(flat.model)
        weights = flat.model.get_weights()
        # One bias of the last layer, by a thousandth of the largest output.
        largest = max(np.abs(array).max() for array in flat.arrays(calls_of(flat, None)[0]))
        weights[-1] = weights[-1] + np.float32(1e-3 * largest)
        wrong.set_weights(weights)
        one.write(replace(flat, model=wrong), path, facts)

    monkeypatch.setitem(FORMATS, name, replace(one, write=write_another))
    with pytest.raises(CKRMError, match=f"output .* of {one.file}.*a difference of 0.00"):
        export_files(model, tmp_path / "export", formats=(name,), check="here")
    assert list(tmp_path.iterdir()) == []


@every_format
def test_an_answer_that_changes_is_refused(name, tmp_path):
    image = keras.Input((12, 12, 1))
    drawn = layers.Lambda(lambda x: x + tf.random.normal(tf.shape(x)))(image)
    model = keras.Model(image, drawn)
    with pytest.raises(CKRMError, match=FORMATS[name].file):
        export_files(model, tmp_path / "export", formats=(name,), check="here")
    assert list(tmp_path.iterdir()) == []


def test_a_fresh_process_reads_what_was_written(tmp_path):
    model = disturbed(two_in_two_out())
    model.compile(optimizer="adam", loss=[lambda y, p: keras.ops.mean(p)] * 2)
    rng = np.random.default_rng(3)
    inputs = [rng.random((40, 12, 12, 3)), rng.random((40, 9, 5))]
    report = export_files(
        model,
        tmp_path / "export",
        inputs=inputs,
        metadata={"trial": 7},
        class_names=("a", "b", "ü"),
    )
    assert set(report.differences) == {"saved_model", "keras"}
    facts = json.loads((report.folder / "export.json").read_text(encoding="utf-8"))
    assert facts["inputs"] == [
        {"name": "Film_1", "shape": [None, 12, 12, 3], "dtype": "float32"},
        {"name": "notes", "shape": [None, None, 5], "dtype": "float32"},
    ]
    assert [port["name"] for port in facts["outputs"]] == ["age", "z"]
    # 32 cases, the other 8, and the first alone.
    assert (facts["calls"], facts["metadata"]) == (3, {"trial": 7})
    assert facts["parity"]["keras"] == {"difference": 0.0, "tolerance": 1e-5}
    loaded = keras.models.load_model(report.folder / "model.keras")
    assert not loaded.compiled
    served = tf.saved_model.load(str(report.folder / "saved_model"))
    names = served.class_names()["class_names"].numpy()
    assert [name.decode() for name in names] == ["a", "b", "ü"]
    assert json.loads(served.metadata()["metadata"].numpy()) == {"trial": 7}
    found = served.serve(*(array.astype("float32") for array in inputs))
    np.testing.assert_allclose(
        found["age"], model(dict(zip(("Film 1", "notes"), inputs, strict=True)))["age"], rtol=1e-4
    )


def test_onnx_holds_names_and_facts(tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("tf2onnx")
    report = export_files(
        two_in_two_out(), tmp_path / "e", formats=("onnx",), metadata={"a": 1}, class_names=["x"]
    )
    graph = onnx.load(report.folder / "model.onnx")
    assert [end.name for end in graph.graph.input] == ["Film_1", "notes"]
    assert [end.name for end in graph.graph.output] == ["age", "z"]
    props = {prop.key: json.loads(prop.value) for prop in graph.metadata_props}
    assert props == {"metadata": {"a": 1}, "class_names": ["x"]}


@pytest.mark.parametrize("name", [row("onnx"), row("litert")])
def test_a_model_that_a_format_cannot_hold_is_refused(name, tmp_path):
    matrix = keras.Input((4, 4))
    model = keras.Model(matrix, keras.ops.eigh(matrix)[0])
    with pytest.raises(CKRMError, match=f"writing {FORMATS[name].file}.*[Ee]ig"):
        export_files(model, tmp_path / "export", formats=(name,))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["onnx", "litert"])
def test_a_missing_package_is_told(name, tmp_path, monkeypatch):
    for module in FORMATS[name].needs[1:]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(CKRMError, match=rf"installed.*pip install 'ckrm-tf\[{name}\]'"):
        export_files(two_convolutions(), tmp_path / "export", formats=("keras", name))
    assert list(tmp_path.iterdir()) == []


IMAGES = np.ones((3, 12, 12, 1))


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"formats": ("keras", "tflite")}, "one or more of keras, saved_model, onnx, litert"),
        ({"formats": ("keras", "keras")}, "each once"),
        ({"formats": ()}, "one or more"),
        ({"check": "later"}, "'process' or 'here'"),
        ({"inputs": [IMAGES, IMAGES]}, "1 arrays"),
        ({"inputs": IMAGES[:0]}, r"shape \(None, 12, 12, 1\)"),
        ({"inputs": IMAGES[:, :8]}, r"shape \(None, 12, 12, 1\)"),
        ({"inputs": IMAGES[0]}, r"shape \(None, 12, 12, 1\)"),
        ({"inputs": IMAGES * np.nan}, "inputs` on which the outputs are finite"),
        ({"class_names": "abc"}, "different names"),
        ({"class_names": ("a", "a")}, "different names"),
        ({"metadata": {"auc": float("nan")}}, "what JSON can hold"),
    ],
)
def test_wrong_arguments_are_told(changes, part, tmp_path):
    with pytest.raises(CKRMError, match=part):
        export_files(two_convolutions(), tmp_path / "export", **{"formats": ("keras",), **changes})
    assert list(tmp_path.iterdir()) == []


def test_unequal_numbers_of_cases_are_told(tmp_path):
    inputs = [np.ones((3, 12, 12, 3)), np.ones((2, 9, 5))]
    with pytest.raises(CKRMError, match="as many cases of every input"):
        export_files(two_in_two_out(), tmp_path / "export", formats=("keras",), inputs=inputs)


def test_inputs_that_do_not_suit_the_model_are_told(tmp_path):
    image = keras.Input((None, None, 1))
    x = layers.Conv2D(2, 3, strides=2)(image)
    model = keras.Model(image, layers.Conv2D(2, 31)(x))
    with pytest.raises(CKRMError, match="Give other `inputs`"):
        export_files(model, tmp_path / "export", formats=("keras",))
    inputs = np.random.default_rng(1).random((2, 80, 80, 1))
    assert export_files(model, tmp_path / "export", formats=("keras",), inputs=inputs)


def test_models_that_cannot_be_flat_are_told():
    class Own(keras.Model):
        def call(self, x):
            return x

    for model in (Own(), keras.Sequential([layers.Dense(2)]), "model.keras"):
        with pytest.raises(CKRMError, match="a built functional or Sequential"):
            FlatModel.of(model)


def test_a_layer_that_keras_cannot_rebuild_is_told():
    class Halved(layers.Layer):
        def __init__(self, factor, **kwargs):
            super().__init__(**kwargs)
            self.factor = factor

        def get_config(self):
            return layers.Layer.get_config(self)

        def call(self, x):
            return x * self.factor

    model = keras.Sequential([keras.Input((2,)), Halved(0.5)])
    assert uncompiled(model) is model
    model.compile(loss="mse")
    with pytest.raises(CKRMError, match="register_keras_serializable"):
        uncompiled(model)


def test_in_float32():
    model = disturbed(mixed_precision())
    full = in_float32(model)
    assert in_float32(full) is full
    assert full is not model
    policies = {layer.dtype_policy.name for layer in full._flatten_layers(include_self=False)}
    assert policies == {"float32"}
    assert model.layers[1].dtype_policy.name == "mixed_bfloat16"
    for one, other in zip(full.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    image = np.random.default_rng(1).random((2, 12, 12, 1))
    exact, rounded = full(image), keras.ops.cast(model(image), "float32")
    assert 0 < np.abs(exact - rounded).max() < 0.05 * np.abs(exact).max()


def test_a_precision_that_changes_the_model_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "PRECISION_TOLERANCE", 1e-6)
    with pytest.raises(CKRMError, match="the model in float32"):
        export_files(disturbed(mixed_precision()), tmp_path / "export", check="here")


def test_names_are_those_of_the_layers():
    image = keras.Input((4, 4, 1), name="a b")
    outputs = [layers.Flatten(name="a_b")(image), layers.Flatten(name="0")(image)]
    flat = FlatModel.of(keras.Model(image, outputs))
    assert [port.name for port in (*flat.inputs, *flat.outputs)] == ["a_b", "a_b_2", "x0"]
    assert flat.outputs[1] == Port("x0", (None, 16), "float32")


def test_default_inputs_vary_in_size_and_brightness():
    first, second = calls_of(FlatModel.of(grouped()), None)
    assert first[0].shape == (8, 32, 32, 4)
    assert second[0].shape == (1, 48, 48, 4)
    assert first[0][0].max() < 1
    assert 250 < first[0][-1].max() < 255
    np.testing.assert_array_equal(calls_of(FlatModel.of(grouped()), None)[0][0], first[0])
    pixels = keras.Input((4, 4, 1), dtype="uint8")
    numbers = keras.Input((5,), dtype="int32")
    ends = [layers.Flatten()(pixels), layers.Embedding(2, 3)(numbers)]
    arrays, _ = calls_of(FlatModel.of(keras.Model([pixels, numbers], ends)), None)
    assert arrays[0].max() > 200
    assert set(np.unique(arrays[1])) == {0, 1}


REAL, WHOLE = Port("y", (None, 2), "float32"), Port("y", (None, 2), "int32")
ARRAY = np.array([[1.0, -4.0]])


@pytest.mark.parametrize(
    ("port", "received", "found"),
    [
        (REAL, ARRAY, 0.0),
        (REAL, ARRAY + 0.02, 0.005),
        (REAL, ARRAY + 0.06, None),
        (WHOLE, ARRAY, 0.0),
        (WHOLE, ARRAY + 0.02, None),
        (REAL, ARRAY * np.nan, None),
        (REAL, ARRAY[:, :1], None),
        (REAL, ARRAY[0], None),
    ],
)
def test_difference(port, received, found):
    arguments = ("it", [port], [[ARRAY]], [[received]], 0.01)
    if found is None:
        with pytest.raises(CKRMError, match="output y of it"):
            difference(*arguments)
    else:
        assert difference(*arguments) == pytest.approx(found)


def test_difference_is_relative_to_each_output():
    small = ARRAY * 1e-6
    ports = [REAL, replace(REAL, name="small")]
    with pytest.raises(CKRMError, match="output small"):
        difference("it", ports, [[ARRAY, small]], [[ARRAY, small * 1.02]], 0.01)


def test_spread():
    assert spread([[np.array([[1.0, 2.0], [1.0, -4.0]])]]) == pytest.approx(3 / 4)
    assert spread([[np.ones((2, 2))], [np.zeros((2, 2))]]) == 0
    assert np.isnan(spread([[np.ones((1, 2))]]))


def test_a_used_folder_is_kept(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(CKRMError, match="Nothing is overwritten"), whole_folder(tmp_path):
        pytest.fail("the block must not run")
    assert (tmp_path / "notes.txt").read_text() == "mine"
    with whole_folder(tmp_path / "new" / "one") as part:
        (part / "file").write_text("whole")
        assert not (tmp_path / "new" / "one").exists()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["one"]


def test_formats_named_takes_one_name():
    assert [one.name for one in formats_named("keras")] == ["keras"]


def test_inference_model_keeps_its_names():
    image = keras.Input((8, 8, 1), name="image")
    logits = layers.Dense(2, name="logits")(layers.Flatten()(image))
    flat = FlatModel.of(inference_model(keras.Model(image, logits), 255))
    assert [port.name for port in (*flat.inputs, *flat.outputs)] == ["image", "probabilities"]
