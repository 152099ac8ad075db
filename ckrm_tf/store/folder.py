"""A run folder: made once, and continued only with the settings it was begun with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ckrm_tf.errors import CKRMError
from ckrm_tf.files import write_atomically

# Settings that version 0.1 did not have, and what it did: its folders may be gone on with.
LATER: dict[str, Any] = {"family": "resnet"}


def open_folder(out: str, identity: dict[str, Any]) -> Path:
    """Make the run folder, or check that the one there was begun with the same settings.

    Raises:
        CKRMError: the folder belongs to something else, or to a run with other settings.
    """
    folder = Path(out).expanduser()
    marker = folder / "run.json"
    if folder.is_file():
        raise CKRMError("--out", expected="a folder", received=f"the file {out}")
    if not marker.exists():
        if folder.is_dir() and any(folder.iterdir()):
            raise CKRMError(
                "--out",
                expected="a new or empty folder, or that of an earlier run",
                received=f"{out}, which holds other files",
            )
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(marker, json.dumps(identity, indent=2) + "\n")
        return folder
    before = _read_marker(marker)
    identity = LATER | identity
    # The pixels tell which data they are, wherever the file lies now.
    keys = {*before, *identity} - {"data"}
    changed = [k for k in keys if before.get(k) != identity.get(k)]
    if changed:
        name = sorted(changed)[0]
        raise CKRMError(
            f"--out {out} was begun with another {', '.join(sorted(changed))}",
            expected=f"{name} = {before.get(name)}",
            received=f"{name} = {identity.get(name)}",
            hint="Give the same settings to go on, or another --out to start anew.",
        )
    return folder


def _read_marker(marker: Path) -> dict[str, Any]:
    try:
        return LATER | dict(json.loads(marker.read_bytes()))
    except (ValueError, TypeError) as error:
        raise CKRMError(
            str(marker),
            expected="the settings of an earlier run",
            received="something else",
            hint="Give another --out.",
        ) from error
