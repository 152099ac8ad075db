"""Commands with workers: interrupted, killed, gone on with; what is left, and what comes of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from ckrm_tf.cluster.guard import MARK, end_all, marked
from search.bits import wants_equal_bits
from search.values import typed

needs_ray = pytest.mark.skipif(
    find_spec("ray") is None, reason="the extra `cluster` is not installed"
)

ROOT = Path(__file__).parents[1]
FLAGS = [
    "--trials=4", "--filters=8", "--growth=1", "--blocks=[1,1]", "--epochs=1", "--batch_size=16",
    "--margin=0.3", "--confirm=2", "--floor=2", "--image_size=16", "--deterministic", "--no-test",
]  # fmt: skip
# Seconds for one start; ten times what a busy two-core machine takes.
LIMIT = 900
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
GUARD = ROOT / "ckrm_tf" / "cluster" / "guard.py"


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


def marks() -> set[str]:
    """Of the local Rays that run on this machine."""
    found = set()
    for place in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = place.read_bytes().split(b"\0")
        except OSError:
            continue
        found |= {v.decode().partition("=")[2] for v in variables if v.startswith(MARK.encode())}
    return found


def begin(out: Path, npz: Path, *more: str) -> subprocess.Popen:
    return command("run", f"--data={npz}", f"--out={out}", *FLAGS, *more)


def command(name: str, *words: str) -> subprocess.Popen:
    # What other tests of this process have set would count: the commands set it themselves.
    plain = {k: v for k, v in os.environ.items() if k != "TF_ENABLE_ONEDNN_OPTS"}
    # A session of its own, as a terminal gives one: a Ctrl-C there reaches the whole group.
    return subprocess.Popen(
        [sys.executable, "-m", f"search.{name}", *words],
        cwd=ROOT,
        env=plain,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def ended(process: subprocess.Popen) -> str:
    told, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, told
    return told


def until(process: subprocess.Popen, done, what: str):
    ends = time.monotonic() + LIMIT
    while not (found := done()):
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < ends, what
        time.sleep(0.05)
    return found


def nothing_left(ours: set[str]) -> bool:
    ends = time.monotonic() + 60
    while marks() & ours:
        if time.monotonic() > ends:
            return False
        time.sleep(0.2)
    return True


def comparable(line: bytes) -> dict:
    """A record without its times."""
    record = json.loads(line)
    return {k: v for k, v in record.items() if not k.endswith("seconds") and k != "finished"}


@needs_ray
@pytest.mark.long
def test_interrupted_killed_and_gone_on_with_it_is_the_search_of_one_process(tmp_path, npz):
    """Ctrl-C, then SIGKILL, then to the end; beside it the same search in one process."""
    out, alone = tmp_path / "workers", tmp_path / "alone"
    journal, ahead = out / "trials.jsonl", out / "ahead.jsonl"

    before = marks()
    first = begin(out, npz, "--workers=2")
    ours = until(first, lambda: marks() - before, "no Ray")
    until(first, lambda: lines_of(journal), "nothing trained")
    os.killpg(first.pid, signal.SIGINT)
    told, _ = first.communicate(timeout=LIMIT)
    assert first.returncode == 130, told
    assert "stopped; the same command goes on where it stopped" in told
    assert "Traceback" not in told
    assert nothing_left(ours)
    done = lines_of(journal)

    second = begin(out, npz, "--workers=2")
    ours = until(second, lambda: marks() - before, "no Ray")
    until(second, lambda: len(lines_of(journal)) > len(done), "nothing trained")
    second.kill()
    second.communicate()
    assert nothing_left(ours)
    kept = lines_of(journal), lines_of(ahead)

    third = begin(out, npz, "--workers=2")
    told, _ = third.communicate(timeout=LIMIT)
    assert third.returncode == 0, told
    assert nothing_left(marks() - before)
    for file, lines in zip((journal, ahead), kept, strict=True):
        now = lines_of(file)
        assert now[: len(lines)] == lines
        keys = [(json.dumps(r["design"]), r["seed"]) for r in map(json.loads, now)]
        assert len(keys) == len(set(keys))
    assert not (out / "lost_workers.jsonl").exists()

    serial = begin(alone, npz)
    told, _ = serial.communicate(timeout=LIMIT)
    assert serial.returncode == 0, told
    # Line by line the same networks, seeds, weights, AUCs and signals.
    expected = [comparable(x) for x in lines_of(alone / "trials.jsonl")]
    assert [comparable(x) for x in lines_of(journal)] == expected
    assert len(expected) > 2
    assert len({record["weights"] for record in expected}) == len(expected)
    scores = [comparable(x) for x in lines_of(out / "scores.jsonl")]
    assert scores == [comparable(x) for x in lines_of(alone / "scores.jsonl")]
    ends = [json.loads((f / "summary.json").read_text()) for f in (out, alone)]
    assert ends[0]["recommended"] == ends[1]["recommended"]


def journal_of(place: Path) -> list[dict]:
    return [comparable(line) for line in lines_of(place / "trials.jsonl")]


@needs_ray
@pytest.mark.long
def test_networks_that_take_over_are_trained_as_in_one_process(tmp_path, npz):
    """Slices that are taught, over two folds: line by line, bit by bit."""
    way = ("--distill", "--from=slices", "--folds=2")
    before = marks()
    ended(begin(tmp_path / "workers", npz, *way, "--workers=2"))
    assert nothing_left(marks() - before)
    ended(begin(tmp_path / "alone", npz, *way))
    found, expected = (journal_of(tmp_path / name) for name in ("workers", "alone"))
    assert found == expected
    assert {"plain", "distilled slice"} == {record["how"] for record in expected}
    assert len({record["weights"] for record in expected}) == len(expected) > 3


@needs_ray
@pytest.mark.long
def test_a_given_model_is_searched_as_in_one_process(tmp_path, npz, tiny_data):
    from given_models import save_given  # noqa: PLC0415 - imports TensorFlow

    path, own = tmp_path / "given.keras", tmp_path / "own.py"
    save_given(path, own, tiny_data, epochs=100)
    flags = (f"--model={path}", f"--custom={own}", "--pixels=0,1", "--distill", "--folds=0")
    ended(begin(tmp_path / "workers", npz, *flags, "--workers=2"))
    ended(begin(tmp_path / "alone", npz, *flags))
    found, expected = (journal_of(tmp_path / name) for name in ("workers", "alone"))
    assert found == expected
    assert {record["how"] for record in expected} == {"plain", "distilled"}
    assert len({record["weights"] for record in expected}) == len(expected) > 2


@needs_ray
@pytest.mark.long
@pytest.mark.parametrize("way", [(), ("--distill",)], ids=["plain", "taught"])
def test_the_final_comparison_is_that_of_one_process(tmp_path, npz, way):
    """Of one search, in two copies of its folder: equal trainings, equal figures, equal verdict."""
    alone, workers = tmp_path / "alone", tmp_path / "workers"
    ended(begin(alone, npz, "--trials=2", "--confirm=0"))
    shutil.copytree(alone, workers)
    flags = ("--seeds=1", "--folds=2", *way)
    ended(command("final", str(alone), *flags))
    before = marks()
    ended(command("final", str(workers), *flags, "--workers=2"))
    assert nothing_left(marks() - before)
    for fold in ("fold1", "fold2"):
        found, expected = (journal_of(p / "folds2" / fold) for p in (workers, alone))
        assert found == expected
        assert [record["how"] for record in expected] == ["plain", "distilled" if way else "plain"]
        assert len({record["weights"] for record in expected}) == 2
    reports = [json.loads((place / "folds2.json").read_text()) for place in (workers, alone)]
    assert reports[0] == reports[1]
    assert reports[0]["start"]["params"] > reports[0]["candidate"]["params"]


TEMPORARY = """
import os, tempfile
from ckrm_tf.cluster.engine import connected
before = dict(os.environ)
with connected(None, 1) as ray:
    assert os.environ.get("TMPDIR") == before.get("TMPDIR")
    # A worker that is killed removes no folder of its own.
    make = ray.remote(max_retries=0)(lambda: tempfile.mkdtemp(prefix="ckrm-worker-"))
    made = ray.get(make.remote())
    assert os.path.isdir(made)
print(made, os.path.exists(made))
"""


@needs_ray
def test_what_a_worker_leaves_goes_with_its_ray():
    done = subprocess.run(
        [sys.executable, "-c", TEMPORARY], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    made, there = done.stdout.split()
    assert "ckrm-worker-" in made
    assert there == "False"


@needs_ray
@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--cluster=127.0.0.1:1"], ["--cluster 127.0.0.1:1", "HOST:6379"]),
        (["--workers=2", "--gpus-per-training=1.5"], ["--gpus-per-training", "received 1.5"]),
        (["--cluster=auto", "--tensorboard"], ["--tensorboard", "--cluster auto"]),
    ],
)
def test_what_no_worker_can_do_is_one_line(tmp_path, npz, flags, words):
    process = begin(tmp_path / "out", npz, *flags)
    told, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 2, told
    last = told.splitlines()[-1]
    assert last.startswith("error: ")
    assert all(word in last for word in words)


def test_without_ray_it_is_one_line_that_says_what_to_install(tmp_path):
    """An environment in which Ray cannot be found."""
    code = "import sys; sys.modules['ray'] = None; from search.commands import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "run", "--workers=2", f"--out={tmp_path / 'out'}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "error: --workers and --cluster: expected Ray, received an environment without it. "
        "Install the extra: pip install 'ckrm-tf[cluster]'."
    )
    assert not (tmp_path / "out").exists()


THREADS = """
import hashlib, sys
sys.argv = sys.argv[1:]
import search
import numpy as np
from scipy import linalg
a = np.random.default_rng(1).normal(size=(256, 1024))
print(hashlib.sha256(linalg.cho_factor(a @ a.T)[0].tobytes()).hexdigest())
"""


def test_equal_bits_do_not_hang_on_the_cores():
    """A worker has one thread of linear algebra; so has the process that it must agree with."""
    plain = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}

    def factor(*words, **variables):
        code = [sys.executable, "-c", THREADS, "run", *words]
        done = subprocess.run(
            code, cwd=ROOT, env=plain | variables, capture_output=True, text=True, check=True
        )
        return done.stdout

    assert factor("--deterministic") == factor(OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")
    if (os.cpu_count() or 1) > 1:
        assert factor("--deterministic") != factor(OPENBLAS_NUM_THREADS="2", MKL_NUM_THREADS="2")


def test_the_folder_of_a_search_tells_whether_its_bits_are_equal(tmp_path):
    """`final` takes no such flag: what the search had holds."""
    for name, text in (("yes", '{"deterministic": true}'), ("no", '{"deterministic": false}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(text)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "run.json").write_text("[" * 100_000)
    assert wants_equal_bits(["--seeds=2", str(tmp_path / "yes")])
    assert wants_equal_bits([f"--folder={tmp_path / 'yes'}"])
    assert wants_equal_bits(["--deterministic"])
    for value in ("true", "on", "False", "no", "off", "0", "yes", "1"):
        asked = typed("--deterministic", value, bool)
        assert wants_equal_bits([f"--deterministic={value}"]) == asked
        assert wants_equal_bits(["--trials=2", "--deterministic", value, "--folds", "2"]) == asked
    assert wants_equal_bits(["--deterministic", "--folds=0"])
    for other in ("no", "bad", "none"):
        assert not wants_equal_bits([str(tmp_path / other), "--folds=2"])


@pytest.fixture
def sleepers():
    """Two processes with the mark, one without."""
    found = [
        subprocess.Popen(["sleep", "300"], env=os.environ | more)
        for more in ({MARK: "mine"}, {MARK: "mine"}, {MARK: "other"})
    ]
    yield found
    for process in found:
        process.kill()
        process.wait()


def test_the_guard_ends_what_has_its_mark_and_nothing_else(tmp_path, sleepers):
    folder = tmp_path / "ray"
    folder.mkdir()
    guard = subprocess.Popen(
        [sys.executable, "-I", str(GUARD), "mine", str(folder)], stdin=subprocess.PIPE
    )
    time.sleep(1)
    assert [process.poll() for process in sleepers] == [None] * 3
    # The end of whoever held its input.
    guard.stdin.close()
    assert guard.wait(30) == 0
    assert [process.poll() for process in sleepers] == [-signal.SIGTERM, -signal.SIGTERM, None]
    assert not folder.exists()
    assert marked("other") == [sleepers[2].pid]


def test_what_ignores_the_end_is_killed():
    code = f"{STUBBORN}print(1, flush=True); time.sleep(300)"
    with subprocess.Popen(
        [sys.executable, "-c", code], env=os.environ | {MARK: "stubborn"}, stdout=subprocess.PIPE
    ) as stubborn:
        assert stubborn.stdout.readline() == b"1\n"
        # Buried here: a zombie has no environment.
        end_all("stubborn")
        assert stubborn.wait(10) == -signal.SIGKILL
