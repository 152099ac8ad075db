"""The precision of a training: weights stay in float32, the arithmetic of the steps need not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ckrm_tf.errors import unknown_name

FLOAT32 = "float32"
PRECISIONS = (FLOAT32, "mixed_float16", "mixed_bfloat16")
_SHORT = {"float16": "mixed_float16", "bfloat16": "mixed_bfloat16"}


def precision_of(name: str) -> str:
    """The full name of a precision.

    Raises:
        CKRMError: an unknown name, with the nearest known one.

    Example:
        >>> precision_of("bfloat16")
        'mixed_bfloat16'
    """
    full = _SHORT.get(name, name)
    if full not in PRECISIONS:
        raise unknown_name("--precision", name, (*PRECISIONS, *_SHORT))
    return full


@contextmanager
def layers_in(precision: str) -> Iterator[None]:
    """Layers that are made within compute in this precision, in this thread.

    Args:
        precision: one of `PRECISIONS`.
    """
    import keras  # noqa: PLC0415 - settings need no Keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
