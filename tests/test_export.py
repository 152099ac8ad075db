from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from processes import gone

from ckrm_tf import CKRMError, Stage, Widths, resnet
from ckrm_tf.export import export_model, fresh, inference_model, saved_model
from ckrm_tf.export import write as write_module
from ckrm_tf.export.flat import FlatModel
from ckrm_tf.export.registry import FORMATS

WIDTHS = Widths(4, (Stage(1, 4, 8),))
SHAPE = (16, 16, 1)
NAMES = ("normal", "Kardiomegalie ü", "pneumonia")


# Keras saves through `np.array(variable)`, which TensorFlow's __array__ does not fit yet.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)


def tiny(**changes) -> keras.Model:
    """A network whose weights, moving statistics included, are all away from their start."""
    # Seeded: some draws, times 20, leave nothing in float32 but probabilities of 0 and 1.
    keras.utils.set_random_seed(1)
    model = resnet(WIDTHS, SHAPE, 3, **changes)
    rng = np.random.default_rng(1)
    model.set_weights([w + rng.uniform(-0.2, 0.3, w.shape) for w in model.get_weights()])
    return model


def softmax_of(model: keras.Model, pixels: np.ndarray, scale: float) -> np.ndarray:
    logits = np.asarray(model(pixels.astype("float32") / scale, training=False), dtype=np.float64)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    model = tiny(kernel_regularizer=keras.regularizers.L1(1e-4))
    # Like a trained model: compiled, with a loss that no file should have to name.
    model.compile(optimizer="adam", loss=lambda y, p: keras.ops.mean(p))
    return model


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (40, *SHAPE)).astype(np.uint8)


@pytest.fixture(scope="module")
def exported(model, pixels, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "new" / "export"
    return export_model(
        model,
        folder,
        widths=WIDTHS,
        class_names=NAMES,
        scale=255.0,
        input_shape=SHAPE,
        metadata={"trial": 7, "val_auc": 0.75},
        images=pixels,
    )


def test_export_reports_parity_from_a_fresh_process(exported, model):
    assert exported.saved_model_difference <= 1e-5
    assert exported.keras_difference <= 1e-5
    assert exported.images == 40
    assert exported.params == WIDTHS.params(SHAPE, 3)
    assert exported.macs == WIDTHS.macs(SHAPE, 3)
    assert 0 < exported.check_seconds < exported.seconds
    written = {path.name for path in exported.folder.iterdir()}
    assert written == {"saved_model", "model.keras", "widths.json"}
    assert [path.name for path in exported.folder.parent.iterdir()] == ["export"]
    # The trained model is left as it was.
    assert model.get_layer("stem_conv").kernel_regularizer is not None


def test_saved_model_has_named_ends_and_class_names(exported, model, pixels):
    loaded = tf.saved_model.load(str(exported.folder / "saved_model"))
    signature = loaded.signatures["serving_default"]
    _, inputs = signature.structured_input_signature
    assert set(inputs) == {"image"}
    assert inputs["image"].shape.as_list() == [None, *SHAPE]
    assert inputs["image"].dtype == tf.float32
    assert set(signature.structured_outputs) == {"probabilities"}
    expected = softmax_of(model, pixels, 255)
    # The noise must tell classes apart, or parity would prove nothing.
    assert expected.std(axis=0).max() > 1e-3
    for images in (pixels[:5], pixels[:5].astype("float32")):
        got = loaded.serve(images)["probabilities"].numpy()
        np.testing.assert_allclose(got, expected[:5], atol=1e-6)
    names = loaded.class_names()["class_names"].numpy()
    assert [name.decode() for name in names] == list(NAMES)
    facts = json.loads(loaded.metadata()["metadata"].numpy())
    assert facts["metadata"] == {"trial": 7, "val_auc": 0.75}
    assert not list((exported.folder / "saved_model").glob("assets/*"))


def test_keras_file_is_plain_and_flat(exported, model, pixels):
    loaded = keras.models.load_model(exported.folder / "model.keras")
    np.testing.assert_allclose(
        np.asarray(loaded(pixels.astype("float32"))), softmax_of(model, pixels, 255), atol=1e-6
    )
    names = [layer.name for layer in loaded.layers]
    assert [name for name in names if name not in ("rescale", "probabilities")] == [
        layer.name for layer in model.layers
    ]
    assert {layer.__module__.split(".")[0] for layer in loaded.layers} == {"keras"}
    assert all(getattr(layer, "kernel_regularizer", None) is None for layer in loaded.layers)
    assert not loaded.compiled
    assert loaded.losses == []


def test_widths_file_rebuilds_the_network(exported):
    facts = json.loads((exported.folder / "widths.json").read_text(encoding="utf-8"))
    assert Widths.from_dict(facts["widths"]) == WIDTHS
    assert facts["class_names"] == list(NAMES)
    assert (facts["scale"], facts["input_shape"]) == (255.0, list(SHAPE))
    assert facts["params"] == exported.params
    assert facts["parity"]["saved_model"] == exported.saved_model_difference
    assert facts["versions"]["keras"] == keras.__version__


def test_usage_lines_are_python_that_works(exported, pixels):
    scope = {"image": pixels[:2].astype("float32")}
    exec(exported.usage, scope)
    assert scope["probabilities"].shape == (2, 3)
    assert scope["names"].shape == (3,)


def test_a_used_folder_is_refused_and_kept(exported, model, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for folder in (tmp_path, tmp_path / "notes.txt", exported.folder):
        with pytest.raises(CKRMError, match="Nothing is overwritten"):
            export_model(model, folder, widths=WIDTHS, class_names=NAMES, scale=255)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_crash_leaves_nothing_behind(model, tmp_path, monkeypatch):
    def crash(*args, **kwargs):
        raise KeyboardInterrupt

    crashing = replace(FORMATS["saved_model"], write=crash)
    monkeypatch.setitem(FORMATS, "saved_model", crashing)
    with pytest.raises(KeyboardInterrupt):
        export_model(model, tmp_path / "export", widths=WIDTHS, class_names=NAMES, scale=255)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("gain", [1, 20])
def test_a_wrong_file_is_caught(tmp_path, monkeypatch, gain):
    model = tiny()
    head = model.get_layer("logits")
    # With the gain every probability is within 1e-8 of 0 or 1, for the wrong file too.
    head.set_weights([weight * gain for weight in head.get_weights()])
    monkeypatch.setattr(write_module, "inference_model", lambda m, s: inference_model(m, s * 1.1))
    with pytest.raises(CKRMError, match=r"exported model\.keras"):
        export_model(model, tmp_path / "export", widths=WIDTHS, class_names=NAMES, scale=255)
    assert list(tmp_path.iterdir()) == []


def test_nan_weights_are_caught(tmp_path):
    model = tiny()
    model.set_weights([np.full_like(w, np.nan) for w in model.get_weights()])
    with pytest.raises(CKRMError, match="up to nan"):
        export_model(model, tmp_path / "export", widths=WIDTHS, class_names=NAMES, scale=255)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"class_names": ("a", "b")}, "3 different names"),
        ({"class_names": ("a", "b", "b")}, "3 different names"),
        ({"class_names": "abc"}, "3 different names"),
        ({"scale": 0}, "scale"),
        ({"scale": float("nan")}, "scale"),
        ({"widths": Widths(4, (Stage(1, 4, 9),))}, "trainable parameters"),
        ({"input_shape": (16, 8, 1)}, "input_shape"),
        ({"metadata": {"auc": float("nan")}}, "metadata"),
        ({"metadata": {"model": object()}}, "metadata"),
        ({"images": np.zeros((2, 8, 8, 1))}, "images"),
        ({"images": np.zeros((0, *SHAPE))}, "images"),
        ({"images": np.full((1, *SHAPE), np.inf)}, "finite pixels"),
    ],
)
def test_what_does_not_fit_the_model_is_told(model, tmp_path, changes, part):
    arguments = {"widths": WIDTHS, "class_names": NAMES, "scale": 255, **changes}
    with pytest.raises(CKRMError, match=part):
        export_model(model, tmp_path / "export", **arguments)
    assert not (tmp_path / "export").exists()


def test_models_that_are_not_such_networks_are_told():
    image = keras.Input(SHAPE)
    flat = layers.Flatten()(image)
    with pytest.raises(CKRMError, match="without an activation"):
        inference_model(keras.Model(image, layers.Dense(3, activation="softmax")(flat)), 255)
    with pytest.raises(CKRMError, match="without an activation"):
        inference_model(keras.Model(image, layers.Softmax()(flat)), 255)
    with pytest.raises(CKRMError, match="logits"):
        inference_model(keras.Model(image, [flat, image]), 255)
    with pytest.raises(CKRMError, match="functional Keras model"):
        inference_model("model.keras", 255)


def test_a_failing_fresh_process_is_told(tmp_path, model, pixels, monkeypatch):
    flat, calls = FlatModel.of(model), [[pixels.astype("float32")]]
    monkeypatch.setattr(saved_model, "READER", "import ckrm_tf_that_is_absent")
    with pytest.raises(
        CKRMError, match=r"(?s)fresh process.*No module named 'ckrm_tf_that_is_absent'"
    ):
        saved_model.run_fresh(tmp_path, flat, calls)
    monkeypatch.setattr(saved_model, "READER", "import time; time.sleep(60)")
    monkeypatch.setattr(fresh, "TIMEOUT_SECONDS", 0.2)
    with pytest.raises(CKRMError, match=r"within 0\.2 s"):
        saved_model.run_fresh(tmp_path, flat, calls)


def test_further_formats_are_compared_too(tmp_path, pixels, model, monkeypatch):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    names = ("keras", "onnx", "saved_model")
    arguments = {"widths": WIDTHS, "class_names": NAMES, "scale": 255, "images": pixels}
    found = export_model(model, tmp_path / "good", formats=names, **arguments)
    assert set(found.differences) == set(names)
    assert 0 < found.differences["onnx"] < 1e-5
    assert (found.keras_difference, found.saved_model_difference) == (
        found.differences["keras"],
        found.differences["saved_model"],
    )
    facts = json.loads((found.folder / "widths.json").read_text(encoding="utf-8"))
    assert facts["parity"]["onnx"] == found.differences["onnx"]
    assert (found.folder / "model.onnx").is_file()

    def write_another(flat, path, facts):
        wrong = keras.models.clone_model(flat.model)
        wrong.set_weights([weight * 1.01 for weight in flat.model.get_weights()])
        FORMATS["onnx"].write(replace(flat, model=wrong), path, facts)

    # First in line, so that the refusal comes before a process is started.
    wrong = replace(FORMATS["onnx"], name="wrong", file="wrong.onnx", write=write_another)
    monkeypatch.setitem(FORMATS, "wrong", wrong)
    with pytest.raises(CKRMError, match=r"exported wrong\.onnx"):
        export_model(model, tmp_path / "bad", formats=("wrong", *names), **arguments)
    assert not (tmp_path / "bad").exists()
    with pytest.raises(CKRMError, match="saved_model and keras among them"):
        export_model(model, tmp_path / "bad", formats=("keras",), **arguments)


def test_the_fresh_process_ends_with_the_one_that_asks(tmp_path):
    """Killed, so that it can end nothing itself."""
    place = tmp_path / "number"
    code = f"""
from pathlib import Path
from ckrm_tf.export.flat import FlatModel
from ckrm_tf.export.fresh import run_fresh
tell = "open(path, 'w').write(str(os.getpid()))"
reader = "def read(path): " + tell + "; threading.Event().wait()"
run_fresh("a file", Path({str(place)!r}), FlatModel(None, (), ()), [], reader)
"""
    asking = subprocess.Popen([sys.executable, "-c", code])
    ends = time.monotonic() + 120
    while not (place.exists() and place.read_text()):
        assert asking.poll() is None
        assert time.monotonic() < ends
        time.sleep(0.1)
    fresh_one = int(place.read_text())
    assert not gone(fresh_one)
    asking.kill()
    asking.wait()
    ends = time.monotonic() + 20
    while not gone(fresh_one):
        assert time.monotonic() < ends
        time.sleep(0.1)
