"""One owner a run folder: a lock that ends with the process that holds it, however it ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from ckrm_tf.errors import CKRMError
from ckrm_tf.files import remove_leftovers
from ckrm_tf.store.failures import ROOM, passing
from ckrm_tf.store.folder import LOCK, check_ours, place_of


@contextmanager
def owned(out: str | os.PathLike[str]) -> Iterator[Path]:
    """Hold a run folder: within it no other process writes there.

    The folder is made if it is new, and removed again if nothing was written into it. What killed
    owners left half done is removed.

    Args:
        out: the run folder.

    Raises:
        CKRMError: another process holds it, it belongs to something else, it cannot be written
            to; also, within it, where the disk is full.
    """
    folder = place_of(out)
    check_ours(folder)
    new = _make(folder)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise CKRMError(
            f"--out {out}",
            expected="a folder that no other process writes to",
            received="one in use",
            hint="Wait for the other command, stop it, or give another --out.",
        ) from None
    except OSError as error:
        _unmake(new)
        raise _unwritable(out, error) from error
    try:
        remove_leftovers(folder, LOCK)
        yield folder
    except Exception as error:
        if isinstance(error, CKRMError) or passing(error) != ROOM:
            raise
        raise no_room(str(out)) from error
    finally:
        if new and os.listdir(folder) == [LOCK]:
            (folder / LOCK).unlink()
            _unmake(new)
        lock.release()


def no_room(where: str, kind: type[CKRMError] = CKRMError) -> CKRMError:
    """The error of a full disk."""
    return kind(
        where,
        expected="room on the disk",
        received="none left",
        hint="What is finished is kept: the same command goes on when there is room.",
    )


def _make(folder: Path) -> list[Path]:
    """Make a folder and those above it; the new ones, innermost first."""
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _unmake(new)
        raise _unwritable(folder, error) from error
    return new


def _unmake(folders: list[Path]) -> None:
    # Another process may have begun to use one.
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


def _unwritable(out: object, error: OSError) -> CKRMError:
    return CKRMError(
        f"--out {out}",
        expected="a folder that can be written to",
        received=error.strerror or str(error),
    )
