"""Searches whose networks take something over from the trained start, as a user runs them."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from pathlib import Path

import pytest

from ckrm_tf import CKRMError
from ckrm_tf.reporting.collect import collect
from ckrm_tf.train.way import PLAIN, Way
from search.compare import load_options
from search.final import final
from search.run import run
from search.settings import load_settings, make_settings

FLAGS = {
    "family": "vgg", "filters": 6, "growth": 1.0, "blocks": [1, 1], "image_size": 16, "epochs": 2,
    "batch_size": 16, "trials": 2, "confirm": 0, "margin": 0.99, "floor": 2,
    "strategy": "signals",
}  # fmt: skip
WAY = {"distill": True, "from": "slices"}


def printed(command, *arguments, **flags) -> str:
    screen = io.StringIO()
    with contextlib.redirect_stdout(screen):
        command(*arguments, **flags)
    return screen.getvalue()


def trainings(journal: Path) -> list[dict]:
    return [json.loads(line) for line in journal.read_text().splitlines()]


@pytest.fixture(scope="module")
def ended(tmp_path_factory, npz):
    """A search of two networks, from slices and taught; what it printed."""
    out = tmp_path_factory.mktemp("ways") / "run"
    return out, printed(run, data=str(npz), out=str(out), **FLAGS, **WAY)


def test_the_recommended_network_is_trained_again_plainly(ended):
    out, screen = ended
    rows = trainings(out / "trials.jsonl")
    assert [(t["how"], t["epochs"]) for t in rows] == [
        ("plain", 2),
        ("distilled slice", 1),
        ("plain", 2),
    ]
    assert rows[1]["design"] == rows[2]["design"] != rows[0]["design"]
    assert "begin as mended slices of the trained start" in screen
    assert "trained again from fresh weights by the plain recipe" in screen
    summary = json.loads((out / "summary.json").read_text())
    assert summary["recommended"]["design"] == rows[2]["design"]
    # Judged and exported is the plain training, which is another than the search's own.
    assert summary["recommended"]["val_auc"] == rows[2]["val_auc"]
    facts = json.loads((out / summary["export"] / "widths.json").read_text())
    assert facts["metadata"]["weights_sha256"] == rows[2]["weights"]
    assert rows[1]["weights"] != rows[2]["weights"]


def test_the_report_tells_the_way_of_each_training(ended):
    out, _ = ended
    with (out / "trials.csv").open() as file:
        assert [row["how"] for row in csv.DictReader(file)] == ["plain", "distilled slice", "plain"]
    record = collect(out)
    assert any("'distilled slice'" in note for note in record.notes)
    assert [len(one.aucs) for one in record.tried] == [1, 1]
    page = (out / "report.md").read_text()
    assert "distilled slice, and the network has plain trainings" in page
    assert (
        "were taught by the start's probabilities and began as its mended slices, 1 epochs" in page
    )
    assert "the others began as mended slices of the start" in page


def test_a_finished_search_is_known_and_another_way_is_another_search(ended, npz):
    out, _ = ended
    before = (out / "trials.jsonl").read_bytes()
    assert "finished" in printed(run, data=str(npz), out=str(out), **FLAGS, **WAY)
    with pytest.raises(CKRMError, match="begun with another distill, from"):
        run(data=str(npz), out=str(out), **FLAGS)
    assert (out / "trials.jsonl").read_bytes() == before


def test_a_final_claim_may_be_about_taught_networks(ended):
    out, _ = ended
    best = json.loads((out / "summary.json").read_text())["recommended"]["design"]
    with pytest.raises(CKRMError, match="--distill: expected folds"):
        final(str(out), folds=0, distill=True, widths=best)
    printed(final, str(out), seeds=1, folds=2, distill=True, widths=best)
    for fold in (1, 2):
        rows = trainings(out / "folds2" / f"fold{fold}" / "trials.jsonl")
        assert [(t["how"], t["epochs"]) for t in rows] == [("plain", 2), ("distilled", 2)]
    report = json.loads((out / "folds2.json").read_text())
    assert report["candidate"]["how"] == "distilled"
    (verdict,) = (v for v in collect(out).verdicts if v.source == "folds2.json")
    # What is recommended is the plain one: this verdict is about another.
    assert not verdict.ours
    assert verdict.candidate.endswith(", distilled")


def test_settings_name_the_way():
    assert load_settings(None, {}).way == PLAIN
    settings = load_settings(None, WAY)
    assert settings.way == Way(distill=0.5, slice=True, share=0.25)
    assert (settings.fingerprint()["from"], settings.fingerprint()["distill"]) == ("slices", True)
    assert load_settings(None, {}).fingerprint()["from"] == "scratch"
    # A model that was brought is sliced by its family, by default.
    brought = load_settings(None, {"model": "x.keras"})
    assert (brought.way, brought.from_, brought.fingerprint()["from"]) == (PLAIN, *["slices"] * 2)
    assert load_settings(None, {"model": "x.keras", "from": "scratch"}).from_ == "scratch"
    assert make_settings([("run.json", settings.fingerprint())]) == settings


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"from": "slice"}, r"--from.*Did you mean 'slices'"),
        ({"distill": 0.5}, r"--distill: expected true or false"),
        ({"ggcam": True, "distill": True}, r"--ggcam: expected .*received --distill"),
        ({"ggcam": True, "from": "slices"}, r"--ggcam: expected .*received --from slices"),
    ],
)
def test_bad_ways_are_refused(flags, words):
    with pytest.raises(CKRMError, match=words):
        load_settings(None, flags)


def test_a_comparison_counts_whole_trainings():
    assert load_options(None, {"distill": True})[1].way.distill == 0.5
    with pytest.raises(CKRMError, match="--from: expected scratch"):
        load_options(None, {"from": "slices"})
