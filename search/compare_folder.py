"""What a comparison keeps in its run folder: its rows, its tables, and the mark that it is one."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ckrm_tf.errors import CKRMError
from ckrm_tf.families.base import Family
from ckrm_tf.files import write_atomically
from ckrm_tf.reporting.collect_compare import STRATEGIES
from ckrm_tf.reporting.collect_rows import JOURNAL
from ckrm_tf.reporting.files import read_json
from ckrm_tf.versions import versions
from search.compare_final import Found
from search.compare_rows import make_rows
from search.compare_tables import Runs, curves, summarise
from search.finished import SUMMARY
from search.settings import Settings

if TYPE_CHECKING:
    from search.compare import Options


def begin(folder: Path, options: Options, settings: Settings) -> None:
    """Mark a new run folder as that of a comparison: a summary of no repeat.

    Raises:
        CKRMError: the folder of a search, whose summary would be lost.
    """
    known = read_json(folder / SUMMARY)
    # A comparison that was begun by version 0.2.0 has no summary yet, but scores by strategy.
    begun = (folder / JOURNAL).exists() and not any(folder.glob("scores_*.jsonl"))
    if begun if known is None else STRATEGIES not in known:
        raise CKRMError(
            "--out",
            expected="a new folder, or that of a comparison",
            received=f"{folder}, which is that of a search",
        )
    if known is None:
        _write_summary(folder, options, settings, {})


def make_runs(found: Found, settings: Settings, family: Family) -> Runs:
    """Rows of the repeats that are finished for every strategy."""
    done = min(len(repeats) for repeats in found.values())
    return {
        name: [
            make_rows(
                name,
                number,
                trainings,
                settings.epochs,
                settings.margin,
                settings.seeds,
                family.describe,
            )
            for number, trainings in enumerate(repeats[:done], start=1)
        ]
        for name, repeats in found.items()
    }


def write_tables(folder: Path, options: Options, settings: Settings, runs: Runs) -> dict[str, Any]:
    """Write trainings.csv, summary.csv and summary.json; return what the last one holds."""
    rows = [asdict(row) for repeats in runs.values() for each in repeats for row in each]
    write_atomically(folder / "trainings.csv", pd.DataFrame(rows).to_csv(index=False))
    write_atomically(folder / "summary.csv", pd.DataFrame(curves(runs)).to_csv(index=False))
    return _write_summary(folder, options, settings, runs)


def _write_summary(
    folder: Path, options: Options, settings: Settings, runs: Runs
) -> dict[str, Any]:
    summary = summarise(runs, options.trainings, (options.target,))
    summary |= {
        "options": asdict(options),
        "settings": settings.fingerprint(),
        "versions": versions(),
        "machine": platform.platform(),
    }
    write_atomically(folder / SUMMARY, json.dumps(summary, indent=1) + "\n")
    return summary
