"""When a run folder's test split was opened, for which network, and what came of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ckrm_tf.design.design import Design
from ckrm_tf.errors import CKRMError
from ckrm_tf.files import write_atomically
from ckrm_tf.store.lines import append_line, whole_lines

FILE = "test_split.json"
LOG = "openings.jsonl"


@dataclass(frozen=True)
class Opened:
    """One opening of the test split.

    Attributes:
        design: the network that was recommended then.
        when: ISO 8601 in UTC.
        figures: the verdicts, plain values.
        lines: the same as they were printed.
    """

    design: Design
    when: str
    figures: dict[str, Any]
    lines: tuple[str, ...]


def opening(folder: Path) -> Opened | None:
    """The opening that the folder remembers, or None.

    Raises:
        CKRMError: a file that says something else.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        data = json.loads(path.read_bytes())
        return Opened(
            Design.from_dict(data["design"]),
            str(data["when"]),
            dict(data["figures"]),
            tuple(map(str, data["lines"])),
        )
    except (ValueError, KeyError, TypeError, RecursionError, CKRMError) as error:
        raise CKRMError(
            str(path), expected="when the test split was opened", received="something else"
        ) from error


def remember(
    folder: Path, design: Design, figures: dict[str, Any], lines: tuple[str, ...]
) -> Opened:
    """Record that the test split was opened now."""
    opened = Opened(design, datetime.now(UTC).isoformat(timespec="seconds"), figures, lines)
    record = {
        "schema": 1,
        "design": design.to_dict(),
        "when": opened.when,
        "figures": figures,
        "lines": list(lines),
    }
    write_atomically(folder / FILE, json.dumps(record, indent=2, default=str) + "\n")
    log_opening(folder, design, FILE)
    return opened


def log_opening(folder: Path, design: Design, report: str) -> None:
    """Add a line to the folder's list of openings: when, for which candidate, in which report.

    A report that is in the list already was not opened anew.
    """
    path = folder / LOG
    known = [json.loads(line) for _, line in whole_lines(path)]
    if not any(opened["report"] == report for opened in known):
        when = datetime.now(UTC).isoformat(timespec="seconds")
        append_line(path, {"report": report, "when": when, "design": design.to_dict()})
