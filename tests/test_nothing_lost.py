"""A search whose folder is met again: finished, altered, in use, on a full disk."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from small_disk import remount, small_disk

from ckrm_tf.errors import CKRMError
from search.cli import main
from search.final import final
from search.run import run
from search.settings import load_settings

ROOT = Path(__file__).parent.parent
TINY = [
    "--trials", "2", "--strategy", "signals", "--filters", "16", "--growth", "1", "--blocks", "1",
    "--epochs", "1", "--batch-size", "16", "--confirm", "0", "--floor", "2", "--margin", "0.99",
]  # fmt: skip


def words_of(npz: Path, out: Path) -> list[str]:
    return ["--data", str(npz), "--image-size", "16", "--out", str(out), *TINY]


def said_by(words: list[str]) -> str:
    said = io.StringIO()
    with redirect_stdout(said):
        main(run, words)
    return said.getvalue()


def refused(capsys, command, *words: str) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(command, list(words))
    error = capsys.readouterr().err
    assert (stop.value.code, error.count("\n")) == (2, 1), error
    return error


@pytest.fixture(scope="module")
def finished(tmp_path_factory, npz):
    out = tmp_path_factory.mktemp("runs") / "search"
    return words_of(npz, out), out, said_by(words_of(npz, out))


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


def lines_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]


def test_a_finished_search_started_again_changes_nothing_and_says_so(finished):
    words, out, first = finished
    assert "the weights to come take at most" in first
    before = state(out)
    again = said_by(words)
    assert "nothing was changed" in again
    assert "AUC" not in again
    assert state(out) == before


def test_an_export_without_its_summary_is_used_again(finished):
    words, out, _ = finished
    summary = json.loads((out / "summary.json").read_text())
    before = state(out)
    (out / "summary.json").unlink()
    (out / f".summary.json.{os.getpid()}.tmp").write_text("half")
    (out / ".export2.4711.part").mkdir()
    said = said_by(words)
    assert said.count("from the journal") == 2
    after = state(out)
    assert json.loads((out / "summary.json").read_text()) == summary
    # What is made anew each time.
    made = ("keras_tuner", "summary.json", "report.", "figures", "trials.csv", "table.tex")
    kept = {n for n in before if not n.startswith(made)}
    assert {n: after[n] for n in kept} == {n: before[n] for n in kept}
    assert {p.name for p in out.iterdir()} == {
        ".lock", "run.json", "trials.jsonl", "weights", "keras_tuner", "export1", "summary.json",
        "test_split.json", "openings.jsonl", "report.html", "report.md", "report.json", "figures",
        "trials.csv", "table.tex",
    }  # fmt: skip
    assert [p.name for p in (out / "keras_tuner").iterdir()] == ["session1"]


def alter(path: Path, how: str) -> None:
    """Weights that a good file could not have."""
    if how == "gone":
        path.unlink()
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        content = bytearray(path.read_bytes())
        content[-2000:-1000] = np.random.default_rng(0).bytes(1000)
        path.write_bytes(content)


@pytest.mark.parametrize("how", ["gone", "cut", "altered"])
def test_weights_that_are_not_those_recorded_are_trained_again(finished, how):
    words, out, _ = finished
    before = lines_of(out)
    (path, *_) = sorted((out / "weights").iterdir())
    line = next(t for t in before if t["weights"] == sha(path))
    alter(path, how)
    assert sha(path) != line["weights"]
    said = said_by(words)
    assert said.count("is trained again: its weights are not those recorded") == 1
    after = lines_of(out)
    assert len(after) == len(before) + 1
    assert (after[-1]["design"], after[-1]["seed"]) == (line["design"], line["seed"])
    assert after[-1]["weights"] == sha(path)
    assert "nothing was changed" in said_by(words)


def sha(path: Path) -> str | None:
    from ckrm_tf.files import checksum  # noqa: PLC0415

    return checksum(path) if path.exists() else None


def test_more_trials_and_another_penalty_go_on_and_are_logged(finished, npz):
    words, out, _ = finished
    before = lines_of(out)
    said = said_by([*words, "--trials", "3", "--penalty", "0.5"])
    after = lines_of(out)
    assert after[: len(before)] == before
    assert len(after) == len(before) + 1
    assert "3/3" in said
    change = json.loads((out / "changes.jsonl").read_text())
    assert (change["trials"], change["penalty"]) == ([2, 3], [0.02, 0.5])


def test_a_training_that_takes_too_long_is_recorded_and_the_search_goes_on(finished):
    words, out, _ = finished
    words = [*words, "--trials", "4"]
    before = lines_of(out)
    said = said_by([*words, "--training-timeout", "0.001"])
    assert "at most 0.001 s (--training-timeout)" in said
    (found,) = lines_of(out)[len(before) :]
    assert (found["status"], found["limit"], found["retryable"]) == ("failed", 0.001, None)
    assert json.loads((out / "summary.json").read_text())["trials"] == 4
    # The same limit would end it again; a larger one may not.
    assert "trained again" not in said_by(
        [*words, "--training-timeout", "0.001", "--tensorboard", "true"]
    )
    # The HParams tab has every training, those from the journal too.
    told = list((out / "tensorboard").glob("*/*.hparams"))
    assert len(told) == len({(r["seed"], json.dumps(r["design"])) for r in lines_of(out)})
    assert "is trained again: it had 0.001 s" in said_by([*words, "--training-timeout", "600"])
    assert lines_of(out)[-1]["status"] == "completed"


def test_the_limit_must_be_one():
    with pytest.raises(CKRMError, match="--training-timeout: expected at least"):
        load_settings(None, {"training_timeout": 0})


COMMAND = [sys.executable, "-m", "search.run"]


def wait_for(process: subprocess.Popen, path: Path) -> None:
    ends = time.monotonic() + 300
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < ends
        time.sleep(0.05)


def test_a_second_command_is_refused_and_ctrl_c_is_one_line(npz, tmp_path, capsys):
    """Cases 15 and 16, with real processes; the signal comes right after a record."""
    out = tmp_path / "both"
    words = [*words_of(npz, out), "--trials", "50", "--seeds", "4"]
    first = subprocess.Popen(
        [*COMMAND, *words], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_for(first, out / "run.json")
        error = refused(capsys, run, *words)
        assert "no other process writes to" in error
        assert "no other process writes to" in refused(capsys, final, str(out))
        wait_for(first, out / "trials.jsonl")
        first.send_signal(signal.SIGINT)
        began = time.monotonic()
        told = first.communicate(timeout=60)[1]
    finally:
        first.kill()
    assert first.returncode == 130, told
    # TensorFlow may have said something before it.
    assert told.splitlines()[-1] == "stopped; the same command goes on where it stopped"
    assert "Traceback" not in told
    assert time.monotonic() - began < 20
    assert all(line["status"] == "completed" for line in lines_of(out))


def test_no_disk_for_the_weights_is_told_before_training(npz, tmp_path, capsys):
    with small_disk(tmp_path / "disk", "1m") as disk:
        out = disk / "run"
        error = refused(capsys, run, *words_of(npz, out))
        assert "room on the disk, at least" in error
        assert not (out / "weights").exists()


def test_a_disk_that_fills_ends_the_search_with_one_line_and_it_goes_on(npz, tmp_path, capsys):
    with small_disk(tmp_path / "disk", "8m") as disk:
        out = disk / "run"
        ballast = disk / "ballast"

        class Filling(io.StringIO):
            """Takes the room away once training has begun."""

            def write(self, text: str) -> int:
                if " 1/2 " in text and not ballast.exists():
                    with ballast.open("wb", buffering=0) as file:
                        try:
                            while True:
                                file.write(bytes(4096))
                        except OSError:
                            pass
                return super().write(text)

        with redirect_stdout(Filling()):
            error = refused(capsys, run, *words_of(npz, out))
        assert "room on the disk" in error
        assert "goes on when there is room" in error
        before = lines_of(out)
        assert [t["status"] for t in before][:1] == ["completed"]
        assert not [p for p in out.rglob("*") if p.name.endswith((".tmp", ".part"))]
        ballast.unlink()
        remount(disk, "size=16m")
        said = said_by(words_of(npz, out))
        assert said.count("from the journal") == 1
        assert lines_of(out)[: len(before)] == before
        assert json.loads((out / "summary.json").read_text())["trials"] == 2
