"""The report of a run folder: its record, checks, parts, figures and files."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from report_records import (
    HELD,
    JUDGED,
    RESULTS,
    SETTINGS,
    WILD,
    bare_record,
    compared_rows,
    full_record,
    make_comparison,
    make_folder,
    recorded,
)

from ckrm_tf.design.design import Design
from ckrm_tf.errors import CKRMError
from ckrm_tf.reporting import render, words, write_report
from ckrm_tf.reporting.charts.registry import CHARTS, charts_of
from ckrm_tf.reporting.checks.registry import CHECKS, answers
from ckrm_tf.reporting.collect import collect
from ckrm_tf.reporting.drawing import drawing
from ckrm_tf.reporting.evidence import evidence_of, read_evidence, roc, write_evidence
from ckrm_tf.reporting.files import numbered
from ckrm_tf.reporting.record import Estimate, Record, TrainingRow
from ckrm_tf.reporting.sections.base import Page
from ckrm_tf.reporting.sections.registry import SECTIONS
from ckrm_tf.reporting.tables import latex_table, trials_csv
from ckrm_tf.reporting.tex import tex
from ckrm_tf.reporting.tried import front
from ckrm_tf.reporting.write import write_record
from ckrm_tf.stats import macro_auc
from ckrm_tf.tuning.history import Outcome
from search.cli import main
from search.report import report_run

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def ended(tmp_path_factory) -> Path:
    return make_folder(tmp_path_factory.mktemp("run") / "ended", 20, ended=True)


@pytest.fixture(scope="module")
def full(ended) -> Record:
    return full_record(ended)


@pytest.fixture(scope="module")
def failed(tmp_path_factory) -> Record:
    """A search that goes on, with failed trainings and no test split."""
    return collect(make_folder(tmp_path_factory.mktemp("run") / "failed", 100))


@pytest.fixture(scope="module")
def comparison(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "compared"
    return make_comparison(folder, compared_rows(), held=HELD)


@pytest.fixture(scope="module")
def compared(comparison, full) -> Record:
    """Everything that a comparison can hold: its searches, what holds, a verdict."""
    return replace(collect(comparison), verdicts=full.verdicts)


@pytest.fixture(scope="module")
def written(ended, full) -> Path:
    before = {p: p.read_bytes() for p in ended.rglob("*") if p.is_file()}
    path = write_record(ended, full)
    for old, text in before.items():
        assert old.read_bytes() == text, old
    return path


# --- the record


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


# --- evidence


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


# --- checks


def _judged(record: Record, **changes) -> Record:
    return replace(record, verdicts=(replace(record.verdict, **changes),))


def _lam(record: Record, value: float) -> Record:
    return replace(
        record,
        trainings=tuple(replace(t, lam=value, redundancy=value) for t in record.trainings),
        start=replace(record.start, lam={"a": value}),
        recommended=replace(record.recommended, lam={"a": value}),
    )


def _spread(record: Record, sd: float) -> Record:
    aucs = (0.9 - sd, 0.9, 0.9 + sd)
    return replace(record, verdicts=(), tried=tuple(replace(t, aucs=aucs) for t in record.tried))


def _widths(record: Record, change) -> Record:
    axes = [replace(a, recommended=change(a)) for a in record.axes]
    return replace(record, axes=tuple(axes))


def _class_loss(record: Record, loss: float) -> Record:
    rows = list(record.classes[:3])
    rows[0] = replace(rows[0], auc=(Estimate(0.9), Estimate(0.9 - loss)))
    return replace(record, classes=tuple(rows))


def _held(record: Record, holds: bool) -> Record:
    """Six networks beside the start; the largest of them holds or not."""
    tried = [
        replace(record.tried[1], number=n, role="", params=1000 - n, holds=holds or n > 1)
        for n in range(1, 7)
    ]
    return replace(_lam(record, 0.4), tried=(record.tried[0], *tried))


def _start(record: Record, auc: float) -> Record:
    return replace(record, start=replace(record.start, val_auc=Estimate(auc)))


def _edge(record: Record, *, alone: bool) -> Record:
    best = record.recommended.params
    tried = [t for t in record.tried if t.params >= best or not alone]
    return replace(record, tried=tuple(tried))


def _lost(record: Record) -> Record:
    row: TrainingRow = replace(record.trainings[1], status="failed", val_auc=None, reason="OOM")
    return replace(record, trainings=(record.trainings[0], row))


# Of each check: a record that it warns of, and one of which it has nothing to say.
CASES = {
    "R001": (lambda r: _spread(r, 0.02), lambda r: _spread(r, 0.001)),
    "R002": (
        lambda r: _judged(r, low=-0.05, high=0.05),
        lambda r: _judged(r, low=-0.01, high=0.01),
    ),
    "R003": (lambda r: _widths(r, lambda a: a.least), lambda r: _widths(r, lambda a: a.least + 1)),
    "R004": (lambda r: _edge(r, alone=True), lambda r: _edge(r, alone=False)),
    "R005": (lambda r: _class_loss(r, 0.1), lambda r: _class_loss(r, 0.0)),
    "R006": (lambda r: _judged(r, difference=-0.2), lambda r: _judged(r, difference=0.0)),
    "R007": (lambda r: _lam(r, 0.0), lambda r: _lam(r, 0.2)),
    "R008": (lambda r: _start(r, 0.55), lambda r: _start(r, 0.7)),
    "R009": (lambda r: _held(r, True), lambda r: _held(r, False)),
    "R010": (_lost, lambda r: r),
    "R011": (
        lambda r: _judged(r, about="trained models"),
        lambda r: _judged(r, about="networks"),
    ),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.code)
def test_each_check_warns_of_its_fault_and_of_nothing_else(check, full):
    bad, good = CASES[check.code]
    assert check.judge(bad(full)).state == "warns"
    assert check.judge(good(full)).state == "quiet"
    assert check.judge(bare_record()).state == "cannot tell"


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.code)
def test_each_check_is_explained_under_its_number(check):
    text = (ROOT / check.page).read_text()
    assert text.startswith(f"# {check.code}: {check.title}\n")
    assert "## What helps" in text
    (row,) = [r for r in (ROOT / "docs" / "checks.md").read_text().splitlines() if check.code in r]
    assert row == f"| [{check.code}](checks/{Path(check.page).name}) | {check.title} |"


def test_no_page_explains_a_check_that_is_not_there():
    pages = {str(path.relative_to(ROOT)) for path in (ROOT / "docs" / "checks").iterdir()}
    assert pages == {check.page for check in CHECKS}


def test_numbers_of_checks_are_used_once():
    assert len({check.code for check in CHECKS}) == len(CHECKS) == len(CASES)


def test_r001_reads_the_validation_verdict_where_there_is_one(full):
    (judge,) = [c.judge for c in CHECKS if c.code == "R001"]
    wide = replace(full.verdict, unseen=False, low=-0.04, high=0.04)
    assert judge(replace(full, verdicts=(wide,))).state == "warns"
    assert judge(replace(full, verdicts=(replace(wide, low=-0.01, high=0.01),))).state == "quiet"


def test_r007_reads_lambda_where_no_signals_are_recorded(full):
    (judge,) = [c.judge for c in CHECKS if c.code == "R007"]
    for value, state in ((0.0, "warns"), (0.2, "quiet")):
        found = _lam(full, value)
        rows = tuple(replace(t, redundancy=None) for t in found.trainings)
        assert judge(replace(found, trainings=rows)).state == state


def test_r009_does_not_blame_widths_for_what_size_explains(full):
    (judge,) = [c.judge for c in CHECKS if c.code == "R009"]
    found = _held(full, True)
    # Only the smallest is lost.
    tried = (*found.tried[:-1], replace(found.tried[-1], holds=False))
    assert judge(replace(found, tried=tried)).state == "cannot tell"
    assert judge(replace(found, settings={"strategy": "uniform"})).state == "cannot tell"


# --- parts, figures, drawing


@pytest.fixture(params=["full", "failed", "compared", "bare"])
def any_record(request) -> Record:
    return bare_record() if request.param == "bare" else request.getfixturevalue(request.param)


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.name)
def test_each_part_is_made_of_any_record(section, any_record, full, compared):
    page = Page(any_record, charts_of(any_record), answers(any_record))
    blocks = section.make(page)
    if any_record is full or any_record is compared:
        assert blocks or any_record.kind not in section.kinds
    for block in blocks:
        if block.block == "table":
            assert block.caption
            assert re.fullmatch(r"[a-z-]+", block.name)
            assert block.rows
            assert {len(row) for row in block.rows} == {len(block.head)}
            assert max((*block.numeric, *block.prose, 0)) < len(block.head)
            assert not block.states or len(block.states) == len(block.rows)


def test_each_figure_is_there_for_a_full_record_and_missing_for_a_bare_one(full, compared):
    found = [set(charts_of(record)) for record in (full, compared)]
    assert set.union(*found) == set(CHARTS)
    assert not set.intersection(*found)
    assert not charts_of(bare_record())


@pytest.mark.parametrize("name", CHARTS)
def test_the_marks_of_a_figure_fit_each_other(name, full, compared):
    chart = CHARTS[name](full) or CHARTS[name](compared)
    assert chart.name == name
    for mark in chart.marks:
        assert len(mark.x) == len(mark.y) > 0
        for part in (mark.low, mark.high, mark.text):
            assert len(part) in (0, len(mark.x))
        for scale, values in ((chart.x, mark.x), (chart.y, mark.y)):
            told = [v for v in values if v is not None]
            if scale.kind == "names":
                assert set(told) <= set(scale.names)
            else:
                assert np.isfinite(told).all()
                assert scale.kind != "log" or min(told) > 0


def test_the_figure_of_auc_shows_the_means_of_the_journal(full):
    chart = CHARTS["auc_by_params"](full)
    means: dict[int, list[float]] = {}
    for row in recorded("cxr_run.jsonl")[:20]:
        means.setdefault(row["params"], []).append(row["val_auc"])
    shown = {
        x: (y, low, high)
        for m in chart.marks
        if m.kind == "points" and m.low
        for x, y, low, high in zip(m.x, m.y, m.low, m.high, strict=True)
    }
    assert set(shown) == set(means)
    for params, aucs in means.items():
        assert shown[params] == pytest.approx((fmean(aucs), min(aucs), max(aucs)))


def test_the_drawing_is_to_scale(full):
    svg, _ = drawing(full)
    bars = re.findall(r'<rect class="(start|recommended)" x="0" y="[\d.]+" width="([\d.]+)"', svg)
    axes = [a for a in full.axes if a.kind == "width"]
    wide = [float(w) for kind, w in bars if kind == "start"]
    scale = wide[-1] / axes[-1].start
    for (kind, width), axis in zip(
        [b for b in bars if float(b[1]) != 10.0], [a for a in axes for _ in range(2)], strict=True
    ):
        channels = axis.start if kind == "start" else axis.recommended
        assert float(width) == pytest.approx(max(channels * scale, 0.8), abs=0.06)


def test_a_drawing_of_many_widths_says_what_it_leaves_out(full):
    axes = tuple(
        replace(full.axes[0], name=f"w{i}", group=f"w{i}", start=100, recommended=i)
        for i in range(1, 61)
    )
    svg, text = drawing(replace(full, axes=axes))
    assert "w1:" in svg
    assert "w60:" not in svg
    assert "36 further widths" in text


# --- files


class Seen(HTMLParser):
    """What a test asks of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: Counter = Counter()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.labels: list[str] = []
        self.headings: list[int] = []
        self.scopes: list[str | None] = []
        self.captions = 0
        self.bare_images = 0

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags[tag] += 1
        self.links += [given[k] for k in ("src", "href", "srcset", "action", "data") if k in given]
        self.ids += [given["id"]] if "id" in given else []
        self.labels += [given[k] for k in ("aria-labelledby",) if k in given]
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag == "th":
            self.scopes.append(given.get("scope"))
        if tag == "img" and not given.get("alt"):
            self.bare_images += 1


def seen(text: str) -> Seen:
    found = Seen()
    found.feed(text)
    return found


def test_the_page_is_sound_html(written):
    found = seen(written.read_text())
    assert found.tags["main"] == found.tags["h1"] == found.tags["nav"] == 1
    assert found.tags["table"] == found.tags["caption"] > 8
    assert set(found.scopes) == {"row", "col"}
    assert len(found.ids) == len(set(found.ids))
    assert set(found.labels) <= set(found.ids)
    assert {link[1:] for link in found.links if link.startswith("#")} <= set(found.ids)
    assert found.bare_images == 0
    assert found.headings[0] == 1
    assert all(later - earlier <= 1 for earlier, later in pairwise(found.headings))


def test_the_page_of_any_record_is_sound_html(any_record):
    page = Page(any_record, charts_of(any_record), answers(any_record))
    found = seen(render.html(page, plotly="/* no script */", images={}))
    assert found.tags["h1"] == found.tags["main"] == 1
    assert len(found.ids) == len(set(found.ids))
    assert set(found.labels) <= set(found.ids)
    assert found.tags["table"] == found.tags["caption"]
    assert render.markdown(page).startswith(f"# {any_record.title}")


def test_a_start_that_failed_has_a_report(tmp_path):
    folder = make_folder(tmp_path / "run", 3)
    lost = recorded("cxr_run.jsonl")[0] | {"status": "failed", "val_auc": None, "reason": "OOM"}
    (folder / "trials.jsonl").write_text(json.dumps(lost) + "\n")
    found = collect(folder)
    assert found.recommended is None
    page = Page(found, charts_of(found), answers(found))
    text = render.html(page, plotly="/* no script */", images={})
    assert "the starting network has no finished training" in text
    assert "OOM" in text
    # Before any training there is a report too.
    (folder / "trials.jsonl").unlink()
    found = collect(folder)
    assert found.trainings == ()
    assert render.html(Page(found), plotly="/* no script */", images={})


def test_nothing_leaves_the_page(written):
    text = written.read_text()
    loads = [link for link in seen(text).links if not link.startswith(("#", "data:"))]
    assert loads == []
    assert "default-src 'none'" in text
    # The look at links sees one that leaves.
    assert seen('<img src="https://example.org/x.png">').links == ["https://example.org/x.png"]


def test_names_are_text_and_no_html(written, full):
    text = written.read_text()
    assert WILD in full.classes[-1].name
    assert "alert(&#34;x&#34;)" in text
    assert '<script>alert("x")' not in text
    markdown = (written.parent / "report.md").read_text()
    assert "<script>" not in markdown
    lines = [line for line in markdown.splitlines() if line.startswith("|") and "alert" in line]
    assert lines
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines if "test split" in line}) == 1


def test_the_figures_of_the_page_and_of_paper_are_of_one_make(written, full):
    (text,) = re.findall(
        r'<script type="application/json" id="chart-data">(.*?)</script>', written.read_text()
    )
    charts = {chart["name"]: chart for chart in json.loads(text)["charts"]}
    assert charts == {
        name: json.loads(json.dumps(chart.to_dict())) for name, chart in charts_of(full).items()
    }
    for name in charts:
        for kind, head in (("svg", b"<?xml"), ("png", b"\x89PNG")):
            path = written.parent / "figures" / f"{name}.{kind}"
            assert path.read_bytes().startswith(head)
    assert (written.parent / "figures" / "network.svg").exists()


def test_the_csv_has_a_row_for_each_training(written, full):
    rows = list(csv.DictReader(io.StringIO((written.parent / "trials.csv").read_text())))
    assert [int(row["params"]) for row in rows] == [t.params for t in full.trainings]
    assert int(rows[0]["stage4/out"]) == 2048
    assert {row["part"] for row in rows} == {"search"}
    lost = list(csv.DictReader(io.StringIO(trials_csv(_lost(full)))))
    assert [row["val_auc"] == "" for row in lost] == [False, True]


def test_the_latex_table_has_both_networks(full):
    text = latex_table(full)
    assert text.count(r"\\") == 3
    assert f"{JUDGED:,}" in text
    assert "%" not in text.replace(r"\%", "").removeprefix("% Needs")
    assert latex_table(bare_record()).startswith("%")
    assert tex("a_b & 5% {x}") == r"a\_b \& 5\% \{x\}"


def test_a_report_is_made_anew_and_a_card_is_kept(written, full):
    folder = written.parent
    card = folder / "export1" / "MODEL_CARD.md"
    assert f"{JUDGED:,}" in card.read_text()
    card.write_text("my own words")
    (folder / "report.md").write_text("old")
    path = write_record(folder, full)
    assert path == written
    assert card.read_text() == "my own words"
    assert (folder / "report.md").read_text() != "old"
    # What a report adds to the folder is no part of the export the next one reads.
    assert {f.name for f in collect(folder).export.files} == {"model.keras", "saved_model"}


WITHOUT = """
import sys
for name in sys.argv[2].split(","):
    sys.modules[name] = None
from ckrm_tf.reporting import write_report
import search.report
print(write_report(sys.argv[1]).name)
print(*{n.partition(".")[0] for n in sys.modules if sys.modules[n] is not None})
"""


@pytest.mark.parametrize(
    ("missing", "file"), [("plotly", "report.html"), ("jinja2", "report.json")]
)
def test_a_missing_package_fails_no_report(tmp_path, missing, file):
    folder = make_folder(tmp_path / "run", 3)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(folder), missing],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    name, loaded = done.stdout.splitlines()
    assert name == file
    # A report takes no second of TensorFlow's start.
    assert "search" in loaded.split()
    assert not {"tensorflow", "keras"} & set(loaded.split())
    assert (folder / "trials.csv").exists()
    if missing == "plotly":
        text = (folder / "report.html").read_text()
        assert "data:image/svg+xml" in text
        assert "Plotly" not in text


def test_the_command_writes_the_page_and_refuses_another_folder(tmp_path, capsys):
    folder = make_folder(tmp_path / "run", 3)
    main(report_run, [str(folder)])
    assert "report.html" in capsys.readouterr().out
    assert (folder / "report.html").exists()
    with pytest.raises(SystemExit) as ended:
        main(report_run, [str(tmp_path)])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: run folder: expected the --out of")


# --- words


def test_sentences_of_the_verdict(full):
    assert words.verdict(full.verdict).startswith("Equivalent at a margin of 0.02 (787 images")
    wide = replace(full.verdict, status="not shown", low=-0.05, high=0.01)
    assert "no proof of a loss" in words.verdict(wide)
    assert "some AUC was lost" in words.verdict(replace(wide, high=-0.001))
    none = replace(full.verdict, status="no verdict", low=None, high=None)
    assert words.verdict(none).startswith("No verdict about networks")
    assert words.verdict(None).startswith("No verdict")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (words.amount(999_600), "1 M"),
        (words.size(1023), "1023 B"),
        (words.size(90_000_000), "85.8 MiB"),
        (words.milliseconds(0.0123), "12.3 ms"),
        (words.milliseconds(1.5), "1,500 ms"),
        (words.duration(4000), "67 min"),
        (words.times(258, 1), "258 times fewer"),
        (words.times(1, 2), "2 times more"),
        (words.times(2, 2), "the same"),
        (words.estimate(None), "not measured"),
    ],
)
def test_numbers_have_their_units(text, said):
    assert text == said


def test_the_methods_paragraph_says_only_what_is_recorded(full):
    from ckrm_tf.reporting.sections.paper import methods  # noqa: PLC0415 - beside its test

    text = methods(full)
    assert "12 epochs" in text
    assert f"{JUDGED:,}" in text
    less = replace(full, settings={k: v for k, v in SETTINGS.items() if k != "epochs"})
    assert "epochs" not in methods(less)
    assert methods(bare_record()) == "Nothing has been trained."
