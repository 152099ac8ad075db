from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ckrm_tf import CKRMError, ResNetFamily, Stage, Widths
from ckrm_tf.criteria.base import Signal
from ckrm_tf.families.vgg import VGGFamily
from ckrm_tf.files import keep, write_atomically
from ckrm_tf.store.journal import Journal
from ckrm_tf.store.record import COMPLETED, FAILED, Training
from ckrm_tf.tuning.history import outcomes
from ckrm_tf.tuning.metrics import trial_metrics

WIDTHS = Widths(8, (Stage(1, 4, 8), Stage(2, 4, 8)))
FAMILY = ResNetFamily(WIDTHS)

GOOD = Training(
    WIDTHS.to_design(),
    seed=1,
    epochs=2,
    status=COMPLETED,
    params=1000,
    macs=5000,
    val_auc=0.8125,
    loss=0.7,
    lam={"stem_conv": 0.25, "stage1_block1_conv2": 0.0},
    signals={"stem/filters": Signal(0.5, 0.25, 0.1)},
    steps=40,
    setup_seconds=1.5,
    step_seconds=0.5,
    measure_seconds=0.25,
    finished="2026-01-01T00:00:00+00:00",
)
BAD = Training(
    WIDTHS.to_design(), 2, 2, FAILED, 1000, 5000, reason="MemoryError: no « memory »\nleft"
)


def test_what_is_written_is_read_back(tmp_path):
    journal = Journal(tmp_path / "new" / "trials.jsonl", FAMILY)
    assert journal.read() == []
    journal.append(GOOD)
    journal.append(BAD)
    assert journal.read() == [GOOD, BAD]
    again = Journal(journal.path, FAMILY)
    assert len(again) == 2
    assert again.find(WIDTHS.to_design(), 1, 2) == GOOD
    assert again.find(WIDTHS.to_design(), 2, 2) == BAD
    assert again.find(WIDTHS.to_design(), 1, 3) is None
    assert again.find(Widths(9, WIDTHS.stages).to_design(), 1, 2) is None


def test_lines_are_plain_json_for_other_tools(tmp_path):
    journal = Journal(tmp_path / "trials.jsonl", FAMILY)
    journal.append(GOOD)
    line = json.loads(journal.path.read_text())
    assert line["widths"]["stages"][1] == {"blocks": 2, "mid": 4, "out": 8}
    assert line["design"]["stage2/blocks"] == 2
    assert (line["seed"], line["status"], line["schema"]) == (1, "completed", 2)
    assert line["lam"]["stem_conv"] == 0.25
    assert line["signals"]["stem/filters"] == {"redundancy": 0.5, "needed": 0.25, "excess": 0.1}
    assert GOOD.seconds == 2.25


def test_a_key_of_a_later_version_is_passed_over(tmp_path):
    path = tmp_path / "trials.jsonl"
    path.write_text(json.dumps(GOOD.to_dict() | {"colour": "red"}) + "\n")
    assert Journal(path, FAMILY).read() == [GOOD]


def test_every_cut_of_the_last_line_leaves_the_lines_before_it(tmp_path):
    path = tmp_path / "trials.jsonl"
    Journal(path, FAMILY).append(GOOD)
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole + whole[:cut])
        journal = Journal(path, FAMILY)
        assert journal.read()[0] == GOOD
        # A line that lacks only its newline is whole.
        assert len(journal.read()) == 1 + (cut == len(whole) - 1)
        if cut % 97 == 1:
            journal.append(BAD)
            assert Journal(path, FAMILY).read() == [GOOD, BAD]


def test_zeros_that_a_power_cut_leaves_are_passed_over(tmp_path):
    path = tmp_path / "trials.jsonl"
    Journal(path, FAMILY).append(GOOD)
    path.write_bytes(path.read_bytes() + bytes(100))
    journal = Journal(path, FAMILY)
    journal.append(BAD)
    assert Journal(path, FAMILY).read() == [GOOD, BAD]


@pytest.mark.parametrize(
    "text",
    ["a,b\n1,2\n", "hello\n", "[1, 2]\n", "3\n", "null\n", '{"widths": 3}\n', '{"a": 1}\n',
     json.dumps(GOOD.to_dict() | {"signals": {"stem/filters": {"x": 1}}}) + "\n"],
)  # fmt: skip
def test_a_file_that_is_no_journal_is_refused_and_left_alone(tmp_path, text):
    path = tmp_path / "trials.jsonl"
    path.write_text(text)
    with pytest.raises(CKRMError, match=r"trials\.jsonl, line 1: expected a training"):
        Journal(path, FAMILY)
    assert path.read_text() == text


WRITER = """
import sys
from pathlib import Path
from ckrm_tf.criteria.base import Signal
from ckrm_tf.families.resnet import ResNetFamily
from ckrm_tf.families.widths import Stage, Widths
from ckrm_tf.store.journal import Journal
from ckrm_tf.store.record import Training
widths = Widths(8, (Stage(1, 4, 8), Stage(2, 4, 8)))
journal = Journal(Path(sys.argv[1]), ResNetFamily(widths))
number = len(journal.read())
print("ready", flush=True)
while True:
    number += 1
    journal.append(Training(widths.to_design(), number, 2, "failed", 10, 20, reason="x" * 50_000))
    print(number, flush=True)
"""


def test_a_writer_killed_again_and_again_loses_no_line_it_had_finished(tmp_path):
    """A real process, a real SIGKILL at no particular moment, on long lines."""
    path = tmp_path / "trials.jsonl"
    promised = 0
    for attempt in range(6):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert writer.stdout.readline() == "ready\n"
        time.sleep(0.05 + 0.013 * attempt)
        writer.send_signal(signal.SIGKILL)
        # What reached the pipe was appended before.
        lines = writer.stdout.read().split("\n")[:-1]
        writer.wait()
        writer.stdout.close()
        assert writer.returncode == -signal.SIGKILL
        promised = int(lines[-1]) if lines else promised
        found = Journal(path, FAMILY).read()
        assert len(found) >= promised
        assert [t.seed for t in found] == list(range(1, len(found) + 1))
    assert promised > 0


def test_atomic_write_replaces_and_leaves_nothing_beside(tmp_path):
    path = tmp_path / "summary.json"
    write_atomically(path, "old")
    write_atomically(path, "new")
    assert path.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["summary.json"]


REWRITER = """
import sys
from pathlib import Path
from ckrm_tf.files import write_atomically
print("ready", flush=True)
for n in range(10**9):
    write_atomically(Path(sys.argv[1]), "begin " + str(n % 10) * 200_000 + " end")
"""


def test_a_killed_rewrite_leaves_one_whole_version(tmp_path):
    path = tmp_path / "summary.json"
    writer = subprocess.Popen(
        [sys.executable, "-c", REWRITER, str(path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout.readline() == "ready\n"
    texts = set()
    ends = time.monotonic() + 0.4
    while time.monotonic() < ends:
        if path.exists():
            texts.add(path.read_text())
    writer.kill()
    writer.wait()
    writer.stdout.close()
    texts.add(path.read_text())
    assert all(t.startswith("begin ") and t.endswith(" end") for t in texts)
    assert {len(t) for t in texts} == {200_010}


def test_metrics_of_a_trial_are_means_over_its_seeds():
    second = replace(
        GOOD,
        seed=2,
        val_auc=0.6875,
        lam={"stem_conv": 0.75, "stage1_block1_conv2": 0.5},
        signals={"stem/filters": Signal(0.1, 0.75, 0.3)},
    )
    metrics = trial_metrics([GOOD, second], penalty=0.1)
    (outcome,) = outcomes([GOOD, second])
    assert metrics["val_auc"] == 0.75
    assert (metrics["val_auc/0"], metrics["val_auc/1"]) == (0.8125, 0.6875)
    assert metrics["lambda/stem_conv"] == 0.5
    assert metrics["lambda/stage1_block1_conv2"] == 0.25
    assert metrics["ckrm"] == 0.375
    assert metrics["score"] == pytest.approx(0.75 - 0.1 * 0.3) == outcome.objective(0.1)
    assert metrics["signal/stem/filters/redundancy"] == 0.3
    assert metrics["signal/stem/filters/needed"] == 0.5
    assert metrics["signal/stem/filters/excess"] == pytest.approx(0.2)
    assert (metrics["params"], metrics["macs"]) == (1000, 5000)
    assert (metrics["steps"], metrics["seconds"]) == (80, 4.5)
    assert all(type(v) is float for v in metrics.values())


def test_a_report_is_kept_once_and_never_overwritten(tmp_path):
    def name(number):
        return f"report{number}.json"

    found = [keep(tmp_path, name, text).name for text in ("one", "two", "one", "two", "three")]
    assert found == [f"report{n}.json" for n in (1, 2, 1, 2, 3)]
    assert [p.read_text() for p in sorted(tmp_path.iterdir())] == ["one", "two", "three"]


RESULTS = sorted(
    path
    for path in (Path(__file__).parent.parent / "docs" / "results").glob("**/*.jsonl")
    # The others are records of benchmarks.
    if "widths" in json.loads(path.read_text().partition("\n")[0])
)


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_journals_of_version_0_1_are_read(path):
    first = json.loads(path.read_text().splitlines()[0])
    family = ResNetFamily(Widths.from_dict(first["widths"]))
    found = Journal(path, family).read()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(found) == len(lines) > 0
    for training, line in zip(found, lines, strict=True):
        assert family.to_record(training.design)["widths"] == line["widths"]
        assert training.params == line["params"] == family.cost(training.design).params


def test_there_are_journals_of_version_0_1():
    assert "schema" not in json.loads(RESULTS[0].read_text().splitlines()[0])


@pytest.mark.parametrize("schema", [3, "2"])
def test_a_record_of_a_later_form_is_refused(tmp_path, schema):
    path = tmp_path / "trials.jsonl"
    Journal(path, FAMILY).append(GOOD)
    path.write_text(path.read_text().replace('"schema": 2', f'"schema": {json.dumps(schema)}'))
    with pytest.raises(CKRMError, match="line 1: expected a training of schema 2"):
        Journal(path, FAMILY)


def test_a_network_of_another_family_is_refused(tmp_path):
    path = tmp_path / "trials.jsonl"
    Journal(path, FAMILY).append(GOOD)
    with pytest.raises(CKRMError, match="line 1: expected a training"):
        Journal(path, VGGFamily((4, 8), (1, 1)))
