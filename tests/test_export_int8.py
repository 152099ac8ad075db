"""LiteRT in whole numbers: what is in the file, how far it is from the model, what that costs."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
from export_models import MODELS, attention, disturbed, grouped, two_convolutions, two_in_two_out
from keras import layers

from ckrm_tf import CKRMError
from ckrm_tf.export import Judge, export_files, export_model
from ckrm_tf.export.flat import FlatModel
from ckrm_tf.stats import macro_auc

interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="needs the extra litert")

NAME, FILE = "litert-int8", "model_int8.tflite"
# Keras saves through `np.array(variable)`, which TensorFlow's __array__ does not fit yet.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)
ORDINARY = (two_convolutions, two_in_two_out, grouped, attention)
ROWS = [b if b in ORDINARY else pytest.param(b, marks=pytest.mark.long) for b in MODELS]


def cases(model: keras.Model, count: int = 48) -> list[np.ndarray]:
    """Uniform cases of every input, of a brightness of their own."""
    rng, found = np.random.default_rng(1), []
    for port in FlatModel.of(model).inputs:
        shape = [side or 16 for side in port.shape[1:]]
        bright = rng.uniform(0.2, 1.0, (count, *[1] * len(shape)))
        found.append(rng.random((count, *shape)) * bright * (255 if port.dtype == "uint8" else 1))
    return found


@pytest.mark.parametrize("build", ROWS, ids=lambda build: build.__name__)
def test_every_model_is_near_in_whole_numbers(build, tmp_path):
    model = disturbed(build())
    given = cases(model, 2 if build.__name__ == "fixed_batch" else 48)
    report = export_files(model, tmp_path / "e", formats=(NAME,), inputs=given, check="here")
    # Rounding shows, and is small beside what tells one case from another.
    assert 0 < report.differences[NAME] < report.spread
    parity = json.loads((report.folder / "export.json").read_text())["parity"]
    assert parity[NAME] == {"difference": report.differences[NAME], "tolerance": None}


def test_all_of_it_is_in_whole_numbers(tmp_path):
    model = disturbed(two_convolutions())
    export_files(model, tmp_path / "e", formats=("litert", NAME), inputs=cases(model), check="here")
    kinds = {}
    for file in ("model.tflite", FILE):
        found = interpreter.Interpreter(model_path=str(tmp_path / "e" / file))
        ends = {one["index"] for one in (*found.get_input_details(), *found.get_output_details())}
        inner = [one for one in found.get_tensor_details() if one["index"] not in ends]
        kinds[file] = {np.dtype(one["dtype"]).kind for one in inner}
    assert kinds[FILE] == {"i"}
    assert "f" in kinds["model.tflite"]


def test_ranges_come_from_the_examples(tmp_path):
    model = disturbed(two_convolutions())
    (seen,) = cases(model)

    def difference(name: str, examples: np.ndarray) -> float:
        return export_files(
            model,
            tmp_path / name,
            formats=(NAME,),
            inputs=seen,
            examples=examples,
            check="here",
        ).differences[NAME]

    # Examples much darker than the cases: what is brighter is cut off.
    assert difference("dark", 0.05 * seen) > 3 * difference("alike", seen[:40])


def test_without_examples_it_is_refused_before_anything_is_written(tmp_path):
    model = two_convolutions()
    with pytest.raises(CKRMError, match="litert-int8: expected `examples`"):
        export_files(model, tmp_path / "e", formats=("keras", NAME))
    with pytest.raises(CKRMError, match="litert-int8: expected `examples`"):
        export_model(
            classifier(),
            tmp_path / "e",
            class_names=tuple("abc"),
            scale=1,
            formats=("keras", "saved_model", NAME),
            **network(),
        )
    assert list(tmp_path.iterdir()) == []


def network() -> dict:
    from ckrm_tf.families.vgg import VGGFamily  # noqa: PLC0415 - kept with its only use

    family = VGGFamily((6,), (1,), (8, 8, 1), 3)
    return {"family": family, "design": family.start}


def classifier() -> keras.Model:
    family = network()["family"]
    return disturbed(family.build(family.start))


def labelled(count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Images whose brightness tells the class, not always."""
    rng = np.random.default_rng(2)
    labels = np.arange(count) % 3
    level = (60 + 40 * labels + rng.normal(0, 30, count))[:, None, None, None]
    return np.clip(level + rng.normal(0, 20, (count, 8, 8, 1)), 0, 255).astype("float32"), labels


def test_the_auc_of_the_file_stands_beside_the_models(tmp_path):
    model, (images, labels) = classifier(), labelled()
    report = export_model(
        model,
        tmp_path / "e",
        class_names=tuple("abc"),
        scale=255,
        formats=("keras", "saved_model", NAME),
        examples=images[::2],
        judge=Judge(images, labels, "validation"),
        **network(),
    )
    told = report.judged[NAME]
    assert json.loads((report.folder / "widths.json").read_text())["judged"][NAME] == told
    runner = interpreter.Interpreter(model_path=str(report.folder / FILE)).get_signature_runner()
    answers = {
        "file": runner(image=images)["probabilities"],
        "model": np.asarray(keras.ops.softmax(model(images / 255, training=False))),
    }
    for side, found in answers.items():
        assert told[side]["value"] == pytest.approx(macro_auc(labels, found), abs=1e-6)
        assert told[side]["low"] < told[side]["value"] < told[side]["high"]
    assert told["file"]["value"] != told["model"]["value"]
    assert told["difference"] == pytest.approx(told["file"]["value"] - told["model"]["value"])
    assert told["low"] < told["difference"] < told["high"]
    assert (told["split"], told["images"]) == ("validation", 60)


def test_labels_that_allow_no_interval_are_told_and_fail_nothing(tmp_path):
    model = disturbed(keras.Sequential([keras.Input((4,)), layers.Dense(2, "softmax")]))
    images = np.random.default_rng(3).random((6, 4)).astype("float32")
    judge = Judge(images, np.array([0, 0, 0, 0, 0, 1]), "validation")
    report = export_files(
        model, tmp_path / "e", formats=(NAME,), inputs=images, judge=judge, check="here"
    )
    assert "twice" in report.judged[NAME]["why"] or "two" in report.judged[NAME]["why"]
