"""The files of a run folder as a report reads them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ckrm_tf.errors import CKRMError
from ckrm_tf.reporting.record import FileSize


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a file, or None without the file.

    Raises:
        CKRMError: a file that holds something else.
    """
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise CKRMError(path.name, expected="JSON", received=str(error)[:80]) from error
    if not isinstance(found, dict):
        raise CKRMError(path.name, expected="an object", received=type(found).__name__)
    return found


def numbered(folder: Path, pattern: str) -> list[Path]:
    """The files whose stem matches, the newest first: name.json, name_2.json, name_3.json, ...

    Args:
        folder: looked into, not below it.
        pattern: a regular expression for the stem without its number.
    """
    form = re.compile(rf"({pattern})(?:_(\d+))?\.json")
    found = [(m[1], int(m[2] or 1), p) for p in folder.iterdir() if (m := form.fullmatch(p.name))]
    return [path for _, _, path in sorted(found, key=lambda one: (one[0], one[1]), reverse=True)]


def size_on_disk(path: Path) -> FileSize:
    """A file, or a folder with everything in it."""
    files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
    return FileSize(path.name, sum(p.stat().st_size for p in files))


def numbers(given: Mapping[str, Any], name: str) -> dict[str, float]:
    """The numbers of a mapping within a mapping, {} without it; what is no number is left out."""
    found = given.get(name)
    if not isinstance(found, Mapping):
        return {}
    return {str(k): float(v) for k, v in found.items() if isinstance(v, int | float)}
