"""Run folders of recorded trainings, and records made from them, for tests of the report."""

from __future__ import annotations

import csv
import json
import typing
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

from ckrm_tf.reporting.collect import collect
from ckrm_tf.reporting.comparison import Spread
from ckrm_tf.reporting.record import (
    ClassRow,
    Curve,
    Disagreement,
    Estimate,
    Latency,
    Record,
    TrainingRow,
)
from search.compare_rows import Row
from search.compare_tables import Runs, summarise

RESULTS = Path(__file__).parents[1] / "docs" / "results"
SETTINGS = {
    "data": "films.npz", "image_size": 48, "seeds": 1, "seed": 1, "strategy": "ckrm",
    "criterion": "ckrm", "margin": 0.02, "floor": 4, "confirm": 3, "family": "resnet",
    "growth": 2.0, "conv": "plain", "ratio": 1.3333333, "epochs": 12, "batch_size": 32,
    "learning_rate": 0.002, "l1": 0.0001, "shift": 2, "pixels": "0123456789abcdef",
}  # fmt: skip
# The network of the recorded search that folds have judged.
JUDGED = 91250
# As a class may be called: nothing of it may reach the page as HTML.
WILD = '<script>alert("x")</script> & | `b`'


@cache
def recorded(name: str) -> tuple[dict, ...]:
    """The lines of a recorded journal."""
    return tuple(json.loads(line) for line in (RESULTS / name).read_text().splitlines())


def rows_of(trials: int) -> list[dict]:
    """So many recorded trainings; of 500 some have failed."""
    if trials <= 30:
        return list(recorded("cxr_run.jsonl")[:trials])
    found = [
        {**row, "seed": row["seed"] + 100 * again}
        for again in range(2)
        for row in recorded("compare.jsonl")
    ][:trials]
    lost = {"status": "failed", "val_auc": None, "lam": {}, "reason": "OOM: out of memory"}
    return [row | (lost if n % 60 == 40 else {}) for n, row in enumerate(found)]


def make_folder(folder: Path, trials: int, *, ended: bool = False) -> Path:
    """A run folder of that many trainings; one that has ended has a summary, folds, an export."""
    rows = rows_of(trials)
    folder.mkdir(parents=True)
    first = rows[0]["widths"]
    own = {"filters": first["stem"], "blocks": [s["blocks"] for s in first["stages"]]}
    (folder / "run.json").write_text(json.dumps(SETTINGS | own))
    (folder / "trials.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if ended:
        _end(folder, rows)
    return folder


def _end(folder: Path, rows: list[dict]) -> None:
    best = next(row for row in rows if row["params"] == JUDGED)
    arms = {
        name: {k: row[k] for k in ("widths", "params", "macs", "val_auc")} | {"test_auc": 0.9}
        for name, row in (("start", rows[0]), ("recommended", best))
    }
    summary = {
        **arms,
        "test_non_inferiority": None,
        "test_trained_models": {
            "auc_reference": 0.91, "auc_candidate": 0.9, "difference": -0.01, "low": -0.05,
            "high": 0.03, "margin": 0.02, "p_value": 0.3, "non_inferior": False,
            "equivalent": False, "confidence": 0.95, "folds": 1,
        },
        "export": "export1",
        "versions": {"tensorflow": "2.21.0"},
        "machine": "Linux",
    }  # fmt: skip
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "folds3.json").write_text((RESULTS / "folds" / f"{JUDGED}.json").read_text())
    export = folder / "export1"
    (export / "saved_model").mkdir(parents=True)
    (export / "saved_model" / "saved_model.pb").write_bytes(b"x" * 2048)
    (export / "model.keras").write_bytes(b"x" * 1000)
    facts = {
        "class_names": ["a", "b", "c"], "scale": 255.0, "input_shape": [48, 48, 1],
        "parity": {"images": 16, "saved_model": 1e-7, "keras": 2e-7, "tolerance": 1e-5},
        "versions": {"keras": "3.15.1"},
    }  # fmt: skip
    (export / "widths.json").write_text(json.dumps(facts))


def full_record(folder: Path) -> Record:
    """Everything that a record can hold: of an ended search, with evidence and latency."""
    found = collect(folder)
    low = Estimate(0.8, 0.7, 0.9, "95% interval, other images")
    high = Estimate(0.9, 0.85, 0.95, "95% interval, other images")
    assert found.start is not None
    assert found.recommended is not None
    return replace(
        found,
        start=replace(found.start, trained_auc=high, null=dict.fromkeys(found.start.lam, 0.01)),
        recommended=replace(found.recommended, trained_auc=low),
        classes=(
            *found.classes,
            ClassRow("evidence.json", "test split", WILD, 40, (high, low), (high, low)),
        ),
        curves=tuple(
            Curve(label, network, (0.0, 0.2, 1.0), (0.0, 0.9, 1.0))
            for label in ("a", WILD)
            for network in ("start", "recommended")
        ),
        disagreements=(
            Disagreement(3, WILD, "a", "b", "data:image/png;base64,iVBORw0KGgo="),
            Disagreement(5, "a", "b", "a"),
        ),
        counts={"val": {"a": 40, WILD: 39}},
        latency=tuple(
            Latency(network, "LiteRT, CPU", batch, 0.002 * batch, 0.001, 0.01, 30, 4096)
            for network in ("start", "recommended")
            for batch in (1, 32)
        ),
        notes=("Something was assumed.",),
    )


def bare_record() -> Record:
    """As little as a record can hold: a search before its first training."""
    return Record(
        kind="search",
        folder="bare",
        finished=False,
        made="2026-01-01T00:00:00+00:00",
        settings={},
        margin=None,
        start=None,
        recommended=None,
    )


def one_failed(record: Record) -> Record:
    """A record of two trainings, of which the second has failed."""
    row: TrainingRow = replace(record.trainings[1], status="failed", val_auc=None, reason="OOM")
    return replace(record, trainings=(record.trainings[0], row))


# Parameters of what held over new seeds in the recorded comparison, by strategy and repeat.
HELD = {
    "ckrm": (102235, 54734, 91665),
    "noise": (235245, 203925, 79123),
    "random": (27880, 2015939, 23198),
}


def compared_rows() -> Runs:
    """The trainings of the recorded comparison, by strategy and repeat."""
    kinds = {name: _parsed(kind) for name, kind in typing.get_type_hints(Row).items()}
    runs: Runs = {}
    with (RESULTS / "compare_belief_trainings.csv").open() as file:
        for line in csv.DictReader(file):
            row = Row(**{name: kinds[name](text) for name, text in line.items()})
            repeats = runs.setdefault(row.strategy, [])
            if row.number == 1:
                repeats.append([])
            repeats[-1].append(row)
    return runs


def _parsed(kind: typing.Any) -> typing.Any:
    if kind is bool:
        return "True".__eq__
    number = float in typing.get_args(kind)
    return (lambda text: float(text) if text else None) if number else kind


def make_comparison(
    folder: Path, runs: Runs, *, held: Mapping[str, tuple[int, ...]] | None = None, target=128062
) -> Path:
    """A run folder of a comparison with these trainings."""
    folder.mkdir(parents=True)
    options = {
        "strategies": [*runs] or ["ckrm"], "trainings": 10, "random_trainings": None,
        "repeats": 3, "target": target, "hold": 3, "final": 0,
    }  # fmt: skip
    first = {"filters": 32, "blocks": [1, 1, 1, 1]}
    (folder / "run.json").write_text(json.dumps(SETTINGS | first))
    summary = summarise(runs, 10, (target,)) | {"options": options, "versions": {"keras": "3.15.1"}}
    (folder / "summary.json").write_text(json.dumps(summary))
    if runs:
        rows = [row for repeats in runs.values() for each in repeats for row in each]
        with (folder / "trainings.csv").open("w", newline="") as file:
            text = csv.DictWriter(file, list(vars(rows[0])))
            text.writeheader()
            text.writerows(vars(row) for row in rows)
    if held is not None:
        told = {
            name: {"10": {"params": _told(each), "macs": _told([40 * p for p in each])}}
            for name, each in held.items()
        }
        (folder / "confirmed.json").write_text(
            json.dumps({"seeds": [10, 11, 12], "strategies": told})
        )
    return folder


def _told(values: typing.Iterable[float]) -> dict:
    found = Spread.of(values)
    return {
        "median": found.median, "min": found.low, "max": found.high, "repeats": list(found.each)
    }  # fmt: skip
