"""The file of a model, as a user names it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ckrm_tf.data.limits import brief
from ckrm_tf.errors import CKRMError

# What an export of the search calls its file.
EXPORTED = "model.keras"


def model_digest(path: Path) -> str:
    """A short hash of a model's file, by which a run folder knows it wherever it lies.

    Raises:
        CKRMError: no such file.
    """
    if not path.is_file():
        raise CKRMError(f"model {brief(path)}", expected="a file", received="none there")
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def model_path(text: str, *, saved_model: bool = False) -> Path:
    """The path that a user typed: a file, also of an export's folder that holds it.

    Args:
        text: as typed.
        saved_model: take the folder of a SavedModel too.

    Raises:
        CKRMError: another folder, with the file to give in its place where one is in sight.
    """
    path = Path(text).expanduser()
    if not path.is_dir():
        return path
    if (path / EXPORTED).is_file():
        return path / EXPORTED
    saved = (path / "saved_model.pb").is_file()
    if saved and saved_model:
        return path
    # An export has the file beside the SavedModel's folder.
    near = sorted(path.absolute().parent.glob("*.keras") if saved else path.glob("*.keras"))
    if near:
        hint = f"Give {brief(near[0])}."
    else:
        hint = "Give the .keras file beside it, or save the model as one: model.save('NAME.keras')."
    raise CKRMError(
        f"model {brief(text)}",
        expected="a .keras or .h5 file",
        received="a SavedModel folder" if saved else "a folder",
        hint=hint,
    )
