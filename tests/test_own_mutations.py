"""Mutants of what the program reads beside data: settings, run folders, journals, models."""

from __future__ import annotations

import json
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from test_data_mutations import NASTY, Reader, any_bytes, check, inside_zip, tally

from ckrm_tf import CKRMError, ResNetFamily, Stage, Widths
from ckrm_tf.criteria.base import Signal
from ckrm_tf.models.load import load_model
from ckrm_tf.store.folder import CHANGES, MARKER, open_folder
from ckrm_tf.store.journal import Journal
from ckrm_tf.store.record import COMPLETED, FAILED, Training
from search.config_files import config_text
from search.finished import SUMMARY, known_export
from search.run_folder import read_run
from search.settings import load_settings

SHORT, LONG = 25, 2500
FAMILY = ResNetFamily(Widths(8, (Stage(1, 4, 8),)))
VALUES: tuple[Any, ...] = (
    *(None, True, [], {}, [[]], "", "x", "nan", -1, 0, 2**70, 0.5, -1e300, float("nan")),
    *(float("inf"), "\x00", "x" * 10_000, {"a": 1}, ["a"], "../../x", 1e-320),
)


def settings_lines(rng: np.random.Generator, content: bytes) -> bytes:
    """Other values, keys and indents in a settings file."""
    lines = content.split(b"\n")
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(len(lines)))
        key, mark, rest = lines[at].partition(b":")
        value = NASTY[int(rng.integers(len(NASTY)))]
        kind = rng.integers(4)
        if kind == 0:
            lines[at] = key + b": " + value
        elif kind == 1:
            lines[at] = value + mark + rest
        elif kind == 2:
            lines[at] = b"  - " + lines[at]
        else:
            lines[at] = key + b": {a: &a [*a, " + value + b"]}"
    return b"\n".join(lines)


def json_values(rng: np.random.Generator, content: bytes) -> bytes:
    """Another value at some place of a JSON document in one of the lines, or a key that is gone."""
    whole = content.startswith(b"{\n")
    lines = [content] if whole else content.split(b"\n")[:-1]
    at = int(rng.integers(len(lines)))
    data = json.loads(lines[at])
    for _ in range(int(rng.integers(1, 3))):
        place, key = data, str(rng.choice(sorted(data)))
        while isinstance(place[key], dict) and place[key] and rng.random() < 0.7:
            place = place[key]
            key = str(rng.choice(sorted(place)))
        if rng.random() < 0.2:
            del place[key]
        else:
            place[key] = VALUES[int(rng.integers(len(VALUES)))]
        if not data:
            break
    lines[at] = json.dumps(data).encode()
    return b"\n".join(lines) + b"\n"


def make_settings_file(folder: Path) -> Path:
    (folder / "own.yaml").write_text(config_text("default.yaml"))
    return folder / "own.yaml"


def make_journal(folder: Path) -> Path:
    journal = Journal(folder / "trials.jsonl", FAMILY)
    for seed in (1, 2, 3):
        training = Training(FAMILY.start, seed, 2, COMPLETED, 10, 20, val_auc=0.75, loss=0.5)
        more = {"lam": {"stem_conv": 0.5}, "signals": {"stem/filters": Signal(0.5, 0.25, 0.1)}}
        journal.append(Training(**vars(training) | more | {"weights": "ab" * 32}))
    journal.append(Training(FAMILY.start, 4, 2, FAILED, 10, 20, reason="x", retryable="y"))
    return journal.path


IDENTITY = load_settings(None, {}).fingerprint() | {"pixels": "abc"}
FREE = load_settings(None, {}).free


def make_run(folder: Path) -> Path:
    open_folder(folder, IDENTITY, FREE)
    return folder / MARKER


def make_changes(folder: Path) -> Path:
    make_run(folder)
    open_folder(folder, IDENTITY, FREE | {"trials": 99})
    open_folder(folder, IDENTITY, FREE | {"trials": 98})
    return folder / CHANGES


def read_folder(file: Path) -> object:
    """As `search.run` and as `search.final` read it."""
    folder = file.parent
    read_run(folder, {})
    return open_folder(folder, IDENTITY, FREE)


def make_facts(folder: Path) -> Path:
    (folder / "export1").mkdir()
    facts = {"params": 1, "macs": 2, "metadata": {"a": "b"}}
    facts["parity"] = {"saved_model": 0.0, "keras": 0.0, "images": 1, "tolerance": 1.0}
    path = folder / "export1" / "widths.json"
    path.write_text(json.dumps(facts, indent=1) + "\n")
    (folder / SUMMARY).write_text("{}")
    return path


def make_model(suffix: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        image = keras.Input((8, 8, 1))
        x = keras.layers.Conv2D(4, 3, name="conv")(image)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(x))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            keras.Model(image, x).save(folder / f"model{suffix}")
        return folder / f"model{suffix}"

    return make


READERS = {
    "settings, bytes": Reader(make_settings_file, lambda p: load_settings(str(p), {}), any_bytes),
    "settings, lines": Reader(
        make_settings_file, lambda p: load_settings(str(p), {}), settings_lines
    ),
    "journal, bytes": Reader(make_journal, lambda p: Journal(p, FAMILY), any_bytes),
    "journal, values": Reader(make_journal, lambda p: Journal(p, FAMILY), json_values),
    "run.json, bytes": Reader(make_run, read_folder, any_bytes),
    "run.json, values": Reader(make_run, read_folder, json_values),
    "changes.jsonl": Reader(make_changes, read_folder, json_values),
    "widths.json": Reader(
        make_facts, lambda p: known_export(p.parents[1], {"a": "b"}), json_values
    ),
    ".keras, bytes": Reader(make_model(".keras"), load_model, any_bytes),
    ".keras, members": Reader(make_model(".keras"), load_model, inside_zip),
    ".h5, bytes": Reader(make_model(".h5"), load_model, any_bytes),
}
# Whatever stands there, a search goes on without it.
NEVER_REFUSED = {"changes.jsonl", "widths.json"}


@pytest.mark.parametrize("name", READERS)
def test_some_mutants(tmp_path: Path, name: str) -> None:
    found = check(READERS[name], tmp_path, SHORT)
    # A reader that refused everything, or nothing, would pass the rest.
    assert bool(found["one line"]) is (name not in NEVER_REFUSED)


@pytest.mark.long
def test_many_mutants(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if "long" not in request.config.option.markexpr:
        pytest.skip("takes minutes: pytest -m long")
    total: Counter[str] = Counter()
    for i, name in enumerate(READERS):
        started = time.perf_counter()
        found = check(READERS[name], tmp_path / str(i), LONG)
        total += found
        print(f"{name:<18} {dict(found)} {time.perf_counter() - started:.0f} s", flush=True)
    print(f"{sum(total.values())} mutants: {dict(total)}")
    assert sum(total.values()) >= 20_000


def test_a_traceback_is_noticed(tmp_path: Path) -> None:
    """The figures above mean something: a reader that checks nothing fails at once."""

    def fragile(path: Path) -> None:
        for line in path.read_text().splitlines():
            if json.loads(line)["epochs"] < 0:
                raise CKRMError("epochs")

    found = tally(Reader(make_journal, fragile, json_values), tmp_path, 60)
    assert any(kind.startswith("traceback") for kind in found)
