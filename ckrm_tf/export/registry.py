"""The formats that there are."""

from __future__ import annotations

from collections.abc import Sequence

from ckrm_tf.errors import CKRMError
from ckrm_tf.export import keras_file, litert, litert_int8, onnx, saved_model
from ckrm_tf.export.base import Format

FORMATS: dict[str, Format] = {
    known.name: known
    for known in (
        keras_file.FORMAT,
        saved_model.FORMAT,
        onnx.FORMAT,
        litert.FORMAT,
        litert_int8.FORMAT,
    )
}


def formats_named(names: Sequence[str]) -> tuple[Format, ...]:
    """The formats of these names, in this order, each with the packages it needs.

    Raises:
        CKRMError: for a name that is unknown or stands twice, and for a missing package.
    """
    given = (names,) if isinstance(names, str) else tuple(names)
    if not given or len(set(given)) != len(given) or not set(given) <= set(FORMATS):
        raise CKRMError(
            "export formats",
            expected=f"one or more of {', '.join(FORMATS)}, each once",
            received=repr(names),
        )
    chosen = tuple(FORMATS[name] for name in given)
    for one in chosen:
        one.check_installed()
    return chosen
