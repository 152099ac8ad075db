"""A run folder has one owner; what it held half done is cleaned. None of this needs TensorFlow."""

from __future__ import annotations

import errno
import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from small_disk import remount, small_disk

from ckrm_tf import CKRMError, ResNetFamily, Stage, Widths
from ckrm_tf.files import checksum, is_leftover, whole_file, whole_folder, write_atomically
from ckrm_tf.store.failures import IN_USE, MEMORY, ROOM, interrupted, passing
from ckrm_tf.store.folder import CHANGES, LOCK, MARKER, open_folder
from ckrm_tf.store.journal import Journal
from ckrm_tf.store.owner import owned
from ckrm_tf.store.record import COMPLETED, FAILED, Training
from ckrm_tf.tuning.alone import VARIABLES, check_alone

ROOT = Path(__file__).parent.parent
FAMILY = ResNetFamily(Widths(8, (Stage(1, 4, 8),)))
DESIGN = FAMILY.start
GOOD = Training(DESIGN, 1, 2, COMPLETED, 10, 20, val_auc=0.75)
BAD = Training(DESIGN, 1, 2, FAILED, 10, 20, reason="OSError: unable to lock file")

HOLD = """
import sys
from ckrm_tf.store.owner import owned
with owned(sys.argv[1]):
    print("ready", flush=True)
    sys.stdin.read()
"""


def holder(folder: Path, code: str = HOLD) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_second_process_is_refused_and_a_dead_one_holds_nothing(tmp_path):
    folder = tmp_path / "run"
    process = holder(folder)
    try:
        with (
            pytest.raises(CKRMError, match="no other process writes to, received one in use"),
            owned(folder),
        ):
            pytest.fail("two owners")
        process.send_signal(signal.SIGKILL)
        process.wait()
        with owned(folder) as held:
            assert held == folder
    finally:
        process.kill()
        process.communicate()


def test_the_same_folder_by_another_name_is_the_same(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "run")
    with (
        owned(tmp_path / "run"),
        pytest.raises(CKRMError, match="one in use"),
        owned(tmp_path / "link"),
    ):
        pytest.fail("two owners")


def test_a_folder_that_stays_empty_is_taken_away_again(tmp_path):
    with owned(tmp_path / "a" / "b"):
        assert names(tmp_path / "a" / "b") == {LOCK}
    assert names(tmp_path) == set()
    with owned(tmp_path / "a" / "b") as folder:
        open_folder(folder, {"epochs": 1})
    assert names(tmp_path / "a" / "b") == {LOCK, MARKER}


def test_a_strangers_folder_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(CKRMError, match="holds other files"), owned(tmp_path):
        pytest.fail("taken")
    with pytest.raises(CKRMError, match="received the file"), owned(tmp_path / "thesis.txt"):
        pytest.fail("taken")
    assert names(tmp_path) == {"thesis.txt"}


HALF = """
import os, signal, sys
from ckrm_tf.files import whole_file, whole_folder
from ckrm_tf.store.owner import owned
with ExitStack() as stack:
    folder = stack.enter_context(owned(sys.argv[1]))
    stack.enter_context(whole_file(folder / "run.json")).write_text("{")
    if MORE:
        (folder / "run.json").write_text('{"epochs": 1}')
        (folder / "weights").mkdir()
        stack.enter_context(whole_file(folder / "weights" / "a.weights.h5")).write_text("half")
        (folder / "figures" / "more").mkdir(parents=True)
        stack.enter_context(whole_file(folder / "figures" / "more" / "a.svg")).write_text("half")
        (stack.enter_context(whole_folder(folder / "export1")) / "model.keras").write_text("half")
    print("ready", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("more", [False, True])
def test_what_a_killed_owner_left_half_done_is_cleaned(tmp_path, more):
    code = "from contextlib import ExitStack\n" + HALF.replace("MORE", str(more))
    holder(tmp_path / "run", code).communicate()
    left = {path for path in (tmp_path / "run").rglob("*") if is_leftover(path.name)}
    assert len(left) == (4 if more else 1)
    (tmp_path / "run" / "keras_tuner").mkdir()
    if not more:
        (tmp_path / "run" / "keras_tuner").rmdir()
    with owned(tmp_path / "run") as folder:
        open_folder(folder, {"epochs": 1})
    assert not [path for path in folder.rglob("*") if is_leftover(path.name)]
    assert json.loads((folder / MARKER).read_text())["epochs"] == 1


def test_leftovers_of_a_folder_with_another_owner_are_left_to_it(tmp_path):
    for name in ("run/a", "run/other"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / ".1.tmp.x").write_text("half")
    with owned(tmp_path / "run" / "other"):
        (tmp_path / "run" / "other" / ".1.tmp.x").write_text("being written")
        (tmp_path / "run" / MARKER).write_text("{}")
        with owned(tmp_path / "run"):
            assert names(tmp_path / "run" / "a") == set()
            assert ".1.tmp.x" in names(tmp_path / "run" / "other")


@pytest.mark.parametrize("name", [".bashrc", ".env.tmp", "export1", ".run.json", "a.1.part"])
def test_no_other_name_is_taken_for_a_leftover(name):
    assert not is_leftover(name)


def test_writers_leave_nothing_after_an_error(tmp_path):
    def fill() -> None:
        with whole_file(tmp_path / "a.h5") as file, whole_folder(tmp_path / "b") as folder:
            file.write_text("half")
            (folder / "c").write_text("half")
            raise KeyError("a")

    with pytest.raises(KeyError):
        fill()
    assert names(tmp_path) == set()
    write_atomically(tmp_path / "a", "abc")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert checksum(tmp_path / "a") == digest


def test_a_success_is_never_overruled_by_a_failure(tmp_path):
    path = tmp_path / "trials.jsonl"
    journal = Journal(path, FAMILY)
    for training in (GOOD, BAD):
        journal.append(training)
    for found in (journal, Journal(path, FAMILY)):
        assert found.find(DESIGN, 1, 2) == GOOD
        assert found.current() == [GOOD]
        assert len(found) == 1
    # The other way round the failure is overruled.
    path.unlink()
    journal = Journal(path, FAMILY)
    for training in (BAD, GOOD):
        journal.append(training)
    assert Journal(path, FAMILY).current() == [GOOD]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError(), MEMORY),
        (RuntimeError("ResourceExhaustedError: OOM when allocating tensor"), MEMORY),
        (OSError(errno.ENOSPC, "No space left on device"), ROOM),
        (OSError("Can't write (file write failed: errno = 28, error message = 'No space')"), ROOM),
        (RuntimeError("ResourceExhaustedError: x; No space left on device"), ROOM),
        (BlockingIOError(errno.EAGAIN, "unable to lock file"), IN_USE),
        (CKRMError("training loss", received="nan"), None),
        (ValueError("shapes (3, 3) and (4, 4) differ"), None),
        (FileNotFoundError(errno.ENOENT, "no such file"), None),
    ],
)
def test_which_failures_pass(error, kind):
    assert passing(error) == kind
    wrapped = RuntimeError("in a library")
    wrapped.__cause__ = error
    assert passing(wrapped) == kind
    assert not interrupted(wrapped)
    error.__context__ = KeyboardInterrupt()
    assert interrupted(wrapped)


@pytest.mark.parametrize("name", VARIABLES)
def test_variables_of_kerastuner_for_several_machines_are_refused(monkeypatch, name):
    check_alone()
    monkeypatch.setenv(name, "chief")
    with pytest.raises(CKRMError, match=f"{name}: expected none"):
        check_alone()


def test_free_settings_may_change_and_are_logged(tmp_path):
    identity = {"epochs": 3}
    for trials, penalty in ((5, 0.1), (5, 0.1), (9, 0.1), (9, 0.5)):
        open_folder(tmp_path, identity, {"trials": trials, "penalty": penalty})
    lines = [json.loads(line) for line in (tmp_path / CHANGES).read_text().splitlines()]
    assert [line.pop("at")[:2] for line in lines] == ["20", "20"]
    assert lines == [{"trials": [5, 9]}, {"penalty": [0.1, 0.5]}]
    with pytest.raises(CKRMError, match="another epochs"):
        open_folder(tmp_path, {"epochs": 4}, {"trials": 1, "penalty": 0.5})
    assert len((tmp_path / CHANGES).read_text().splitlines()) == 2


def test_a_folder_of_an_earlier_version_held_the_penalty_fast(tmp_path):
    (tmp_path / MARKER).write_text(json.dumps({"epochs": 3, "penalty": 0.1}))
    assert open_folder(tmp_path, {"epochs": 3}, {"penalty": 0.2}) == tmp_path


@pytest.mark.parametrize("schema", [2, "1", None])
def test_a_folder_of_a_later_version_is_refused_kindly(tmp_path, schema):
    text = json.dumps({"schema": schema, "epochs": 3})
    (tmp_path / MARKER).write_text(text)
    with pytest.raises(CKRMError, match=r"schema 1 or earlier.*A later version wrote it"):
        open_folder(tmp_path, {"epochs": 3})
    assert (tmp_path / MARKER).read_text() == text


def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path):
    with small_disk(tmp_path / "disk", "64k") as disk:
        remount(disk, "ro")
        with (
            pytest.raises(CKRMError, match="can be written to, received Read-only"),
            owned(disk / "run"),
        ):
            pytest.fail("taken")
        with pytest.raises(CKRMError, match="can be written to, received Read-only"), owned(disk):
            pytest.fail("taken")
        remount(disk, "rw")
        with owned(disk / "run") as folder:
            assert names(folder) == {LOCK}


def test_a_full_disk_leaves_the_journal_as_it_was_and_is_one_line(tmp_path):
    with small_disk(tmp_path / "disk", "64k") as disk:
        before = [b""]

        def fill() -> None:
            with owned(disk / "run") as folder:
                journal = Journal(folder / "trials.jsonl", FAMILY)
                for number in range(1, 100):
                    journal.append(replace(BAD, seed=number, reason="x" * 3000))
                    before.append(journal.path.read_bytes())

        with pytest.raises(
            CKRMError, match="expected room on the disk, received none left"
        ) as told:
            fill()
        assert "\n" not in str(told.value)
        folder = disk / "run"
        journal = Journal(folder / "trials.jsonl", FAMILY)
        assert 5 < len(journal) < 25
        assert journal.path.read_bytes() == before[-1]
        with pytest.raises(OSError, match="No space left"):
            write_atomically(folder / "summary.json", "x" * 60_000)
        assert names(folder) == {LOCK, "trials.jsonl"}
        # With more room it goes on.
        remount(disk, "size=128k")
        journal.append(GOOD)
        assert Journal(journal.path, FAMILY).find(DESIGN, 1, 2) == GOOD
