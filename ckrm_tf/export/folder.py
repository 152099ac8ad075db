"""A folder that appears whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ckrm_tf.errors import CKRMError


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
    """A folder beside `target` that takes its name when the block ends without an error."""
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
