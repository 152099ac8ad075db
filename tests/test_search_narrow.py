"""`python -m search.narrow` and `search.cost`: what they print, write and refuse."""

from __future__ import annotations

import importlib.util
import json

import keras
import numpy as np
import pytest
from keras import layers, ops
from scipy.special import expit, log_softmax, softmax

from ckrm_tf import CKRMError, cost
from ckrm_tf.models.facts import ModelFacts
from ckrm_tf.train.distill import TEMPERATURE
from ckrm_tf.train.fine_tune import _taught, check_taught
from ckrm_tf.train.way import WEIGHT
from search.cli import main
from search.cost import cost_of
from search.narrow import narrow_model

# Keras 3.15 reads variables through an __array__ without NumPy 2's copy argument when it saves.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SIDE, CLASSES = 12, 3
INT8 = ("--formats", "keras,litert-int8")


def draw(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise with a bright bar at a height that is the class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    images = rng.integers(0, 120, (count, SIDE, SIDE), np.uint8)
    for image, label in zip(images, labels, strict=True):
        row = 2 + 4 * label
        image[row : row + 2] += rng.integers(20, 100, (2, 1), np.uint8)
    return images, labels


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A trained model and its data."""
    place = tmp_path_factory.mktemp("narrow")
    splits = {
        name: draw(n, i) for i, (name, n) in enumerate([("train", 96), ("val", 48), ("test", 60)])
    }
    arrays = {}
    for name, (images, labels) in splits.items():
        arrays |= {f"{name}_images": images, f"{name}_labels": labels[:, None]}
    np.savez(place / "bars.npz", **arrays)
    shifted = {k: (v + 1) % CLASSES if k.endswith("labels") else v for k, v in arrays.items()}
    np.savez(place / "shifted.npz", **shifted)
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 1)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(12, 3, activation="relu", name="first"),
            layers.Conv2D(12, 3, strides=2, activation="relu", name="second"),
            layers.Flatten(),
            layers.Dense(CLASSES, activation="softmax", name="head"),
        ],
        name="bars",
    )
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    images, labels = splits["train"]
    model.fit(images[..., None], labels, epochs=8, verbose=0)
    model.save(place / "bars.keras")
    return place


def run(folder, *flags: str) -> None:
    main(narrow_model, [str(folder / "bars.keras"), *flags])


def refused(capsys, folder, *flags: str) -> str:
    with pytest.raises(SystemExit) as stop:
        run(folder, *flags)
    assert stop.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def test_with_data_it_mends_trains_judges_and_exports(folder, tmp_path, capsys):
    out = tmp_path / "out"
    run(folder, "--macs", "0.5", "--data", str(folder / "bars.npz"), "--out", str(out))
    printed = capsys.readouterr().out
    assert "pixels from 0 to 255 (layer rescaling" in printed
    assert "as given  AUC" in printed
    assert "verdict   AUC" in printed
    found = json.loads((out / "narrow.json").read_text())
    assert 0.3 < found["after"]["macs"] / found["before"]["macs"] <= 0.5
    assert found["judged"]["images"] == 60
    assert found["judged"]["auc_candidate"] > 0.8
    assert found["widths"]["first"][1] < found["widths"]["first"][0] == 12
    small = keras.models.load_model(out / "export1" / "model.keras")
    assert cost(small).params == found["after"]["params"]
    assert (out / "export1" / "saved_model").is_dir()
    # Nothing is overwritten.
    assert "in use" in refused(capsys, folder, "--macs", "0.5", "--out", str(out))


def test_without_data_nothing_is_judged(folder, tmp_path, capsys):
    flags = ("--params", "0.4", "--out", str(tmp_path / "out"), "--formats", "keras")
    # A layer that is left alone keeps what it reads, too.
    run(folder, *flags, "--freeze", "head")
    assert "nothing was judged" in capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "narrow.json").read_text())
    assert found["judged"] is None
    assert found["widths"]["second"] == [12, 12]
    assert found["widths"]["first"][1] < 12
    assert "free" in refused(capsys, folder, "--params", "0.4", "--freeze", "[first, second]")


def test_what_cannot_be_done_is_told_in_a_line(folder, tmp_path, capsys):
    out = ("--out", str(tmp_path / "out"))
    data = ("--data", str(folder / "shifted.npz"))
    assert "one of --share" in refused(capsys, folder, *out)
    assert "--share, --macs" in refused(capsys, folder, "--share", ".5", "--macs", ".5", *out)
    assert "Did you mean 'test'" in refused(capsys, folder, "--macs", ".5", "--unseen", "tset")
    assert "unknown flag" in refused(capsys, folder, "--mac", ".5", *out)
    assert "LOW,HIGH" in refused(capsys, folder, "--macs", ".5", *data, "--pixels", "7", *out)
    # Every class is called another: the model as given knows nothing of these.
    assert "above chance" in refused(capsys, folder, "--macs", ".5", *data, *out)
    if importlib.util.find_spec("ai_edge_litert"):
        assert "--data with it" in refused(capsys, folder, "--macs", ".5", *out, *INT8)
    # What failed leaves no folder.
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_somebody_elses_stays(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = ("--data", str(folder / "shifted.npz"))
    assert "above chance" in refused(capsys, folder, "--macs", ".5", *data)
    assert not (tmp_path / "runs").exists()
    (tmp_path / "mine" / "empty").mkdir(parents=True)
    out = ("--out", "mine/empty")
    assert "above chance" in refused(capsys, folder, "--macs", ".5", *data, *out)
    assert (tmp_path / "mine" / "empty").is_dir()


def test_the_model_as_given_may_teach(folder, tmp_path, capsys):
    data = ("--data", str(folder / "bars.npz"), "--formats", "keras", "--learning-rate", "0.01")
    weights = {}
    for name, flags in (("alone", ()), ("taught", ("--distill",))):
        out = tmp_path / name
        run(folder, "--macs", "0.5", *data, *flags, "--out", str(out))
        told = ", taught by the model as given" in capsys.readouterr().out
        assert told == (name == "taught")
        weights[name] = keras.models.load_model(out / "export1" / "model.keras").get_weights()
    pairs = zip(weights["alone"], weights["taught"], strict=True)
    assert max(np.abs(a - b).max() for a, b in pairs) > 1e-4
    assert "--distill: expected images to train on, received --epochs 0" in refused(
        capsys, folder, "--macs", "0.5", *data, "--distill", "--epochs", "0"
    )
    assert "received no --data" in refused(capsys, folder, "--macs", "0.5", "--distill")


def facts_of(output: str, classes: int) -> ModelFacts:
    return ModelFacts((SIDE, SIDE, 1), 0.0, 1.0, classes, output, ("told", "told"))


def test_the_loss_of_the_taught_is_the_same_whatever_the_model_returns():
    """Softmax, logits, and one unit as a sigmoid or a logit: the loss of the two logits 0, z."""
    rng = np.random.default_rng(1)
    z, labels = rng.normal(size=(6, 1)), rng.integers(0, 2, 6)
    soft = softmax(rng.normal(size=(6, 2)), axis=1)
    wanted = np.hstack([labels[:, None], soft])
    both = np.hstack([0 * z, z])
    answers = {"logits": both, "softmax": softmax(both, axis=1)}
    rows = list(answers.items())
    rows += [("logits", z), ("sigmoid", expit(z))]
    losses = [np.asarray(_taught(facts_of(name, 2))(wanted, ops.array(a))) for name, a in rows]
    for found in losses:
        np.testing.assert_allclose(found, losses[0], rtol=1e-5)
    own = -log_softmax(both, axis=1)[np.arange(6), labels]
    told = -(soft * log_softmax(both / TEMPERATURE, axis=1)).sum(axis=1)
    right = (1 - WEIGHT) * own + WEIGHT * TEMPERATURE**2 * told
    np.testing.assert_allclose(losses[0], right, rtol=1e-5)
    assert np.abs(right - own).max() > 0.01


def test_several_sigmoids_cannot_be_taught():
    with pytest.raises(CKRMError, match="received 3 sigmoids"):
        check_taught(facts_of("sigmoid", 3), np.ones((4, 3)), 4)
    with pytest.raises(CKRMError, match=r"expected shape \(5, 3\)"):
        check_taught(facts_of("softmax", 3), np.ones((4, 3)), 5)
    check_taught(facts_of("softmax", 3), np.ones((4, 3)), 4)


def test_cost_and_groups_are_printed(folder, capsys):
    main(cost_of, [str(folder / "bars.keras")])
    printed = capsys.readouterr().out
    assert "first" in printed
    assert f"{cost(keras.models.load_model(folder / 'bars.keras')).params:,}" in printed
    main(cost_of, [str(folder / "bars.keras"), "--groups"])
    assert "head: the activation softmax mixes channels" in capsys.readouterr().out


@pytest.mark.parametrize("flags", [{"workers": 2}, {"cluster": "auto"}])
def test_one_fine_tuning_is_not_spread(flags):
    with pytest.raises(CKRMError, match=r"--workers and --cluster: .*narrow, whose fine-tuning"):
        narrow_model("none.keras", macs=0.5, **flags)
    with pytest.raises(CKRMError, match=r"none\.keras"):
        narrow_model("none.keras", macs=0.5, workers=1)
