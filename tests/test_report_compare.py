"""The report of a comparison, and what it lends to the report of a search."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest
from report_records import HELD, compared_rows, make_comparison, make_folder

from ckrm_tf.errors import CKRMError
from ckrm_tf.reporting import render, words, write_report
from ckrm_tf.reporting.charts.registry import CHARTS, charts_of
from ckrm_tf.reporting.checks.registry import CHECKS
from ckrm_tf.reporting.collect import collect
from ckrm_tf.reporting.comparison import Spread
from ckrm_tf.reporting.record import Baseline, Record
from ckrm_tf.reporting.sections.base import Page
from ckrm_tf.reporting.sections.registry import SECTIONS
from search.cli import main
from search.report import report_run


@pytest.fixture(scope="module")
def compared(comparison) -> Record:
    return collect(comparison)


def test_the_record_of_a_comparison_has_what_its_rows_have(comparison):
    found, runs = collect(comparison), compared_rows()
    assert (found.kind, found.finished, found.recommended) == ("compare", True, None)
    assert found.start.params == 2015939
    starts = {repeats[0].seed: repeats[0].val_auc for repeats in runs["ckrm"]}
    assert found.start.val_auc.value == pytest.approx(fmean(starts.values()))
    assert [s.name for s in found.comparison.strategies] == list(runs)
    for one in found.comparison.strategies:
        each = [
            min([rows[0].params, *(r.best_params for r in rows[-1:])]) for rows in runs[one.name]
        ]
        assert one.after_all(10).each == tuple(each)
        assert one.after_all(99) == one.after_all(10)
        assert one.cpu.each == tuple(rows[-1].cumulative_cpu_seconds for rows in runs[one.name])
        assert one.held[0].params.each == HELD[one.name]
    assert json.loads(json.dumps(found.to_dict()))["kind"] == "compare"
    assert "--strategies ckrm,noise,random" in found.command
    assert "--strategy " not in found.command


def test_the_figures_of_a_comparison_show_its_rows(compared):
    runs = compared_rows()
    lines = {m.name: m for m in CHARTS["params_by_training"](compared).marks if m.kind == "line"}
    bands = {m.name: m for m in CHARTS["params_by_training"](compared).marks if m.kind == "band"}
    for name, repeats in runs.items():
        ends = sorted(rows[-1].best_params for rows in repeats)
        assert (bands[name].low[-1], lines[name].y[-1], bands[name].high[-1]) == tuple(ends)
        assert len(set(lines[name].y)) > 1
    times = {m.name: m for m in CHARTS["params_by_cpu"](compared).marks if m.kind == "line"}
    for name, repeats in runs.items():
        mark = times[name]
        for x, y in zip(mark.x, mark.y, strict=True):
            each = [
                min(rows[0].params, *(
                    r.best_params for r in rows if r.cumulative_cpu_seconds <= x
                )) if rows[0].cumulative_cpu_seconds <= x else rows[0].params
                for rows in repeats
            ]  # fmt: skip
            assert y == sorted(each)[1]
    points = [m for m in CHARTS["auc_by_strategy"](compared).marks if m.kind == "points"]
    assert [len(m.x) for m in points] == [30, 30, 30]
    assert points[1].y[1] == pytest.approx(
        runs["noise"][0][1].val_auc - runs["noise"][0][0].val_auc
    )


def test_the_ranges_of_two_strategies_meet_or_lie_apart(tmp_path):
    def told(name, held):
        page = Page(collect(make_comparison(tmp_path / name, compared_rows(), held=held)))
        (part,) = [s for s in SECTIONS if s.name == "compared"]
        return next(block.items for block in part.make(page) if block.block == "items")

    assert told("meet", HELD) == (
        "ckrm and noise: the ranges meet.",
        "ckrm and random: the ranges meet.",
    )
    far = HELD | {"noise": (300000, 400000, 500000), "random": (30000, 40000, 50000)}
    assert told("apart", far) == (
        "ckrm and noise: the ranges lie apart, ckrm has the smaller networks.",
        "ckrm and random: the ranges lie apart, random has the smaller networks.",
    )


def test_never_is_above_every_number_of_a_spread():
    assert words.spread(Spread.of([8, 2, None])) == "8 (2 to never)"
    assert words.spread(Spread.of([None, None])) == "never"
    assert Spread.of([1, 2]).apart(Spread.of([3, None]))
    assert not Spread.of([1, None]).apart(Spread.of([3, 4]))
    assert not Spread.of([None]).apart(Spread.of([None]))


def test_a_comparison_has_its_own_files(tmp_path, comparison, capsys):
    runs = compared_rows()
    folder = make_comparison(tmp_path / "run", runs, held=HELD)
    before = {p: p.read_bytes() for p in folder.iterdir()}
    main(report_run, [str(folder)])
    assert "report.html" in capsys.readouterr().out
    assert {p: p.read_bytes() for p in before} == before
    assert not (folder / "trials.csv").exists()
    rows = list(csv.DictReader(io.StringIO((folder / "strategies.csv").read_text())))
    assert len(rows) == 3 * 3 * len((1, 2, 3, 5, 10))
    last = [r for r in rows if r["trainings"] == "10"]
    assert [int(r["params_held"]) for r in last] == [p for each in HELD.values() for p in each]
    assert [int(r["params"]) for r in last] == [
        each[-1].best_params for repeats in runs.values() for each in repeats
    ]
    assert {r["params_held"] for r in rows if r["trainings"] == "5"} == {""}
    table = (folder / "table.tex").read_text()
    assert table.count(r"\\") == 1 + 3
    assert "91,665 (54,734 to 102,235)" in table
    text = (folder / "report.html").read_text()
    # The first part is what the first link leads to.
    assert text.count('href="#compared"') == 2
    assert "strategies.csv" in text
    markdown = (folder / "report.md").read_text()
    assert "| ckrm | 44,732 (33,519 to 67,784) | 91,665 (54,734 to 102,235) |" in markdown


def test_a_comparison_that_goes_on_says_what_it_has(tmp_path):
    whole = compared_rows()
    begun = collect(make_comparison(tmp_path / "begun", {}))
    assert (begun.finished, begun.start) == (False, None)
    assert not charts_of(begun)
    assert "none has ended" in render.markdown(Page(begun))
    first = {name: repeats[:1] for name, repeats in whole.items()}
    one = collect(make_comparison(tmp_path / "one", first))
    assert not one.finished
    assert any("--hold" in note for note in one.notes)
    text = render.markdown(Page(one, charts_of(one)))
    assert "1 of 3 repeats so far" in text
    assert "What holds over new seeds" not in text
    # One repeat has no range.
    assert {m.kind for m in CHARTS["params_by_training"](one).marks} == {"line"}
    # What was confirmed of other repeats is no part of it.
    other = collect(make_comparison(tmp_path / "other", first, held=HELD))
    assert other.comparison.seeds == ()


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("summary.json", '{"strategies": {}}'),
        ("summary.json", '{"strategies": {"ckrm": {}}, "options": {"trainings": 1, "repeats": 1}}'),
        ("confirmed.json", "{}"),
        ("trainings.csv", "strategy,repeat\nckrm,1\n"),
    ],
)
def test_a_damaged_comparison_is_named(tmp_path, file, text):
    folder = make_comparison(tmp_path / "run", compared_rows(), held=HELD)
    (folder / file).write_text(text)
    with pytest.raises(CKRMError, match=file):
        collect(folder)


# --- baselines


def _with_baselines(tmp_path, **other) -> Path:
    folder = make_folder(tmp_path / "run", 20, ended=True)
    compared = make_comparison(tmp_path / "compared", compared_rows())
    marker = json.loads((compared / "run.json").read_text())
    (compared / "run.json").write_text(json.dumps(marker | other))
    main(report_run, [str(folder), "--baselines", str(compared)])
    return folder


def test_unguided_searches_stand_beside_a_search(tmp_path, capsys):
    folder = _with_baselines(tmp_path)
    found, runs = collect(folder), compared_rows()
    assert {b.strategy for b in found.baselines} == {"noise", "random"}
    start = runs["random"][0][0].widths
    for name in ("noise", "random"):
        rows = [r for each in runs[name] for r in each if r.widths != start]
        own = [b for b in found.baselines if b.strategy == name]
        assert {b.text for b in own} == {r.widths for r in rows}
        for b in own:
            assert b.aucs == tuple(r.val_auc for r in rows if r.widths == b.text)
    said = capsys.readouterr().out
    assert f"{len(found.baselines)} networks of noise, random" in said
    marks = {m.name: m for m in CHARTS["auc_by_params"](found).marks}
    shown = [b for b in found.baselines if b.strategy == "random"]
    assert len(marks["baseline: random"].x) == len(shown) > 0
    # A later report has them still.
    write_report(folder)
    assert collect(folder).baselines == found.baselines
    assert "baseline: noise" in (folder / "report.html").read_text()


@pytest.mark.parametrize(
    ("other", "word"), [({"epochs": 3}, "epochs"), ({"pixels": "f" * 16}, "other data")]
)
def test_baselines_of_other_trainings_are_refused(tmp_path, capsys, other, word):
    with pytest.raises(SystemExit):
        _with_baselines(tmp_path, **other)
    assert word in capsys.readouterr().err
    assert not (tmp_path / "run" / "baselines.json").exists()


def test_only_a_comparison_gives_baselines_and_only_to_a_search(tmp_path, capsys):
    folder = make_folder(tmp_path / "run", 3)
    compared = make_comparison(tmp_path / "compared", compared_rows())
    for place, given, word in (
        (folder, folder, "the folder of a comparison"),
        (folder, tmp_path / "nowhere", "the folder of a comparison"),
        (compared, compared, "the report of a search"),
    ):
        with pytest.raises(SystemExit):
            main(report_run, [str(place), "--baselines", str(given)])
        assert word in capsys.readouterr().err


def test_r009_looks_at_the_baselines_where_there_are_any(full):
    (judge,) = [c.judge for c in CHECKS if c.code == "R009"]
    best, start = full.recommended.params, full.start.val_auc.value

    def beside(*rows):
        networks = [
            Baseline("random", f"n{n}", params, 1, (auc,)) for n, (params, auc) in enumerate(rows)
        ]
        return judge(replace(full, baselines=tuple(networks)))

    lost, large = [(best, start - 0.0101)] * 4, (best + 1, start)
    assert beside(*lost, large).state == "quiet"
    assert beside(*lost).state == "cannot tell"
    found = beside(*lost, (best, start - 0.0099))
    assert found.state == "warns"
    assert f"{best:,} parameters" in found.text
