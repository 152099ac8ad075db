"""The checks of a report: each warns of its fault and of nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from report_records import (
    bare_record,
    one_failed,
)

from ckrm_tf.reporting.checks.registry import CHECKS
from ckrm_tf.reporting.record import Estimate, Record

ROOT = Path(__file__).parents[1]


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
    "R010": (one_failed, lambda r: r),
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
