"""What a finished search left: its summary and export, which a further start leaves as they are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
from rich.console import Console

from ckrm_tf.errors import CKRMError
from ckrm_tf.export import ExportReport
from ckrm_tf.families.base import Family
from ckrm_tf.reporting.collect_compare import STRATEGIES
from ckrm_tf.store import weights
from ckrm_tf.store.crashes import Crashes
from ckrm_tf.store.journal import Journal
from ckrm_tf.store.record import COMPLETED
from search.settings import Settings

SUMMARY = "summary.json"

# The key of an export's metadata: the checksum of the weights file that it was made from.
WEIGHTS = "weights_sha256"


def check_search(folder: Path) -> None:
    """Raise a `CKRMError` where a folder is that of a comparison, whose summary would be lost."""
    if STRATEGIES in _read(folder / SUMMARY):
        raise CKRMError(
            "--out",
            expected="a new folder, or that of a search",
            received=f"{folder}, which is that of a comparison",
        )


def show_finished(console: Console, folder: Path, settings: Settings, family: Family) -> bool:
    """Say that a search is finished, if it is: then nothing is left to do.

    It is not where more is asked now, a training is to be tried again, or weights or the export
    are not as they were.
    """
    summary = _read(folder / SUMMARY)
    asked = {"asked": settings.free, "settings": settings.fingerprint()}
    if {name: summary.get(name) for name in asked} != json.loads(json.dumps(asked)):
        return False
    export = folder / str(summary.get("export"))
    if not (export / "widths.json").is_file() or not _is_whole(folder, family, settings.epochs):
        return False
    left = "\n          (more --trials go on from here)"
    # A search that was settled earlier has nothing to do with more.
    more = left if summary.get("trials") == settings.trials else ""
    console.print(
        f"finished  {folder / SUMMARY} and {export} are those of this search: nothing was "
        f"changed{more}",
        highlight=False,
        soft_wrap=True,
    )
    return True


def known_export(
    folder: Path, mark: Mapping[str, str], formats: Sequence[str] = ()
) -> ExportReport | None:
    """An export of these very weights in all these formats, if the folder has one.

    A process that was killed before its summary was written leaves one.

    Args:
        folder: the run folder.
        mark: what the export's metadata must say.
        formats: that it must have.
    """
    for path in sorted(folder.glob("export*/widths.json")):
        facts = _read(path)
        if facts.get("metadata") != mark:
            continue
        parity = facts.get("parity")
        told = parity if isinstance(parity, dict) else {}
        if not told.keys() >= set(formats):
            continue
        return ExportReport(
            folder=path.parent.absolute(),
            params=facts.get("params", 0),
            macs=facts.get("macs", 0),
            saved_model_difference=told.get("saved_model", 0.0),
            keras_difference=told.get("keras", 0.0),
            images=told.get("images", 0),
            seconds=0.0,
            check_seconds=0.0,
            judged=facts.get("judged") or {},
        )
    return None


def _read(path: Path) -> dict[str, Any]:
    """A JSON object, empty where there is none that can be read."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_whole(folder: Path, family: Family, epochs: int) -> bool:
    """No training is to be tried again, and every recorded weights file is as it was."""
    crashes = Crashes(folder, keras.backend.backend(), enter=False)
    for training in Journal(folder / "trials.jsonl", family).current():
        if training.retryable and not crashes.bars(training):
            return False
        if training.status != COMPLETED or training.weights is None:
            continue
        part = weights.part_of(training.epochs, epochs, training.how)
        path = weights.weights_file(folder / weights.WEIGHTS, training.design, training.seed, part)
        if not weights.as_recorded(path, training):
            return False
    return True
