"""The record of a run folder: what it takes from the files, and what it refuses."""

from __future__ import annotations

import json
from statistics import fmean

import numpy as np
import pytest
from report_records import (
    JUDGED,
    RESULTS,
    make_folder,
    recorded,
)

from ckrm_tf.design.design import Design
from ckrm_tf.errors import CKRMError
from ckrm_tf.reporting import write_report
from ckrm_tf.reporting.charts.registry import CHARTS
from ckrm_tf.reporting.checks.registry import CHECKS
from ckrm_tf.reporting.collect import collect
from ckrm_tf.reporting.files import numbered
from ckrm_tf.reporting.sections.base import Page
from ckrm_tf.reporting.sections.registry import SECTIONS
from ckrm_tf.reporting.tried import front
from ckrm_tf.tuning.history import Outcome


def test_the_record_has_what_the_folder_has(ended):
    found, rows = collect(ended), recorded("cxr_run.jsonl")[:20]
    assert [t.params for t in found.trainings] == [row["params"] for row in rows]
    assert found.start.params == rows[0]["params"]
    assert found.recommended.params == JUDGED
    aucs = [row["val_auc"] for row in rows if row["params"] == JUDGED]
    assert len(aucs) > 1
    assert found.recommended.val_auc.value == pytest.approx(fmean(aucs))
    assert (found.recommended.val_auc.low, found.recommended.val_auc.high) == (min(aucs), max(aucs))
    folds = json.loads((RESULTS / "folds" / f"{JUDGED}.json").read_text())["folds"]
    assert found.verdict.difference == folds["non_inferiority"]["difference"]
    assert (found.verdict.status, found.verdict.images) == ("equivalent", folds["images"])
    assert found.recommended.test_auc.low == folds["candidate"]["macro_auc"]["low"]
    assert [row.name for row in found.classes] == list(folds["start"]["classes"])
    assert json.loads(json.dumps(found.to_dict()))["folder"] == "ended"


def test_a_comparison_of_another_candidate_is_not_the_verdict(tmp_path):
    folder = make_folder(tmp_path / "run", 20, ended=True)
    other = RESULTS / "folds" / "38564.json"
    (folder / "folds3.json").write_text(other.read_text())
    found = collect(folder)
    assert [v.ours for v in found.verdicts if v.source == "folds3.json"] == [False]
    assert found.verdict.source == "summary.json"
    assert found.classes == ()


def test_a_search_that_goes_on_says_so(failed):
    assert not failed.finished
    assert failed.notes
    assert failed.verdict is None
    assert len(failed.failed) == 1
    assert failed.recommended.params < failed.start.params


def test_seeds_of_another_length_are_no_part_of_a_mean(tmp_path):
    folder = make_folder(tmp_path / "run", 3)
    rows = list(recorded("cxr_run.jsonl")[:3])
    rows.append(rows[0] | {"epochs": 2, "val_auc": 0.1})
    (folder / "trials.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = collect(folder)
    assert found.start.val_auc.value == rows[0]["val_auc"]
    assert len(found.trainings) == 4
    page = Page(found)
    (part,) = [s for s in SECTIONS if s.name == "excluded"]
    (table,) = part.make(page)
    assert [row[0] for row in table.rows] == ["4"]


@pytest.mark.parametrize(
    ("file", "text"),
    [("summary.json", "{"), ("summary.json", "[]"), ("run.json", "7"), ("run.json", "{}")],
)
def test_a_damaged_file_is_named(tmp_path, file, text):
    folder = make_folder(tmp_path / "run", 20, ended=True)
    (folder / file).write_text(text)
    with pytest.raises(CKRMError):
        collect(folder)


@pytest.mark.parametrize("file", ["folds3.json", "evidence.json", "latency.json", "baselines.json"])
@pytest.mark.parametrize("text", ["{", '{"candidate": {}}'])
def test_a_damaged_piece_beside_the_run_is_left_out_and_told(tmp_path, file, text):
    folder = make_folder(tmp_path / "run", 20, ended=True)
    assert not collect(folder).notes
    (folder / file).write_text(text)
    found = collect(folder)
    assert len([note for note in found.notes if file in note]) == 1
    assert found.recommended.params == JUDGED


def test_trainings_of_folds_stand_apart(tmp_path):
    folder = make_folder(tmp_path / "run", 20, ended=True)
    before = collect(folder)
    place = folder / "folds3" / "fold2"
    place.mkdir(parents=True)
    (place / "trials.jsonl").write_text(json.dumps(recorded("cxr_run.jsonl")[0]) + "\n")
    found = collect(folder)
    assert [t.part for t in found.trainings if t.part] == ["folds3/fold2"]
    assert (found.tried, found.start) == (before.tried, before.start)
    (part,) = [s for s in SECTIONS if s.name == "seeds"]
    tables = [block.name for block in part.make(Page(found)) if block.block == "table"]
    assert tables == ["seeds", "folds"]


def test_a_search_by_folds_counts_the_trainings_of_every_fold(tmp_path):
    folder = make_folder(tmp_path / "run", 3)
    rows = [
        {**row, "seed": seed, "fold": seed - 1, "val_auc": row["val_auc"] - 0.05 * seed}
        for row in recorded("cxr_run.jsonl")[:3]
        for seed in (1, 2)
    ]
    (folder / "trials.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = collect(folder)
    first = [row["val_auc"] for row in rows[:2]]
    assert (found.start.trainings, found.start.val_auc.value) == (2, pytest.approx(fmean(first)))
    if found.trainings[0].fold is None:
        pytest.skip("this version's journal knows no folds")
    # Folds differ, and that is no noise of a network.
    (judge,) = [c.judge for c in CHECKS if c.code == "R001"]
    assert judge(found).state == "cannot tell"
    assert all(mark.role != "limit" for mark in CHARTS["auc_by_params"](found).marks)


def test_settings_that_may_change_stand_beside_the_others(tmp_path):
    folder = make_folder(tmp_path / "run", 3)
    marker = json.loads((folder / "run.json").read_text())
    marker |= {"schema": 1, "free": {"trials": 7, "out": "/somewhere/else"}}
    (folder / "run.json").write_text(json.dumps(marker))
    found = collect(folder)
    assert found.settings["trials"] == 7
    assert "--trials 7" in found.command
    assert "/somewhere" not in json.dumps(found.to_dict())


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(CKRMError, match=r"run\.json or a narrow\.json"):
        write_report(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_narrowed_model_has_a_report(tmp_path):
    verdict = {
        "split": "test", "images": 113, "auc_reference": 0.9, "auc_candidate": 0.89,
        "difference": -0.01, "low": -0.015, "high": -0.005, "margin": 0.02, "p_value": 0.01,
        "non_inferior": True, "equivalent": True, "confidence": 0.95, "folds": 1,
    }  # fmt: skip
    narrowed = {
        "schema": 1, "command": ["m.keras", "--macs", ".5"], "model": "/somewhere/m.keras",
        "before": {"params": 1000, "macs": 5000}, "after": {"params": 400, "macs": 2500},
        "widths": {"conv1": [32, 16], "conv2": [64, 20]}, "frozen": {"head": "output"},
        "judged": verdict, "versions": {"keras": "3.15.1"},
    }  # fmt: skip
    (tmp_path / "narrow.json").write_text(json.dumps(narrowed))
    found = collect(tmp_path)
    assert (found.kind, found.verdict.status, found.verdict.images) == ("narrow", "equivalent", 113)
    assert [(a.start, a.recommended) for a in found.axes] == [(32, 16), (64, 20)]
    text = write_report(tmp_path).read_text()
    assert "2.5 times fewer parameters" in text
    assert "/somewhere" not in text
    narrowed["judged"] = None
    (tmp_path / "narrow.json").write_text(json.dumps(narrowed))
    assert collect(tmp_path).verdict is None


def test_the_newest_of_numbered_files_comes_first(tmp_path):
    for name in ("final.json", "final_2.json", "final_10.json", "finally.json", "folds3.json"):
        (tmp_path / name).write_text("{}")
    found = [p.name for p in numbered(tmp_path, "final")]
    assert found == ["final_10.json", "final_2.json", "final.json"]


def test_the_front_is_what_nothing_beats():
    random = np.random.default_rng(1)
    for _ in range(50):
        params, aucs = random.integers(1, 9, 12), random.integers(0, 6, 12) / 10
        history = [
            Outcome(Design({"w": i + 1}), (auc,) if i else (), int(p))
            for i, (p, auc) in enumerate(zip(params, aucs, strict=True))
        ]
        points = {(o.params, o.auc) for o in history if not o.failed}

        def beaten(p, a, points=points):
            return any(q <= p and b >= a and (q, b) != (p, a) for q, b in points)

        best = {(p, a) for p, a in points if not beaten(p, a)}
        found = [(history[i].params, history[i].auc) for i in front(history)]
        assert set(found) == best
        assert len(found) == len(set(found))
