"""Writing that leaves nothing half done and nothing overwritten."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from ckrm_tf.errors import CKRMError


def first_unused(folder: Path, name: Callable[[int], str]) -> Path:
    """The first of `name(1)`, `name(2)`, ... that is not in the folder: nothing is overwritten."""
    return next(path for n in count(1) if not (path := folder / name(n)).exists())


def keep(folder: Path, name: Callable[[int], str], text: str) -> Path:
    """Write a report under the first of `name(1)`, `name(2)`, ... that is unused or holds it."""
    paths = (folder / name(n) for n in count(1))
    path = next(p for p in paths if not p.exists() or p.read_text() == text)
    if not path.exists():
        write_atomically(path, text)
    return path


def write_atomically(path: Path, text: str) -> None:
    """Replace a small file in one step: a crash leaves the old one or the new one, whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def check_unused(folder: Path) -> None:
    """Raise a `CKRMError` unless `folder` is new or empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CKRMError(
            "export folder",
            expected="a new or empty folder",
            received=f"{folder}, which is in use",
            hint="Nothing is overwritten: name another folder or remove this one.",
        )


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A new folder to fill; it appears as `target` at the end, or not at all after an error.

    Args:
        target: must not exist or be empty.

    Raises:
        CKRMError: when it is in use.
    """
    check_unused(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        part.mkdir()
        yield part
        if target.exists():
            target.rmdir()
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
