"""The files of a report: page, tables, figures, and the command that writes them."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from report_page import seen
from report_records import (
    JUDGED,
    WILD,
    bare_record,
    make_folder,
    one_failed,
    recorded,
)

from ckrm_tf.reporting import render
from ckrm_tf.reporting.charts.registry import charts_of
from ckrm_tf.reporting.checks.registry import answers
from ckrm_tf.reporting.collect import collect
from ckrm_tf.reporting.sections.base import Page
from ckrm_tf.reporting.tables import latex_table, trials_csv
from ckrm_tf.reporting.tex import tex
from ckrm_tf.reporting.write import write_record
from search.cli import main
from search.report import report_run

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def written(ended, full) -> Path:
    before = {p: p.read_bytes() for p in ended.rglob("*") if p.is_file()}
    path = write_record(ended, full)
    for old, text in before.items():
        assert old.read_bytes() == text, old
    return path


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
    lost = list(csv.DictReader(io.StringIO(trials_csv(one_failed(full)))))
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
