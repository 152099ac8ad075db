"""Searches killed at any of their writes: nothing is lost, nothing trained twice."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from crash_points import BAD, Found, Start, Tally

from ckrm_tf.errors import CKRMError
from ckrm_tf.train.deterministic import prepare

ROOT = Path(__file__).parent.parent


def killed(*words: str) -> dict[str, int]:
    """The counts of `benchmarks/crash_points.py`."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.crash_points", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counts = json.loads(done.stdout.splitlines()[-1])
    return {name: int(number) for name, number in counts.items()}


def test_a_few_crash_points() -> None:
    """Equal weights, bit by bit, of several processes are also what --deterministic promises."""
    counts = killed("--points", "3", "--seed", "7")
    assert counts["kills"] >= 3
    assert counts["writes of a whole search"] > 20
    assert not any(counts.get(name) for name in BAD)


@pytest.mark.long
@pytest.mark.parametrize("words", [("--points", "1000"), ("--points", "50", "--commands")])
def test_many_crash_points(words: tuple[str, ...], request: pytest.FixtureRequest) -> None:
    if "long" not in request.config.option.markexpr:
        pytest.skip("takes hours: pytest -m long")
    counts = killed(*words)
    print(counts)
    assert counts["kills"] >= int(words[1])


def line(seed: int, weights: str = "aa") -> bytes:
    return json.dumps({"design": {"a": 1}, "seed": seed, "weights": weights}).encode()


WHOLE = Found([], [('{"a": 1}', n) for n in (1, 2, 3)], ["aa"] * 3)


@pytest.mark.parametrize(
    ("before", "after", "noticed"),
    [
        ([line(1)], [line(1), line(2)], set()),
        ([line(1)], [line(1), line(2)[:20]], set()),
        ([line(1), line(2)], [line(1)], {"lost"}),
        ([line(1)], [line(1), line(1)], {"repeated", "other proposals"}),
        ([line(1)], [line(1), line(3)], {"other proposals"}),
        ([line(1)], [line(1), line(2, "bb")], {"other weights"}),
    ],
)
def test_what_is_lost_is_noticed(
    tmp_path: Path, before: list[bytes], after: list[bytes], noticed: set[str]
) -> None:
    path = tmp_path / "trials.jsonl"
    path.write_bytes(b"\n".join(before))
    first = Found.of(tmp_path)
    path.write_bytes(b"\n".join(after))
    tally = Tally(0)
    tally.look(first, tmp_path, WHOLE)
    assert {name for name, count in tally.counts.items() if count} == noticed


def test_a_folder_that_is_refused_and_another_end_are_noticed(tmp_path: Path) -> None:
    folders = tmp_path / "a", tmp_path / "b"
    for number, folder in enumerate(folders):
        (folder / "keras_tuner" / "session1").mkdir(parents=True)
        summary = {"recommended": number, "start": 1, "export": "export1"}
        (folder / "summary.json").write_text(json.dumps(summary))
    (folders[0] / ".x.1.part").mkdir()
    tally = Tally(0)
    tally.ended(folders[0], Start(0, 1.0), folders[1])
    tally.ended(folders[0], Start(2, 1.0), folders[1])
    assert tally.counts["other ends"] == tally.counts["leftovers"] == 1
    assert tally.counts["unreadable folders"] == 1


def test_determinism_is_not_promised_with_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")
    prepare(False, 1)
    with pytest.raises(CKRMError, match=r"without oneDNN.*TF_ENABLE_ONEDNN_OPTS=0"):
        prepare(True, 1)
