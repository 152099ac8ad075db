"""A training that ends its process: tried once more, then a failure, and the search goes on."""

from __future__ import annotations

import faulthandler
import json
import signal
from pathlib import Path

import pytest
from processes import python

from ckrm_tf.design.design import Design
from ckrm_tf.store.crashes import CRASHES, UNDER_WAY, Crashes

ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
KEY = Design({"stem/filters": 4}), 1, 12, "plain"
OTHER = Design({"stem/filters": 5}), 1, 12, "plain"

WATCHED = """
import faulthandler, os, signal, sys
from pathlib import Path
from ckrm_tf.design.design import Design
from ckrm_tf.store.crashes import Crashes

with Crashes(Path(sys.argv[1])).watched((Design({"stem/filters": 4}), 1, 12, "plain")):
    exec(sys.argv[2])
exec(sys.argv[3])
"""


def status_of(folder: Path, inside: str, after: str = "pass") -> int:
    """The exit status of a process that does this within a training, and that after it."""
    return python(WATCHED, str(folder), inside, after).returncode


@pytest.mark.parametrize(
    ("inside", "status", "counts"),
    [
        ("faulthandler._sigsegv()", -signal.SIGSEGV, True),
        ("import ctypes; ctypes.string_at(0)", -signal.SIGSEGV, True),
        ("os.abort()", -signal.SIGABRT, True),
        ("os.kill(os.getpid(), signal.SIGBUS)", -signal.SIGBUS, True),
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL, False),
        ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM, False),
        ("os._exit(3)", 3, False),
        ("sys.exit(3)", 3, False),
        ("1 / 0", 1, False),
        ("pass", 0, False),
    ],
)
def test_only_a_fault_counts(tmp_path, inside, status, counts):
    folder = tmp_path / "run"
    assert status_of(folder, inside) == status
    found = Crashes(folder)
    assert found.why_not(KEY) is None
    assert (found.last is not None) is counts
    assert not (folder / UNDER_WAY).exists()
    status_of(folder, inside)
    second = Crashes(folder)
    assert (second.why_not(KEY) is not None) is counts
    assert second.why_not(OTHER) is None
    assert (folder / CRASHES).exists() is counts
    if counts:
        fault = second.last[1]
        assert fault in second.why_not(KEY)
        lines = [json.loads(line) for line in (folder / CRASHES).read_text().splitlines()]
        assert [(line["fault"], line["seed"]) for line in lines] == [(fault, 1)] * 2
        assert "most recent call first" in lines[0]["trace"]


def test_a_fault_after_the_training_is_not_its_own(tmp_path):
    assert status_of(tmp_path, "pass", "faulthandler._sigsegv()") == -signal.SIGSEGV
    assert Crashes(tmp_path).last is None


def test_a_crash_counts_under_its_conditions_alone(tmp_path, monkeypatch):
    monkeypatch.setenv(ONEDNN, "1")
    for _ in range(2):
        status_of(tmp_path, "os.abort()")
        Crashes(tmp_path)
    assert Crashes(tmp_path).why_not(KEY)
    assert Crashes(tmp_path, "jax").why_not(KEY) is None
    monkeypatch.setenv(ONEDNN, "0")
    assert Crashes(tmp_path).why_not(KEY) is None
    monkeypatch.setenv(ONEDNN, "1")
    assert CRASHES in Crashes(tmp_path).why_not(KEY)
    (tmp_path / CRASHES).unlink()
    assert Crashes(tmp_path).why_not(KEY) is None


def test_who_only_looks_writes_nothing(tmp_path):
    status_of(tmp_path, "os.abort()")
    assert Crashes(tmp_path, enter=False).last is None
    assert (tmp_path / UNDER_WAY).exists()
    assert not (tmp_path / CRASHES).exists()
    assert Crashes(tmp_path).last is not None


@pytest.mark.parametrize(
    "damage",
    [
        *(b"", b"{", b"[]\n", b'{"design": 3}\n', b"\0" * 40, b"{}\n"),
        b'{"design": {"stem/filters": 4}, "seed": 1e999}\n',
    ],
)
def test_a_damaged_note_of_a_training_is_passed_over(tmp_path, damage):
    trace = b"Fatal Python error: Aborted\n\n"
    (tmp_path / UNDER_WAY).write_bytes(damage + trace)
    (tmp_path / CRASHES).write_bytes(damage)
    found = Crashes(tmp_path)
    assert (found.last, found.why_not(KEY)) == (None, None)
    assert not (tmp_path / UNDER_WAY).exists()


def test_the_fault_handler_is_as_it_was_before(tmp_path):
    before = faulthandler.is_enabled()
    with Crashes(tmp_path).watched(KEY):
        assert faulthandler.is_enabled()
        assert (tmp_path / UNDER_WAY).exists()
    assert faulthandler.is_enabled() is before


def test_what_a_crash_left_is_entered_where_a_pool_goes_on(tmp_path, tiny_data, tiny_widths):
    from ckrm_tf import ResNetFamily  # noqa: PLC0415 - seconds that other tests need not
    from ckrm_tf.store.journal import Journal  # noqa: PLC0415 - as above
    from ckrm_tf.train.recipe import Recipe  # noqa: PLC0415 - as above
    from ckrm_tf.tuning.attempt import failure  # noqa: PLC0415 - as above
    from ckrm_tf.tuning.runner import Runner  # noqa: PLC0415 - as above

    class Failing:
        def train(self, runner, wanted):
            runner.take(failure(runner, wanted, ValueError("no")), None)

    status_of(tmp_path, "os.abort()")
    assert (tmp_path / UNDER_WAY).exists()
    family = ResNetFamily(tiny_widths, tiny_data.input_shape, tiny_data.classes)
    runner = Runner(tiny_data, Recipe(epochs=1), Journal(tmp_path / "trials.jsonl", family), family)
    runner.pool = Failing()
    assert runner.run(family.start, 1).status == "failed"
    assert not (tmp_path / UNDER_WAY).exists()
    assert len((tmp_path / CRASHES).read_text().splitlines()) == 1


# The second network that a search trains ends its process at its first batch.
SEARCH = """
import faulthandler, sys
import keras
import search.run
from search.cli import main

made = search.run.make_runner

class Fault(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        faulthandler._sigsegv()

def make_runner(settings, data, folder, progress=None, family=None):
    runner = made(settings, data, folder, progress, family)
    before = runner.make_callbacks
    def callbacks(design, seed):
        second = len(runner.journal) == 1 and design != runner.family.start
        return [*before(design, seed), *([Fault()] if second else [])]
    runner.make_callbacks = callbacks
    return runner

search.run.make_runner = make_runner
main(search.run.run, sys.argv[1:])
"""


def test_a_search_goes_on_without_a_network_that_ends_the_process(tmp_path, npz):
    out = tmp_path / "run"
    words = [
        "--data", str(npz), "--image-size", "16", "--out", str(out), "--trials", "3",
        "--strategy", "signals", "--filters", "16", "--growth", "1", "--blocks", "1",
        "--epochs", "1", "--batch-size", "16", "--confirm", "0", "--floor", "2",
        "--margin", "0.99", "--no-test",
    ]  # fmt: skip
    done = []
    for onednn in "11110":
        found = python(SEARCH, *words, COLUMNS="400", **{ONEDNN: onednn})
        done.append((found.returncode, found.stdout + found.stderr))
    codes = [code for code, _ in done]
    assert codes == [-signal.SIGSEGV] * 2 + [0] * 3, done[-1][1]
    said = [text for _, text in done]
    assert "ended the process" not in said[0]
    assert "ended the process before this one (Segmentation fault): it is tried once more" in (
        " ".join(said[1].split())
    )
    assert "it ended the process 2 times (Segmentation fault)" in " ".join(said[2].split())
    assert "nothing was changed" in said[3]
    lines = [json.loads(line) for line in (out / "trials.jsonl").read_text().splitlines()]
    assert [line["status"] for line in lines[:3]] == ["completed", "failed", "completed"]
    assert len({json.dumps(line["design"]) for line in lines[:3]}) == 3
    # The finished search tries it again where its crashes no longer count.
    assert "is trained again: it failed for crashes of the process" in " ".join(said[4].split())
    again = [line["status"] for line in lines if line["design"] == lines[1]["design"]]
    assert again == ["failed", "completed"]
