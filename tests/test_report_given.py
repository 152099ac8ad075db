"""Reports on a model of the user's own, searched or narrowed: latency, single images, int8."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
from keras import layers
from rich.console import Console

from ckrm_tf import cost
from ckrm_tf.errors import CKRMError
from ckrm_tf.reporting.collect import collect
from ckrm_tf.stats import macro_auc
from search.given import Given
from search.narrow import narrow_model
from search.report import report_run
from search.report_models import add_latency
from search.report_narrow import ROUNDED
from search.run import run

pytest.importorskip("ai_edge_litert", reason="needs the extra litert")

# Keras 3.15 reads variables through an __array__ without NumPy 2's copy argument when it saves.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
FORMATS = "saved_model,keras,litert-int8"
SIDE, CLASSES = 12, 3


def draw(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise with a faint bar at a height that is the class: not every bar can be seen."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    images = rng.integers(0, 180, (count, SIDE, SIDE)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[2 + 4 * label] += rng.integers(10, 75, 1).astype(np.uint8)
    return images, labels


def console() -> Console:
    return Console(quiet=True)


@pytest.fixture(scope="module")
def brought(tmp_path_factory):
    """A trained model and its data."""
    place = tmp_path_factory.mktemp("brought")
    counts = {"train": 192, "val": 48, "test": 60}
    splits = {name: draw(n, i) for i, (name, n) in enumerate(counts.items())}
    arrays = {}
    for name, (images, labels) in splits.items():
        arrays |= {f"{name}_images": images, f"{name}_labels": labels[:, None]}
    np.savez(place / "bars.npz", **arrays)
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 1)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(44, 3, activation="relu", name="first"),
            layers.Conv2D(24, 3, strides=2, activation="relu", name="second"),
            layers.Flatten(),
            layers.Dense(CLASSES, activation="softmax", name="head"),
        ],
        name="bars",
    )
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    images, labels = splits["train"]
    model.fit(images[..., None], labels, epochs=5, verbose=0)
    found = macro_auc(splits["test"][1], predictions_of(model, splits["test"][0]))
    assert 0.6 < found < 0.999
    model.save(place / "bars.keras")
    model.layers[-1].set_weights([-w for w in model.layers[-1].get_weights()])
    model.save(place / "other.keras")
    return place, splits


@pytest.fixture(scope="module")
def narrowed(brought, tmp_path_factory):
    place, _ = brought
    out = tmp_path_factory.mktemp("narrowed") / "out"
    narrow_model(
        str(place / "bars.keras"),
        macs=0.4,
        data=str(place / "bars.npz"),
        out=str(out),
        epochs=0,
        formats=FORMATS,
    )
    return out


@pytest.fixture(scope="module")
def searched(brought, tmp_path_factory):
    place, _ = brought
    out = tmp_path_factory.mktemp("searched") / "out"
    run(
        None,
        model=str(place / "bars.keras"),
        data=str(place / "bars.npz"),
        out=str(out),
        trials=2,
        epochs=1,
        confirm=0,
        margin=0.3,
        multiple=4,
        formats=FORMATS,
    )
    return out


def predictions_of(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return np.asarray(model(images[..., None].astype("float32"), training=False))


def predictions(path, images: np.ndarray) -> np.ndarray:
    return predictions_of(keras.models.load_model(path), images)


def test_a_narrowed_model_is_shown_with_its_images_and_times(brought, narrowed):
    place, splits = brought
    report_run(str(narrowed), cases=True)
    add_latency(console(), narrowed, formats=("litert",))
    record = collect(narrowed)
    images, labels = splits["test"]
    arms = [
        predictions(path, images)
        for path in (place / "bars.keras", narrowed / "export1" / "model.keras")
    ]
    for network, arm in zip((record.start, record.recommended), arms, strict=True):
        assert network.trained_auc.value == pytest.approx(macro_auc(labels, arm), abs=1e-6)
    differ = np.flatnonzero(arms[0].argmax(1) != arms[1].argmax(1)).tolist()
    assert [d.image for d in record.disagreements] == differ
    assert record.cases == "test split"
    assert {c.images for c in record.classes} == {20}
    # A width of 16 channels and more is rounded up.
    networks = {one.network for one in record.latency}
    assert networks == {"start", "recommended", ROUNDED}
    assert {one.batch for one in record.latency} == {1, 32}


def test_another_model_or_other_images_are_refused(brought, narrowed, tmp_path):
    place, _ = brought
    with pytest.raises(CKRMError, match="expected the model that was narrowed, received another"):
        report_run(str(narrowed), latency=True, model=str(place / "other.keras"))
    told = json.loads((narrowed / "narrow.json").read_text())
    again = tmp_path / "again"
    (again / "export1").mkdir(parents=True)
    (again / "export1" / "model.keras").write_bytes(
        (narrowed / "export1" / "model.keras").read_bytes()
    )
    told["data"]["fingerprint"] = "0" * 16
    (again / "narrow.json").write_text(json.dumps(told))
    with pytest.raises(CKRMError, match="the images of the narrowing"):
        report_run(str(again), cases=True)
    (again / "narrow.json").write_text(json.dumps(told | {"judged": None}))
    with pytest.raises(CKRMError, match="one without a verdict"):
        report_run(str(again), cases=True)
    with pytest.raises(CKRMError, match="--latency or --cases beside them"):
        report_run(str(narrowed), model=str(place / "bars.keras"))


def test_a_searched_model_is_shown_with_its_images_and_times(brought, searched):
    place, splits = brought
    with pytest.raises(CKRMError, match="--model: expected the file of the model"):
        report_run(str(searched), latency=True)
    with pytest.raises(CKRMError, match="expected the model that was searched, received another"):
        report_run(str(searched), latency=True, model=str(place / "other.keras"))
    given = Given(str(place / "bars.keras"))
    report_run(str(searched), cases=True, model=given.model)
    add_latency(console(), searched, formats=("litert",), given=given)
    record = collect(searched)
    images, labels = splits["test"]
    arms = [predictions(place / "bars.keras", images)]
    exported = keras.models.load_model(searched / "export1" / "model.keras")
    arms.append(predictions_of(exported, images))
    for network, arm in zip((record.start, record.recommended), arms, strict=True):
        assert network.trained_auc.value == pytest.approx(macro_auc(labels, arm), abs=1e-6)
    assert record.smaller
    # Widths are multiples of 4 where they are not the model's own.
    assert {w % 4 for w in record.recommended.design.values()} == {0}
    assert cost(exported).params == record.recommended.params
    times = {(one.network, one.batch) for one in record.latency}
    assert {("start", 1), ("recommended", 32)} <= times


@pytest.mark.parametrize("which", ["narrowed", "searched"])
def test_the_file_that_rounds_is_judged_in_record_and_page(which, request):
    folder = request.getfixturevalue(which)
    report_run(str(folder))
    export = collect(folder).export
    (judged,) = export.judged
    assert (judged.name, judged.split, judged.images) == ("litert-int8", "validation", 48)
    assert judged.file.low <= judged.file.value <= judged.file.high
    assert 0.5 < judged.model.value <= 1
    assert export.differences["litert-int8"] > export.differences["keras"]
    assert set(export.tolerances) == {"saved_model", "keras"}
    page = (folder / "report.md").read_text()
    assert "Files that round" in page
    assert "it rounds" in page
    assert f"{judged.file.value:.3f}" in page


def test_a_search_whose_export_lacks_a_format_makes_another(brought, searched):
    place, _ = brought
    again = {
        "model": str(place / "bars.keras"), "data": str(place / "bars.npz"), "out": str(searched),
        "trials": 2, "epochs": 1, "confirm": 0, "margin": 0.3, "multiple": 4,
    }  # fmt: skip
    trained = len((searched / "trials.jsonl").read_text().splitlines())
    run(None, **again, formats="saved_model,keras,litert")
    assert (searched / "export2" / "model.tflite").is_file()
    assert not (searched / "export2" / "model_int8.tflite").exists()
    assert len((searched / "trials.jsonl").read_text().splitlines()) == trained
    with pytest.raises(CKRMError, match="keras and saved_model among them"):
        run(None, **again, formats="litert")
    with pytest.raises(CKRMError, match="another multiple"):
        run(None, **again | {"multiple": 8}, formats=FORMATS)
