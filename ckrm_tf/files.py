"""Writing that leaves nothing half done and nothing overwritten."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from ckrm_tf.errors import CKRMError

# What this file's own writers leave when they are killed: a hidden name with a process's number.
_LEFTOVER = re.compile(r"\..+\.\d+\.(tmp|part)|\.\d+\.(tmp|part)\..+")


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
    with whole_file(path) as part:
        part.write_text(text)


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """A path to write; the file appears as `target` at the end, or not at all after an error.

    Its name ends as the target's does: some writers go by the suffix.
    """
    part = target.with_name(f".{os.getpid()}.tmp.{target.name}")
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def checksum(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_leftover(name: str) -> bool:
    """Whether a name is one that a killed writer of this file leaves behind.

    >>> is_leftover(".export1.4711.part"), is_leftover(".bashrc")
    (True, False)
    """
    return _LEFTOVER.fullmatch(name) is not None


def remove_leftovers(folder: Path, foreign: str) -> None:
    """Remove what killed writers left in a folder and below; nobody else may write there meanwhile.

    Args:
        folder: where to begin.
        foreign: a file of this name says that a folder below has an owner of its own.
    """
    for place, folders, files in os.walk(folder):
        if foreign in files and Path(place) != folder:
            folders.clear()
            continue
        left = [name for name in (*folders, *files) if is_leftover(name)]
        for name in left:
            remove(Path(place, name))
        folders[:] = [name for name in folders if name not in left]


def remove(path: Path) -> None:
    """Remove a file or a whole folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


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
