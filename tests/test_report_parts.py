"""Sections, figures and drawing of a report, of any record."""

from __future__ import annotations

import re
from dataclasses import replace
from statistics import fmean

import numpy as np
import pytest
from report_page import seen
from report_records import (
    bare_record,
    recorded,
)

from ckrm_tf.reporting import render
from ckrm_tf.reporting.charts.registry import CHARTS, charts_of
from ckrm_tf.reporting.checks.registry import answers
from ckrm_tf.reporting.collect import collect
from ckrm_tf.reporting.drawing import drawing
from ckrm_tf.reporting.record import Record
from ckrm_tf.reporting.sections.base import Page
from ckrm_tf.reporting.sections.registry import SECTIONS


@pytest.fixture(scope="module")
def compared(comparison, full) -> Record:
    """Everything that a comparison can hold: its searches, what holds, a verdict."""
    return replace(collect(comparison), verdicts=full.verdicts)


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


def test_the_page_of_any_record_is_sound_html(any_record):
    page = Page(any_record, charts_of(any_record), answers(any_record))
    found = seen(render.html(page, plotly="/* no script */", images={}))
    assert found.tags["h1"] == found.tags["main"] == 1
    assert len(found.ids) == len(set(found.ids))
    assert set(found.labels) <= set(found.ids)
    assert found.tags["table"] == found.tags["caption"]
    assert render.markdown(page).startswith(f"# {any_record.title}")
