"""What predictions show in a report: curves, AUCs, images on which networks differ."""

from __future__ import annotations

import numpy as np
import pytest
from report_records import (
    make_folder,
)

from ckrm_tf.reporting.collect import collect
from ckrm_tf.reporting.evidence import evidence_of, read_evidence, roc, write_evidence
from ckrm_tf.stats import macro_auc


def test_evidence_is_what_the_predictions_say(tmp_path):
    random = np.random.default_rng(1)
    labels = np.arange(60) % 3
    arms = [random.dirichlet([1, 1, 1], 60) + np.eye(3)[labels] * s for s in (0.5, 0.3)]
    designs = ({"w": 8}, {"w": 4})
    found = evidence_of(labels, *arms, ["a", "b", "c"], designs=designs)
    for estimate, arm in zip(found.aucs, arms, strict=True):
        assert estimate.value == pytest.approx(macro_auc(labels, arm))
        assert estimate.low < estimate.value < estimate.high
    named = [arm.argmax(axis=1) for arm in arms]
    assert [d.image for d in found.disagreements] == np.flatnonzero(named[0] != named[1]).tolist()
    assert found.disagreements
    # The area under a drawn curve is the class's AUC.
    for row in found.classes:
        for network, estimate in zip(("start", "recommended"), row.auc, strict=True):
            (curve,) = [c for c in found.curves if (c.label, c.network) == (row.name, network)]
            area = np.trapezoid(curve.true_positive, curve.false_positive)
            assert area == pytest.approx(estimate.value, abs=1e-4)
    write_evidence(tmp_path, found)
    assert read_evidence(tmp_path) == found


def test_tied_scores_are_one_step_of_a_curve():
    truth, scores = np.array([1, 0, 1, 0]), np.array([0.5, 0.5, 0.5, 0.1])
    curve = roc(truth, scores, "a", "start")
    assert (curve.false_positive, curve.true_positive) == ((0.0, 0.5, 1.0), (0.0, 1.0, 1.0))


def test_evidence_of_other_networks_is_not_shown(tmp_path):
    folder = make_folder(tmp_path / "run", 20, ended=True)
    labels = np.arange(12) % 3
    arms = [np.eye(3)[labels] * s + 0.1 for s in (1.0, 0.5)]
    own = collect(folder)
    right = (dict(own.start.design), dict(own.recommended.design))
    write_evidence(folder, evidence_of(labels, *arms, ["a", "b", "c"], designs=right))
    assert collect(folder).curves
    write_evidence(folder, evidence_of(labels, *arms, ["a", "b", "c"], designs=right[::-1]))
    found = collect(folder)
    assert not found.curves
    assert any("other networks" in note for note in found.notes)
