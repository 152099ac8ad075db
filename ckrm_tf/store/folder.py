"""A run folder: made once, and continued only with the settings it was begun with."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ckrm_tf.errors import CKRMError
from ckrm_tf.files import is_leftover, remove, write_atomically

# Of `run.json`. Versions before it wrote none; their folders may be gone on with.
SCHEMA = 1

MARKER, LOCK, CHANGES = "run.json", ".lock", "changes.jsonl"

# Settings that earlier versions did not have, and what they did.
LATER: dict[str, Any] = {
    "family": "resnet",
    "deterministic": False,
    "score_share": 0.0,
    "folds": 0,
    "precision": "float32",
    "multiple": 1,
    "pixel_range": None,
    "from": "scratch",
    "distill": False,
}


def place_of(out: str | os.PathLike[str]) -> Path:
    """The path of a run folder.

    Raises:
        CKRMError: a file, or the home of nobody.
    """
    try:
        folder = Path(out).expanduser()
    except RuntimeError as error:
        raise CKRMError("--out", expected="a folder", received=f"{out} ({error})") from error
    if folder.exists() and not folder.is_dir():
        raise CKRMError("--out", expected="a folder", received=f"the file {out}")
    return folder


def check_ours(folder: Path) -> None:
    """Raise a `CKRMError` unless the folder is new, empty, or a run's: begun or about to be."""
    if not folder.is_dir() or (folder / MARKER).exists():
        return
    if all(path.name == LOCK or is_leftover(path.name) for path in folder.iterdir()):
        return
    raise CKRMError(
        "--out",
        expected="a new or empty folder, or that of an earlier run",
        received=f"{folder}, which holds other files",
    )


def open_folder(
    out: str | os.PathLike[str],
    identity: Mapping[str, Any],
    free: Mapping[str, Any] | None = None,
) -> Path:
    """Make the run folder, or check that the one there was begun with the same settings.

    Args:
        out: the folder; a command holds it (`ckrm_tf.store.owner.owned`).
        identity: settings that a continued run must share with its beginning.
        free: settings that may change; a change is a line of `changes.jsonl`.

    Raises:
        CKRMError: the folder belongs to something else, or to a run with other settings, or to a
            later version.
    """
    folder, free = place_of(out), dict(free or {})
    check_ours(folder)
    marker = folder / MARKER
    if not marker.exists():
        folder.mkdir(parents=True, exist_ok=True)
        record = {"schema": SCHEMA, **identity} | ({"free": free} if free else {})
        write_atomically(marker, json.dumps(record, indent=2) + "\n")
        return folder
    before, settled = read_marker(marker)
    # Earlier versions held more settings fast.
    before = {k: v for k, v in before.items() if k not in free}
    identity = LATER | dict(identity)
    # The pixels tell which data they are, wherever the file lies now.
    keys = {*before, *identity} - {"data"}
    changed = [k for k in keys if before.get(k) != identity.get(k)]
    if changed:
        name, *_ = sorted(changed)
        # A damaged file may hold anything.
        raise CKRMError(
            f"--out {out} was begun with another {', '.join(sorted(changed))[:300]}",
            expected=f"{name} = {before.get(name)}"[:200],
            received=f"{name} = {identity.get(name)}"[:200],
            hint="Give the same settings to go on, or another --out to start anew.",
        )
    _log_changes(folder / CHANGES, settled, free)
    return folder


def changes(out: str | os.PathLike[str]) -> list[str]:
    """The lines of a run folder's log of changed settings, oldest first."""
    path = place_of(out) / CHANGES
    return path.read_text().splitlines() if path.exists() else []


def read_marker(marker: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings that `run.json` holds fast, and the free ones it was begun with.

    Raises:
        CKRMError: no settings, or those of a later version.
    """
    try:
        found = json.loads(marker.read_bytes())
        if not isinstance(found, dict):
            raise TypeError(type(found).__name__)
        schema, free = found.pop("schema", 0), found.pop("free", {})
        if not isinstance(free, dict):
            raise TypeError("free settings that are none")
    except (ValueError, TypeError, RecursionError) as error:
        raise CKRMError(
            str(marker),
            expected="the settings of an earlier run",
            received="something else",
            hint="Give another --out.",
        ) from error
    if not isinstance(schema, int) or schema > SCHEMA:
        raise CKRMError(
            str(marker),
            expected=f"a run folder of schema {SCHEMA} or earlier",
            received=f"schema {str(schema)[:20]}",
            hint="A later version wrote it: go on with that one, or give another --out.",
        )
    return LATER | found, free


def fresh_sessions(folder: Path) -> None:
    """Remove the files of KerasTuner's earlier sessions: a search resumes from its journal."""
    remove(folder / "keras_tuner")


def _log_changes(path: Path, begun: Mapping[str, Any], free: Mapping[str, Any]) -> None:
    """Append what changed since the last start, if anything did."""
    last = dict(begun)
    for change in _changes(path):
        last |= {name: pair[1] for name, pair in change.items()}
    changed = {name: [last.get(name), free[name]] for name in free if last.get(name) != free[name]}
    if changed:
        line = json.dumps({"at": datetime.now(UTC).isoformat(timespec="seconds"), **changed})
        before = path.read_text() if path.exists() else ""
        write_atomically(path, f"{before}{line}\n")


def _changes(path: Path) -> list[dict[str, list[Any]]]:
    """By setting its values before and after, of each line that can be read."""
    found = []
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            data = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(data, dict):
            pairs = {k: v for k, v in data.items() if isinstance(v, list) and len(v) == 2}
            found.append(pairs)
    return found
