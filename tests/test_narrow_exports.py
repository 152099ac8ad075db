"""Narrowed architectures in every export format: each file computes what the Keras model does."""

from __future__ import annotations

import time

import narrow_laws
import numpy as np
import pytest
from test_narrow_applications import GROUPS, build, pictures

from ckrm_tf.export import export_files

pytest.importorskip("onnxruntime", reason="needs the extra onnx")
pytest.importorskip("ai_edge_litert", reason="needs the extra litert")

FORMATS = ("keras", "saved_model", "onnx", "litert")
# The others cost minutes.
ORDINARY = ("VGG16", "MobileNetV2", "EfficientNetB0")
NAMES = [
    name if name in ORDINARY else pytest.param(name, marks=pytest.mark.long) for name in GROUPS
]


@pytest.mark.parametrize("name", NAMES)
def test_every_format_computes_the_narrowed_model(name, tmp_path):
    started = time.process_time()
    model = build(name)
    subject = narrow_laws.Subject(model, pictures(model))
    (images,) = subject.inputs
    report = export_files(
        subject.small, tmp_path / "out", formats=FORMATS, inputs=images, check="here"
    )
    assert set(report.differences) == set(FORMATS)
    assert max(report.differences.values()) < 1e-4
    # Outputs that do not vary would agree whatever the file holds.
    assert report.spread > 100 * max(report.differences.values())
    shown = ", ".join(f"{k} {v:.1e}" for k, v in report.differences.items())
    print(f"{name}: {shown}, spread {report.spread:.2f}; {time.process_time() - started:.0f} CPU s")


def test_a_file_of_other_weights_is_seen(tmp_path):
    model = build("MobileNetV3Small")
    subject = narrow_laws.Subject(model, pictures(model))
    (images,) = subject.inputs
    whole = export_files(model, tmp_path / "whole", formats=("keras",), inputs=images)
    assert whole.differences["keras"] == 0
    found, wanted = (np.asarray(m(images, training=False)) for m in (subject.small, model))
    assert np.abs(found - wanted).max() > 1e-2 * np.abs(wanted).max()
