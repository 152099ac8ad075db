"""Files of JSON lines: a line is appended once, flushed to the disk, and read back whole."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def append_line(path: Path, record: Mapping[str, Any]) -> None:
    """Append one record for good.

    A last line that a crash cut short is ended first, so that it spoils no other.

    Raises:
        OSError: the disk is full, or the file cannot be written; it is left as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(record).encode()
    # Unbuffered: a buffer would try again to write what has failed.
    with path.open("ab+", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        rest = memoryview((b"\n" if end and _torn(file) else b"") + line + b"\n")
        try:
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
        except OSError:
            file.truncate(end)
            raise


def whole_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The number and bytes of each line that no crash cut short; none where there is no file.

    What a crash leaves is the beginning of a JSON object, or zeros. What else is no JSON is handed
    out too: the reader refuses it.
    """
    if not path.exists():
        return
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if line.strip(b"\0\r") and (not line.startswith(b"{") or _is_json(line)):
            yield number, line


def _torn(file: Any) -> bool:
    file.seek(-1, os.SEEK_END)
    return bool(file.read(1) != b"\n")


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True
