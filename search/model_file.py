"""The file of a model, as a user names it."""

from __future__ import annotations

from pathlib import Path

from ckrm_tf.data.limits import brief
from ckrm_tf.errors import CKRMError


def model_path(text: str) -> Path:
    """The path that a user typed, once it is no folder.

    Raises:
        CKRMError: a folder, with the file to give in its place where one is in sight.
    """
    path = Path(text).expanduser()
    if not path.is_dir():
        return path
    saved = (path / "saved_model.pb").is_file()
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
